"""What the tests through real mounts share."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.everything import remove_tree
from tests.support.imbfs import Imbfs, mounts_below
from tests.support.small import build_small, make_old


class History(NamedTuple):
    """Two snapshots of one source. `one` and `two` are copies of it as it was each time."""

    imbfs: Imbfs
    one: Path
    two: Path
    ids: list[str]


def change_everything(source: Path) -> None:
    """A change of every sort: content, mode, kind, added, removed, renamed."""
    (source / "readme").write_bytes(b"second\n")
    (source / "empty").chmod(0o600)
    (source / "new").mkdir()
    (source / "new" / "file").write_bytes(b"new\n")
    (source / "sub" / "deeper" / "two").unlink()
    (source / "sub" / "one").rename(source / "renamed")
    (source / "caf\u00e9").unlink()
    (source / "caf\u00e9").mkdir()
    (source / "caf\u00e9" / "inside").write_bytes(b"where a file was\n")
    (source / "empty-directory").rmdir()
    (source / "empty-directory").symlink_to("new")
    (source / "turned").rmdir()
    (source / "turned").write_bytes(b"where a directory was\n")


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory, mark: str) -> History:
    """Never written to by a test."""
    directory = tmp_path_factory.mktemp("history")
    imbfs = Imbfs(directory, mark)
    source = build_small(directory / "source")
    (source / "sub" / "link to readme").unlink()
    (source / "turned").mkdir()
    make_old(source)
    imbfs.run("init")
    ids = []
    for number, place in enumerate(("one", "two")):
        if number:
            change_everything(source)
        time = f"2026-11-20T12:0{number}:00+01:00"
        tags = ["--tag", "odd/tag"] * number
        ids.append(imbfs.backup("--time", time, "--host", f"host{number}", *tags, source)["snapshot"])
        subprocess.run(["cp", "-a", source, directory / place], check=True)
    return History(imbfs, directory / "one", directory / "two", ids)


@pytest.fixture
def copied(history: History, imbfs: Imbfs) -> Imbfs:
    """A repository with the same two snapshots, for a test that changes it."""
    shutil.copytree(history.imbfs.repository, imbfs.repository, symlinks=True)
    return imbfs


@pytest.fixture
def place(imbfs: Imbfs) -> Iterator[Path]:
    """An empty directory; what is mounted there after the test is unmounted."""
    path = imbfs.directory / "mountpoint"
    path.mkdir()
    yield path
    if path in mounts_below(imbfs.directory):
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def disk(real_disk: Path, tmp_path: Path) -> Iterator[Path]:
    """A directory where files keep all attributes, that other users can reach."""
    path = real_disk / f"of-{tmp_path.name}"
    path.mkdir()
    yield path
    remove_tree(os.fsencode(path))
