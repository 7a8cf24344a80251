"""The shapes of `--json`: what scripts build on."""

import base64
import os
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.imbfs import Imbfs, name
from tests.support.small import FILES, WRITTEN

SUMMARY = {
    "snapshot", "parent", "files_new", "files_changed", "files_unchanged", "files_removed", "dirs",
    "bytes_source", "bytes_read", "bytes_added", "bytes_stored", "errors", "seconds",
}  # fmt: skip
SNAPSHOT = {"id", "time", "host", "user", "paths", "tags", "parent", "description", "files", "bytes"}
ENTRY = {"path", "kind", "mode", "uid", "gid", "user", "group", "size", "mtime", "target"}

#: All regular names of the small tree: the hard link is one more.
NAMES = len(FILES) + 1


def test_the_summary_of_a_first_backup_counts_everything_as_new(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    summary = imbfs.backup(source)
    assert summary.keys() >= SUMMARY
    assert summary["parent"] is None
    assert summary["files_changed"] == summary["files_unchanged"] == summary["files_removed"] == 0
    assert summary["files_new"] >= len(FILES)
    assert summary["bytes_source"] >= sum(map(len, FILES.values()))
    assert summary["bytes_stored"] > len(FILES[b"large"])
    assert not summary["errors"]
    assert summary["seconds"] >= 0


def test_the_summary_of_a_later_backup_tells_what_changed(saved: Imbfs, source: Path) -> None:
    (source / "readme").write_bytes(b"changed, and no longer linked to the same bytes\n")
    (source / "sub" / "one").unlink()
    (source / "brand new").write_bytes(b"new\n")
    summary = saved.backup(source)
    (first, second) = saved.snapshots()
    assert summary["snapshot"] == second["id"]
    assert summary["parent"] == first["id"] == second["parent"]
    assert (summary["files_new"], summary["files_removed"]) == (1, 1)
    assert summary["files_changed"] >= 1
    assert summary["bytes_read"] < 1000
    assert summary["bytes_added"] < 100_000


def test_a_snapshot_tells_what_it_is_of(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    options = ["--tag", "one", "--tag", "two", "--host", "elsewhere", "--description", "a café"]
    imbfs.run("backup", *options, "--time", "2026-03-01T12:30:00+02:00", source)
    (snapshot,) = imbfs.snapshots()
    assert snapshot.keys() >= SNAPSHOT
    assert sorted(snapshot["tags"]) == ["one", "two"]
    assert (snapshot["host"], snapshot["description"]) == ("elsewhere", "a café")
    assert snapshot["paths"] == [str(source)]
    assert datetime.fromisoformat(snapshot["time"]) == datetime.fromisoformat("2026-03-01T12:30:00+02:00")


def test_a_snapshot_is_of_this_host_and_now_unless_told(copied: Imbfs) -> None:
    (snapshot,) = copied.snapshots()
    assert snapshot["host"] == socket.gethostname()
    made = datetime.fromisoformat(snapshot["time"])
    assert made.tzinfo is not None
    assert abs((datetime.now(made.tzinfo) - made).total_seconds()) < 3600
    assert snapshot["bytes"] >= sum(map(len, FILES.values()))


def test_snapshots_are_listed_oldest_first(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    for day in ("2026-03-02", "2026-03-03", "2026-03-01"):
        imbfs.run("backup", "--time", f"{day}T00:00:00Z", source)
    days = [datetime.fromisoformat(snapshot["time"]).day for snapshot in imbfs.snapshots()]
    assert days == [1, 2, 3]


def test_show_tells_all_that_snapshots_does(copied: Imbfs) -> None:
    shown = copied.run("--json", "show", "latest").json()
    (listed,) = copied.snapshots()
    assert isinstance(shown, dict)
    assert {key: shown[key] for key in SNAPSHOT} == {key: listed[key] for key in SNAPSHOT}


def test_check_answers_with_one_object(copied: Imbfs) -> None:
    assert isinstance(copied.run("--json", "check", "--read-data").json(), dict)


def test_index_status_answers_with_one_object(copied: Imbfs) -> None:
    assert isinstance(copied.run("--json", "index", "status").json(), dict)


@pytest.fixture
def listed(copied: Imbfs) -> dict[bytes, dict[str, Any]]:
    return copied.ls("latest", "-R")


def test_ls_tells_every_name_with_its_kind(listed: dict[bytes, dict[str, Any]]) -> None:
    """Parity row 39: browse: list, tree, ncdu, cat."""
    files = {path for path, entry in listed.items() if entry["kind"] == "file"}
    assert files == {*FILES, b"sub/link to readme"}
    directories = {path for path, entry in listed.items() if entry["kind"] == "dir"}
    assert directories - {b"", b"."} == {b"sub", b"sub/deeper", b"empty-directory"}
    assert listed[b"symlink"]["kind"] == "symlink"


def test_ls_tells_what_stat_tells(listed: dict[bytes, dict[str, Any]], source: Path) -> None:
    for path, data in FILES.items():
        entry = listed[path]
        status = os.lstat(os.path.join(os.fsencode(source), path))
        assert entry.keys() >= ENTRY
        assert entry["size"] == len(data)
        assert (entry["uid"], entry["gid"]) == (status.st_uid, status.st_gid)
        made = datetime.fromisoformat(entry["mtime"])
        assert made.tzinfo is not None
        assert made.timestamp() == WRITTEN


def test_ls_tells_a_symlink_by_its_target(listed: dict[bytes, dict[str, Any]]) -> None:
    assert name(listed[b"symlink"]["target"]) == b"sub/one"
    assert listed[b"readme"]["target"] is None


def test_a_name_that_is_not_utf_8_is_an_object_with_base64(listed: dict[bytes, dict[str, Any]]) -> None:
    assert listed[b"caf\xe9"]["path"] == {"b64": base64.b64encode(b"caf\xe9").decode()}
    assert listed["café".encode()]["path"] == "café"


def test_a_path_of_a_source_that_is_not_utf_8_is_base64_too(imbfs: Imbfs, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/odd\xff"
    os.mkdir(odd)
    imbfs.run("init")
    imbfs.run("backup", odd)
    (snapshot,) = imbfs.snapshots()
    assert [name(path) for path in snapshot["paths"]] == [odd]
