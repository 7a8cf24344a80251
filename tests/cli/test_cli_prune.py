"""`imbfs prune`: the plan that is printed is the one that is executed, and what stops it removes nothing."""

import errno
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.check import BUSY, DAMAGED, DONE, FAILED, assert_clear_error
from tests.support.contents import contents, reachable_objects, stored_objects
from tests.support.damage import DAMAGES, files_of
from tests.support.faulty_fs import FaultyFs
from tests.support.imbfs import Imbfs
from tests.support.in_process import InProcess
from tests.support.steps import Fault


def fill(root: Path, numbers: range) -> Path:
    """Files of 100 kB that do not shrink."""
    root.mkdir(exist_ok=True)
    for path in root.iterdir():
        path.unlink()
    for number in numbers:
        (root / f"file {number}").write_bytes(os.urandom(100_000) if number >= 100 else bytes([number]) * 100)
    return root


def grow(imbfs: Imbfs, source: Path) -> None:
    """Two snapshots, of which the first is forgotten: packs are unused, and used in part."""
    fill(source, range(100, 160))
    imbfs.run("init", "--pack-size", "1M")
    first = imbfs.backup(source)["snapshot"]
    for path in sorted(source.iterdir())[:45]:
        path.unlink()
    imbfs.backup(source)
    imbfs.run("forget", first)


@pytest.fixture
def grown(imbfs: Imbfs, tmp_path: Path) -> Imbfs:
    grow(imbfs, tmp_path / "source")
    return imbfs


def packs(imbfs: Imbfs) -> set[Path]:
    return set(files_of(imbfs.repository, "pack"))


@pytest.mark.parametrize("options", [[], ["--max-unused", "0"], ["--max-unused", "30%"]], ids=str)
def test_a_dry_run_prints_the_very_plan_that_is_executed(grown: Imbfs, options: list[str]) -> None:
    before = packs(grown)
    dry = grown.run("prune", "--dry-run", *options)
    assert packs(grown) == before
    done = grown.run("prune", *options)
    assert dry.text == done.text
    assert "dry run" in dry.errors
    assert re.search(r"removed [\d,]+ pack", done.errors)
    assert packs(grown) != before
    grown.run("check", "--read-data")


def test_the_summary_of_a_dry_run_foretells_that_of_the_prune(grown: Imbfs) -> None:
    dry = grown.run("--json", "prune", "--dry-run", "--max-unused", "0").json()
    size = sum(path.stat().st_size for path in packs(grown))
    done = grown.run("--json", "prune", "--max-unused", "0").json()
    told = {"dry_run", "packs_removed", "seconds"}
    assert {key: dry[key] for key in dry.keys() - told} == {key: done[key] for key in done.keys() - told}
    assert done["packs_removed"] == done["packs_unused"] + done["packs_repacked"] > 0
    left = sum(path.stat().st_size for path in packs(grown))
    assert abs((size - left) - done["bytes_freed"]) < 0.01 * size


def test_the_small_packs_of_many_backups_are_merged(imbfs: Imbfs, tmp_path: Path) -> None:
    source = fill(tmp_path / "source", range(100, 101))
    imbfs.run("init")
    for number in range(9):
        (source / "changing").write_bytes(os.urandom(5000))
        (source / f"new {number}").write_bytes(os.urandom(5000))
        imbfs.backup(source)
    assert len(packs(imbfs)) == 18
    dry = imbfs.run("prune", "--dry-run", "--max-unused", "100")
    assert "18 small packs to be merged" in dry.text
    merged = imbfs.run("--json", "prune", "--max-unused", "100").json()
    assert (merged["packs_merged"], merged["packs_removed"], len(packs(imbfs))) == (18, 18, 2)
    imbfs.run("check", "--read-data")
    assert imbfs.run("--json", "prune", "--max-unused", "0").json()["packs_merged"] == 0, "once is enough"
    assert imbfs.run("cat", "latest:new 3").stdout == (source / "new 3").read_bytes()


def test_what_may_be_unused_stays(grown: Imbfs) -> None:
    """With 100 per cent, only packs go of which nothing is needed."""
    summary = grown.run("--json", "prune", "--max-unused", "100").json()
    assert summary["packs_unused"] == summary["packs_removed"] > 0
    assert (summary["packs_repacked"], summary["bytes_copied"]) == (0, 0)
    assert summary["bytes_unused_left"] > 0
    assert grown.run("--json", "prune", "--max-unused", "0").json()["bytes_unused_left"] == 0


@pytest.mark.parametrize("share", ["-1", "101", "much", "5%%", "nan"])
def test_a_share_that_cannot_be_is_wrong_use(copied: Imbfs, share: str) -> None:
    assert copied.run("prune", f"--max-unused={share}", check=False).code == 2


def test_where_another_prune_runs_it_says_who_and_ends(grown: Imbfs) -> None:
    from backup.repository.leases import take_lease
    from backup.storage import LocalStorage

    before = packs(grown)
    with take_lease(LocalStorage(grown.repository), "prune", "prune"):
        result = grown.run("prune", check=False)
    assert_clear_error(result, BUSY, "another prune is running", f"process {os.getpid()} on ")
    assert packs(grown) == before
    grown.run("prune")


def test_of_two_prunes_begun_at_once_each_completes_or_gives_way_and_nothing_is_lost(
    grown: Imbfs, tmp_path: Path
) -> None:
    """Two processes, a little further apart in each round."""
    kept = tmp_path / "kept"
    shutil.copytree(grown.repository, kept)
    looking = InProcess(grown.repository, tmp_path / "looking")
    held = contents(grown.repository, looking.cache)
    for number in range(6):
        shutil.rmtree(grown.repository)
        shutil.copytree(kept, grown.repository)
        with grown.start("prune", "--max-unused", "0") as one:
            time.sleep(number * 0.05)
            with grown.start("prune", "--max-unused", "0") as other:
                results = [one.result(), other.result()]
        assert {result.code for result in results} <= {DONE, BUSY}, results
        looking.run("check", "--read-data")
        assert contents(grown.repository, looking.cache) == held
        looking.run("prune", "--max-unused", "0")
        needed = reachable_objects(grown.repository, looking.cache)
        assert stored_objects(grown.repository, looking.cache) == needed


@pytest.mark.parametrize("kind", ["manifest", "pack"])
def test_where_a_snapshot_cannot_be_read_nothing_is_removed(grown: Imbfs, kind: str) -> None:
    if kind == "manifest":
        DAMAGES["flipped-in-the-middle"](files_of(grown.repository, "manifest")[0])
    else:
        # Trees lie in the smallest pack, and in the index.
        min(packs(grown), key=lambda path: path.stat().st_size).unlink()
        for path in files_of(grown.repository, "index"):
            path.unlink()
    before = packs(grown)
    result = grown.run("prune", check=False)
    assert result.code == DAMAGED
    assert "nothing was pruned" in result.errors
    assert packs(grown) == before


@pytest.fixture
def disk(tmp_path: Path, mark: str) -> Iterator[FaultyFs]:
    with FaultyFs(tmp_path / "backing", tmp_path / "disk", mark) as disk:
        yield disk


@pytest.mark.parametrize("where", ["/index/", "/packs/"])
def test_a_disk_that_cannot_be_read_is_not_called_unwritable(
    imbfs: Imbfs, disk: FaultyFs, tmp_path: Path, where: str
) -> None:
    imbfs.repository = disk.mountpoint / "repository"
    grow(imbfs, tmp_path / "source")
    before = packs(imbfs)
    disk.fail(Fault(("read", "open"), errno.EIO, path=where))
    result = imbfs.run("prune", "--max-unused", "0", check=False)
    assert result.code in (FAILED, DAMAGED), result
    assert "cannot be written" not in result.errors
    assert "Traceback" not in result.errors
    disk.fail()
    if where != "/packs/":
        assert packs(imbfs) == before
    imbfs.run("prune", "--max-unused", "0")
    imbfs.run("check", "--read-data")


@pytest.mark.parametrize("index", ["as it was", "gone"])
def test_on_a_disk_that_is_full_to_the_last_byte_forget_and_prune_free_space(
    imbfs: Imbfs, small: Path, tmp_path: Path, index: str
) -> None:
    imbfs.repository = small / "repository"
    imbfs.run("init", "--pack-size", "1M")
    for number in range(4):
        imbfs.backup(fill(tmp_path / "source", range(100 + 20 * number, 130 + 20 * number)))
    # Packs that a snapshot needs lie in one segment with others that go.
    if index == "gone":
        for path in files_of(imbfs.repository, "index"):
            path.unlink()
    fill_up(small / "filler")
    imbfs.run("cat", "latest:file 160")
    imbfs.run("forget", "--keep-last", "1")
    freed = imbfs.run("--json", "prune", "--max-unused", "100").json()
    assert freed["packs_removed"] > 0
    assert freed["packs_removed"] == freed["packs_unused"]
    assert (imbfs.repository / "reserve").stat().st_size == 256 << 10, "it is there for the next time"
    imbfs.run("check", "--read-data")
    imbfs.run("prune", "--max-unused", "0")
    imbfs.run("check", "--read-data")


def test_a_full_disk_without_a_reserve_is_told_and_nothing_is_lost(
    imbfs: Imbfs, small: Path, tmp_path: Path
) -> None:
    imbfs.repository = small / "repository"
    grow(imbfs, tmp_path / "source")
    (imbfs.repository / "reserve").unlink()
    fill_up(small / "filler")
    full = imbfs.run("prune", check=False)
    assert_clear_error(full, FAILED, "No space left on device", "free some space")
    (small / "filler").write_bytes(b"")
    imbfs.run("prune", "--max-unused", "0")
    imbfs.run("check", "--read-data")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24M", "none", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
