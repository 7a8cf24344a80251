"""`tag`: labels change, and nothing else of a snapshot does."""

from pathlib import Path

import pytest

from backup.snapshots.manifest import Labels
from tests.support.calendar import add_snapshots, manifest
from tests.support.check import FAILED, WRONG_USE, assert_clear_error
from tests.support.damage import files_of
from tests.support.imbfs import Imbfs


def tags(imbfs: Imbfs) -> list[list[str]]:
    return [snapshot["tags"] for snapshot in imbfs.snapshots()]


def test_tags_are_added_removed_and_set(copied: Imbfs) -> None:
    copied.run("tag", "latest", "--add", "b", "--add", "a", "--add", "b")
    assert tags(copied) == [["b", "a"]]
    copied.run("tag", "latest", "--remove", "b", "--remove", "none", "--add", "caf\u00e9 au lait")
    assert tags(copied) == [["a", "caf\u00e9 au lait"]]
    copied.run("tag", "tag:a", "--set", "x", "--set", "y")
    assert tags(copied) == [["x", "y"]]
    copied.run("tag", "latest", "--set", "")
    assert tags(copied) == [[]]


def test_the_id_and_all_else_stay_and_the_selector_sees_it_at_once(copied: Imbfs) -> None:
    before = copied.run("--json", "show", "latest").json()
    [changed] = copied.run("--json", "tag", "latest", "--add", "kept", "--description", "why").json()
    assert (changed["id"], changed["tags"], changed["description"]) == (before["id"], ["kept"], "why")
    after = copied.run("--json", "show", "tag:kept").json()
    assert after == {**before, "tags": ["kept"], "description": "why"}
    assert copied.run("check", "--read-data").code == 0


def test_several_snapshots_are_tagged_at_once_each_once(copied: Imbfs) -> None:
    add_snapshots(copied, ["2027-01-01T00:00:00+00:00", "2027-01-02T00:00:00+00:00"])
    result = copied.run("tag", "latest", "latest~1", "latest", "--add", "x")
    assert tags(copied) == [[], ["x"], ["x"]]
    assert [line.split()[1] for line in result.text.splitlines()] == ["x", "x"]


def test_a_change_that_changes_nothing_writes_nothing(copied: Imbfs) -> None:
    copied.run("tag", "latest", "--add", "x")
    [path] = files_of(copied.repository, "manifest")
    before = path.stat()
    copied.run("tag", "latest", "--add", "x", "--remove", "y")
    assert path.stat().st_ino == before.st_ino


def test_a_label_of_a_newer_imbfs_survives(copied: Imbfs) -> None:
    from backup.objects.hashing import name_of
    from backup.snapshots.manifest import relabel_manifest

    [path] = files_of(copied.repository, "manifest")
    name = name_of("blake3")
    body = path.read_bytes().split(b"\n")[0]
    newer = body + b'\n{"later":[1],"tags":[]}\n'
    found = relabel_manifest(newer + name(newer).hex().encode() + b"\n", Labels(["x"]), name)
    assert found.split(b"\n")[:2] == [body, b'{"later":[1],"tags":["x"],"description":""}']


WRONG = [
    ["latest"],
    ["--add", "x"],
    ["latest", "--add", ""],
    ["latest", "--add", "a,b"],
    ["latest", "--add", "two\nlines"],
    ["latest", "--add", " x"],
    ["latest", "--set", "x", "--add", "y"],
    ["latest", "--set", b"\xff"],
    ["latest", "--description", b"\xff"],
]


@pytest.mark.parametrize("options", WRONG, ids=repr)
def test_wrong_use_changes_nothing(copied: Imbfs, options: list[str | bytes]) -> None:
    assert_clear_error(copied.run("tag", *options, check=False), WRONG_USE)
    assert tags(copied) == [[]]


def test_one_that_does_not_exist_leaves_the_others_unchanged(copied: Imbfs) -> None:
    assert_clear_error(copied.run("tag", "latest", "0000", "--add", "x", check=False), FAILED, "0000")
    assert tags(copied) == [[]]


def test_backup_refuses_a_tag_that_is_none(saved: Imbfs, source: Path) -> None:
    assert_clear_error(saved.run("backup", source, "--tag", "two\nlines", check=False), WRONG_USE)


def test_a_manifest_that_cannot_be_replaced_stays_whole(copied: Imbfs) -> None:
    [snapshot] = copied.snapshots()
    before = manifest(copied, snapshot["id"]).read_bytes()
    (copied.repository / "tmp").rmdir()
    (copied.repository / "tmp").write_bytes(b"in the way")
    assert_clear_error(copied.run("tag", "latest", "--add", "x", check=False), FAILED)
    assert manifest(copied, snapshot["id"]).read_bytes() == before
