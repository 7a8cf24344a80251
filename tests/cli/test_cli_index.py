"""The LMDB index is derived: without it everything works as before, and it comes back by itself."""

import shutil
from pathlib import Path

import pytest

from tests.support import damage
from tests.support.compare import differences
from tests.support.imbfs import Imbfs
from tests.support.opens import Opens
from tests.support.small import FILES


def remove_index(imbfs: Imbfs) -> None:
    """Wherever it lives: in the repository, or in the user's cache."""
    found = damage.files_of(imbfs.repository, "index")
    cache = imbfs.home() / ".cache" / "imbfs"
    assert found or cache.exists(), "no index to remove"
    for path in found:
        path.unlink()
    shutil.rmtree(cache, ignore_errors=True)


COMMANDS = {
    "snapshots": ["--json", "snapshots"],
    "show": ["--json", "show", "latest"],
    "ls": ["--json", "ls", "-R", "latest"],
    "cat": ["cat", "latest:large"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_query_answers_the_same_without_the_index(copied: Imbfs, command: str) -> None:
    before = copied.run(*COMMANDS[command]).stdout
    remove_index(copied)
    result = copied.run(*COMMANDS[command])
    assert result.stdout == before
    assert copied.run(*COMMANDS[command]).stderr == b""


def test_a_backup_without_the_index_stores_nothing_twice(saved: Imbfs, source: Path) -> None:
    remove_index(saved)
    with Opens(source) as opens:
        summary = saved.backup(source)
    assert opens.files == set()
    assert summary["bytes_added"] == 0
    (source / "copy of large").write_bytes(FILES[b"large"])
    remove_index(saved)
    assert saved.backup(source)["bytes_added"] < 100_000


def test_a_mount_without_the_index_shows_the_same(saved: Imbfs, source: Path) -> None:
    remove_index(saved)
    with saved.mounted("latest") as mount:
        assert differences(source, mount) == []


def test_a_restore_without_the_index_is_equal(saved: Imbfs, source: Path, tmp_path: Path) -> None:
    remove_index(saved)
    saved.run("restore", "latest", "--target", tmp_path / "back")
    assert differences(source, tmp_path / "back", holes=True) == []


def test_check_without_the_index_finds_no_damage(copied: Imbfs) -> None:
    remove_index(copied)
    assert copied.run("check", "--read-data").code == 0


def test_an_index_of_an_older_state_is_brought_up_to_date(saved: Imbfs, source: Path, tmp_path: Path) -> None:
    kept = tmp_path / "older"
    kept.mkdir()
    index = damage.files_of(saved.repository, "index")
    for path in index:
        shutil.copy(path, kept)
    (source / "new").write_text("new")
    saved.run("backup", source)
    remove_index(saved)
    for path in index:
        shutil.copy(kept / path.name, path)
    assert len(saved.snapshots()) == 2
    assert saved.run("cat", "latest:new").text == "new"


def test_index_rebuild_makes_it_anew(copied: Imbfs) -> None:
    """Parity row 36: metadata of an increment made anew from its files."""
    remove_index(copied)
    copied.run("index", "rebuild")
    assert copied.run("index", "status").code == 0
    assert copied.run("cat", "latest:readme").stdout == FILES[b"readme"]


def test_packs_are_enough_to_read_from_and_the_next_backup_lists_them_again(
    saved: Imbfs, source: Path
) -> None:
    for path in damage.files_of(saved.repository, "segment"):
        path.unlink()
    remove_index(saved)
    assert saved.run("cat", "latest:large").stdout == FILES[b"large"]
    saved.run("backup", source)
    assert saved.run("check", "--read-data").code == 0
