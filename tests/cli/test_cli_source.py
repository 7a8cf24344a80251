"""Locked sources: not looked at, and kept as the last backup has them."""

import json
import os
import shutil
from pathlib import Path

from tests.cli.test_cli_profiles import Profiles
from tests.support.check import DONE, WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs

PARTLY = 3


def paths(imbfs: Imbfs) -> set[bytes]:
    return set(imbfs.ls("latest", "-R"))


def test_a_locked_directory_is_carried_over_and_told(saved: Imbfs, source: Path) -> None:
    """Parity row 18: a locked source deletes nothing; `lock` and `unlock` of a source."""
    before = paths(saved)
    saved.run("source", "lock", source / "sub", "--reason", "being sorted")
    shutil.rmtree(source / "sub")
    (source / "new").write_text("new")
    result = saved.run("backup", source, check=False)
    assert result.code == PARTLY
    assert f"{source}/sub: locked: kept as the last backup has it" in result.errors
    assert paths(saved) == before | {b"new"}
    assert saved.run("status", source, check=False).code == PARTLY
    saved.run("source", "unlock", source / "sub")
    assert saved.run("backup", source).code == DONE
    assert paths(saved) == {path for path in before if not path.startswith(b"sub")} | {b"new"}


def test_a_locked_file_is_not_opened(saved: Imbfs, source: Path) -> None:
    saved.run("source", "lock", source / "empty")
    (source / "empty").write_text("half written")
    result = saved.run("--json", "backup", source, check=False)
    assert (result.code, result.json()["bytes_read"]) == (PARTLY, 0)
    assert saved.run("cat", "latest:empty").stdout == b""


def test_a_source_that_is_locked_whole_is_the_last_backups(saved: Imbfs, source: Path) -> None:
    saved.run("source", "lock", source.parent)
    (source / "new").write_text("new")
    before = paths(saved)
    assert saved.run("backup", source, check=False).code == PARTLY
    assert (paths(saved), len(saved.snapshots())) == (before, 2)


def test_a_source_that_no_backup_has_cannot_be_carried_over(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    imbfs.run("source", "lock", source)
    assert_clear_error(imbfs.run("backup", source, check=False), 1, "locked")
    imbfs.run("source", "unlock", source)
    imbfs.run("source", "lock", source / "sub")
    result = imbfs.run("backup", source, check=False)
    assert (result.code, b"sub" in paths(imbfs)) == (PARTLY, False)
    assert f"{source}/sub: locked: left out" in result.errors


def test_one_of_several_sources_is_locked(imbfs: Imbfs, tmp_path: Path) -> None:
    imbfs.run("init")
    one, two = tmp_path / "s/one", tmp_path / "s/two"
    for path in (one, two):
        path.mkdir(parents=True)
        (path / "file").write_text("before")
    imbfs.run("backup", one, two)
    imbfs.run("source", "lock", one)
    for path in (one, two):
        (path / "file").write_text("after")
    assert imbfs.run("backup", one, two, check=False).code == PARTLY
    assert imbfs.run("cat", "latest:one/file").text == "before"
    assert imbfs.run("cat", "latest:two/file").text == "after"


def test_locks_are_ignored_where_that_is_wanted(saved: Imbfs, source: Path) -> None:
    """Parity row 18: `--ignore-lock`."""
    saved.run("source", "lock", source)
    (source / "new").write_text("new")
    assert saved.run("backup", source, "--ignore-lock").code == DONE
    assert b"new" in paths(saved)


def test_a_rule_of_a_profile_locks(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    profiles = Profiles(imbfs)
    profiles.sound("home", [source])
    profiles.run("run", "home")
    profiles.sound("home", [source], f"[[rule]]\npath = {json.dumps(str(source / 'sub'))}\nlocked = true\n")
    (source / "sub/one").write_text("other")
    assert profiles.run("run", "home", check=False).code == PARTLY
    assert imbfs.run("cat", "latest:sub/one").stdout != b"other"
    profiles.run("--profile", "home", "backup", "--ignore-lock")
    assert imbfs.run("cat", "latest:sub/one").stdout == b"other"


def test_the_list_tells_what_is_locked_since_when_and_why(imbfs: Imbfs, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9\nx")
    odd.mkdir()
    assert "nothing is locked" in imbfs.run("source", "list").errors
    imbfs.run("source", "lock", odd, "--reason", "first")
    imbfs.run("source", "lock", odd, tmp_path / "gone")
    assert "nothing is there" in imbfs.run("source", "lock", tmp_path / "gone").errors
    listed = imbfs.run("--json", "source", "list").json()
    assert [sorted(each) for each in listed] == [["path", "reason", "since"]] * 2
    lines = imbfs.run("source", "list").stdout.splitlines()
    assert len(lines) == 3
    assert lines[1].endswith(b"first")
    assert_clear_error(imbfs.run("source", "unlock", tmp_path, check=False), 1, "not locked")
    assert_clear_error(imbfs.run("source", "lock", check=False), WRONG_USE, "name")
    imbfs.run("source", "unlock", odd, tmp_path / "gone")
    assert imbfs.run("--json", "source", "list").json() == []


def test_a_list_of_locks_that_cannot_be_read_stops_the_backup(saved: Imbfs, source: Path) -> None:
    saved.run("source", "lock", source)
    (saved.home() / ".local/state/imbfs/locks.json").write_text("[{")
    assert_clear_error(saved.run("backup", source, check=False), 1, "locks.json")
    saved.run("backup", source, "--ignore-lock")
