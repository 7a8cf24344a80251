"""A mount goes on while what it shows is forgotten, and while packs are moved from under it."""

import json
import os
import random
from pathlib import Path

import pytest

from tests.support.imbfs import Imbfs


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for number in range(40):
        path = root / f"directory {number % 4}" / f"file {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(20_000))
    return root


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def shrink(source: Path) -> None:
    for path in sorted(source.rglob("file *"))[::2]:
        path.unlink()


def packs(imbfs: Imbfs) -> set[str]:
    return {path.name for path in (imbfs.repository / "packs").rglob("*") if path.is_file()}


def test_a_mount_reads_on_after_its_packs_were_repacked(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init", "--pack-size", "1M")
    first = imbfs.backup(source)["snapshot"]
    shrink(source)
    imbfs.backup(source)
    with imbfs.mounted("latest") as mounted:
        before = packs(imbfs)
        assert sorted(path.name for path in mounted.iterdir())
        imbfs.run("forget", first)
        summary = imbfs.run("--json", "prune", "--max-unused", "0").json()
        assert summary["packs_repacked"] > 0
        assert summary["packs_waiting"] == 0
        assert not before <= packs(imbfs)
        assert files(mounted) == files(source)
    imbfs.run("check", "--read-data")


def test_what_is_mounted_stays_though_it_is_forgotten(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    shown = imbfs.backup(source)["snapshot"]
    expected = files(source)
    shrink(source)
    imbfs.backup(source)
    with imbfs.mounted(shown) as mounted:
        imbfs.run("forget", shown)
        imbfs.run("prune", "--max-unused", "0")
        assert files(mounted) == expected
    summary = imbfs.run("--json", "prune", "--max-unused", "0").json()
    assert summary["objects_removed"] > 0
    assert list((imbfs.repository / "leases").iterdir()) == []


def test_in_a_mount_of_all_a_directory_that_was_entered_stays(imbfs: Imbfs, source: Path) -> None:
    """The forgotten snapshot is listed no more; whoever is in it goes on."""
    imbfs.run("init")
    entered = imbfs.backup(source)["snapshot"]
    expected = {path.name: path.read_bytes() for path in (source / "directory 1").iterdir()}
    shrink(source)
    imbfs.backup(source)
    with imbfs.mounted() as mounted:
        inside = os.open(mounted / "snapshots" / entered / "directory 1", os.O_RDONLY | os.O_DIRECTORY)
        try:
            imbfs.run("forget", entered)
            imbfs.run("prune", "--max-unused", "0")
            found = {name: read_in(inside, name) for name in os.listdir(inside)}
        finally:
            os.close(inside)
        assert found == expected


def read_in(directory: int, name: str) -> bytes:
    with open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=directory)) as file:
        return file.read()


def test_a_mount_has_a_lease_for_as_long_as_it_lives(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    snapshot = imbfs.backup(source)["snapshot"]
    leases = imbfs.repository / "leases"
    with imbfs.mounted("latest"):
        (lease,) = leases.iterdir()
        assert list(json.loads(lease.read_bytes())["snapshots"]) == [snapshot]
    assert list(leases.iterdir()) == []
