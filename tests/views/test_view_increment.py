"""An increment: `files/`, `deleted/` and `changes.jsonl`."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.model.ids import ObjectId
from backup.snapshots.manifest import Snapshot
from backup.views.open import open_increment
from tests.views.grow import OLD, File, Link, Tree, change, grow, settle
from tests.views.kept import Kept, TreesRead
from tests.views.shown import Shown

TREE: Tree = {
    "same": b"never changed\n",
    "text": b"before\n",
    "sub": {"inner": {"deep": b"deep\n"}, "beside": b"beside\n"},
    "other": {"file": b"other\n", "second": b"second\n"},
}


@pytest.fixture
def first(kept: Kept, source: Path) -> Snapshot:
    return kept.backup(grow(source, TREE))


def shown(kept: Kept, before: Snapshot | None, after: Snapshot) -> Shown:
    return Shown(open_increment(kept.repository, before, after))


def again(kept: Kept, first: Snapshot, source: Path) -> Shown:
    """The increment of a new backup against the first."""
    return shown(kept, first, kept.backup(source))


def paths(found: Shown, part: str) -> list[str]:
    return sorted(found.walk(part))


def test_an_increment_has_three_names(kept: Kept, source: Path, first: Snapshot) -> None:
    """Parity row 25: what is deleted at the source is parked, findable, used again."""
    found = again(kept, first, source)
    assert found.ls() == ["changes.jsonl", "deleted", "files"]
    kinds = {name: stat.S_IFMT(at.mode) for name, at in found.listing().items()}
    assert kinds == {b"changes.jsonl": stat.S_IFREG, b"deleted": stat.S_IFDIR, b"files": stat.S_IFDIR}


def test_where_nothing_changed_an_increment_is_empty(kept: Kept, source: Path, first: Snapshot) -> None:
    found = again(kept, first, source)
    assert (found.ls("files"), found.ls("deleted"), found.data("changes.jsonl")) == ([], [], b"")


def test_the_size_of_the_list_of_changes_is_true(kept: Kept, source: Path, first: Snapshot) -> None:
    change(source / "text", b"after\n")
    found = again(kept, first, source)
    assert found.stat("changes.jsonl").size == len(found.data("changes.jsonl")) > 0


def test_an_added_file_is_at_its_path_with_its_parents_alone(
    kept: Kept, source: Path, first: Snapshot
) -> None:
    change(source / "sub" / "inner" / "new", b"new\n")
    found = again(kept, first, source)
    assert paths(found, "files") == ["sub", "sub/inner", "sub/inner/new"]
    assert found.data("files/sub/inner/new") == b"new\n"
    assert paths(found, "deleted") == []
    assert found.summary() == {"sub/inner": "metadata", "sub/inner/new": "added"}


def test_an_added_directory_is_shown_whole(kept: Kept, source: Path, first: Snapshot) -> None:
    grow(source / "new", {"x": b"x", "y": {"z": b"z"}})
    settle(source)
    found = again(kept, first, source)
    assert paths(found, "files") == ["new", "new/x", "new/y", "new/y/z"]
    assert found.summary() == {
        ".": "metadata",
        "new": "added",
        "new/x": "added",
        "new/y": "added",
        "new/y/z": "added",
    }


def test_a_removed_file_is_what_the_parent_had(kept: Kept, source: Path, first: Snapshot) -> None:
    (source / "other" / "file").unlink()
    found = again(kept, first, source)
    assert paths(found, "files") == ["other"]
    assert paths(found, "deleted") == ["other", "other/file"]
    assert found.data("deleted/other/file") == b"other\n"
    assert found.summary() == {"other": "metadata", "other/file": "removed"}


def test_a_removed_directory_is_shown_whole(kept: Kept, source: Path, first: Snapshot) -> None:
    shutil.rmtree(source / "sub")
    found = again(kept, first, source)
    assert paths(found, "deleted") == ["sub", "sub/beside", "sub/inner", "sub/inner/deep"]
    assert found.summary() == {
        ".": "metadata",
        "sub": "removed",
        "sub/beside": "removed",
        "sub/inner": "removed",
        "sub/inner/deep": "removed",
    }


def test_changed_content_is_told_with_sizes_and_times(kept: Kept, source: Path, first: Snapshot) -> None:
    change(source / "text", b"after all\n")
    found = again(kept, first, source)
    assert paths(found, "files") == ["text"]
    assert found.data("files/text") == b"after all\n"
    (line,) = found.changes()
    assert (line["change"], line["path"]) == ("content", "text")
    assert (line["before"]["size"], line["after"]["size"]) == (7, 10)
    assert line["before"]["mtime_ns"] == OLD * 10**9
    assert line["after"]["mtime_ns"] == (OLD + 1) * 10**9
    assert {line["before"]["kind"], line["after"]["kind"]} == {"file"}


def test_content_changed_with_size_and_time_as_before_is_told(
    kept: Kept, source: Path, first: Snapshot
) -> None:
    (source / "text").write_bytes(b"BEFORE\n")
    os.utime(source / "text", (OLD, OLD))
    found = again(kept, first, source)
    assert found.summary() == {"text": "content"}
    assert found.data("files/text") == b"BEFORE\n"


@pytest.mark.parametrize("what", ["mode", "owner", "mtime", "xattr"])
def test_changed_metadata_is_told_as_that(kept: Kept, source: Path, first: Snapshot, what: str) -> None:
    path = source / "sub" / "beside"
    if what == "mode":
        path.chmod(0o4700)
    elif what == "owner":
        os.chown(path, os.getuid(), 12345 if os.geteuid() == 0 else os.getgroups()[-1])
    elif what == "mtime":
        os.utime(path, ns=(OLD, OLD * 10**9 + 1))
    else:
        os.setxattr(path, "user.new", b"value")
    found = again(kept, first, source)
    assert found.summary() == {"sub/beside": "metadata"}
    assert found.data("files/sub/beside") == b"beside\n"
    assert paths(found, "files") == ["sub", "sub/beside"]


def test_a_changed_time_of_the_root_itself_is_told_as_a_dot(
    kept: Kept, source: Path, first: Snapshot
) -> None:
    os.utime(source, (OLD + 9, OLD + 9))
    found = again(kept, first, source)
    assert found.summary() == {".": "metadata"}
    assert found.stat("files").mtime_ns == (OLD + 9) * 10**9


def test_a_new_ctime_alone_is_no_change(kept: Kept, source: Path, first: Snapshot) -> None:
    for path in [source, *source.rglob("*")]:
        path.chmod(stat.S_IMODE(path.stat().st_mode))
    second = kept.backup(source)
    assert second.root != first.root, "the records themselves differ"
    found = shown(kept, first, second)
    assert (found.ls("files"), found.ls("deleted"), found.summary()) == ([], [], {})


def test_the_same_tree_at_another_place_is_no_change(kept: Kept, source: Path, tmp_path: Path) -> None:
    one, other = (kept.backup(grow(tmp_path / place, TREE)) for place in ("one", "other"))
    found = shown(kept, one, other)
    assert (found.ls("files"), found.ls("deleted"), found.summary()) == ([], [], {})


def test_two_snapshots_of_different_paths_compare_root_with_root(kept: Kept, tmp_path: Path) -> None:
    one = kept.backup(grow(tmp_path / "one", TREE))
    other = kept.backup(grow(tmp_path / "two", {**TREE, "text": b"after\n", "new": b"new\n"}))
    assert shown(kept, one, other).summary() == {".": "metadata", "text": "content", "new": "added"}
    back = shown(kept, other, one)
    assert back.summary() == {".": "metadata", "text": "content", "new": "removed"}
    assert back.data("files/text") == b"before\n"


# What moved.


def test_a_renamed_file_is_told_with_where_it_came_from(kept: Kept, source: Path, first: Snapshot) -> None:
    (source / "text").rename(source / "other" / "moved")
    found = again(kept, first, source)
    expected = {".": "metadata", "other": "metadata", "other/moved": "renamed text"}
    assert found.summary() == expected
    assert found.data("files/other/moved") == b"before\n"
    assert paths(found, "deleted") == ["text"]


def test_a_renamed_directory_is_told_with_all_it_holds(kept: Kept, source: Path, first: Snapshot) -> None:
    (source / "sub").rename(source / "moved")
    assert again(kept, first, source).summary() == {
        ".": "metadata",
        "moved": "renamed sub",
        "moved/beside": "renamed sub/beside",
        "moved/inner": "renamed sub/inner",
        "moved/inner/deep": "renamed sub/inner/deep",
    }


def test_a_copied_file_whose_original_went_is_renamed(kept: Kept, source: Path, first: Snapshot) -> None:
    (source / "copy").write_bytes((source / "text").read_bytes())
    (source / "text").unlink()
    assert again(kept, first, source).summary() == {".": "metadata", "copy": "renamed text"}


def test_a_copied_file_whose_original_stays_is_added(kept: Kept, source: Path, first: Snapshot) -> None:
    shutil.copy2(source / "text", source / "copy")
    assert again(kept, first, source).summary() == {".": "metadata", "copy": "added"}


def test_of_two_equal_files_that_moved_nothing_is_guessed_but_by_inode(kept: Kept, source: Path) -> None:
    first = kept.backup(grow(source, {"one": b"equal", "two": b"equal"}))
    (source / "one").rename(source / "three")
    (source / "two").rename(source / "four")
    found = again(kept, first, source)
    assert found.summary() == {".": "metadata", "three": "renamed one", "four": "renamed two"}
    for name in ("three", "four"):
        shutil.copy2(source / name, source / f"copy of {name}")
    for name in ("three", "four"):
        (source / name).unlink()
    second = kept.backup(source)
    assert sorted(shown(kept, kept.repository.snapshots()[1], second).summary().values()) == [
        "added",
        "added",
        "metadata",
        "removed",
        "removed",
    ]


def test_two_files_that_swapped_names_both_have_other_content(
    kept: Kept, source: Path, first: Snapshot
) -> None:
    other = source / "other"
    (other / "file").rename(source / "aside")
    (other / "second").rename(other / "file")
    (source / "aside").rename(other / "second")
    settle(source)
    settle(other)
    found = again(kept, first, source)
    assert found.summary() == {"other/file": "content", "other/second": "content"}
    assert found.files("files") == {"other/file": b"second\n", "other/second": b"other\n"}
    assert paths(found, "deleted") == []


def test_two_directories_that_swapped_names_differ_in_what_they_hold(
    kept: Kept, source: Path, first: Snapshot
) -> None:
    (source / "sub").rename(source / "aside")
    (source / "other").rename(source / "sub")
    (source / "aside").rename(source / "other")
    settle(source)
    found = again(kept, first, source)
    assert found.summary() == {
        "other": "metadata",
        "other/beside": "renamed sub/beside",
        "other/inner": "renamed sub/inner",
        "other/inner/deep": "renamed sub/inner/deep",
        "sub": "metadata",
        "sub/file": "renamed other/file",
        "sub/second": "renamed other/second",
    }


def test_a_file_that_took_the_place_of_another_leaves_its_own(
    kept: Kept, source: Path, first: Snapshot
) -> None:
    (source / "other" / "file").rename(source / "other" / "second")
    found = again(kept, first, source)
    expected = {"other": "metadata", "other/file": "removed", "other/second": "content"}
    assert found.summary() == expected


def test_a_rewritten_file_is_not_merely_renamed_whatever_its_time_says(
    kept: Kept, source: Path, first: Snapshot
) -> None:
    (source / "text").write_bytes(b"BEFORE\n")
    os.utime(source / "text", (OLD, OLD))
    (source / "text").rename(source / "moved")
    found = again(kept, first, source)
    assert found.summary() == {".": "metadata", "text": "removed", "moved": "added"}


def test_a_file_renamed_and_changed_in_mode_is_told_with_both_modes(
    kept: Kept, source: Path, first: Snapshot
) -> None:
    (source / "text").rename(source / "moved")
    (source / "moved").chmod(0o400)
    line = next(line for line in again(kept, first, source).changes() if line["change"] == "renamed")
    assert (line["from"], line["path"]) == ("text", "moved")
    assert (line["before"]["mode"], line["after"]["mode"]) == (0o644, 0o400)


# Other kinds of files at the same name.

KINDS: dict[str, Tree] = {
    "file": {"it": b"a file\n"},
    "directory": {"it": {"x": b"inside\n", "y": {"z": b"deeper\n"}}},
    "empty directory": {"it": {}},
    "symlink": {"it": Link("nowhere")},
}


@pytest.mark.parametrize(
    ("old", "new"),
    [(old, new) for old in KINDS for new in KINDS if old.split()[-1] != new.split()[-1]],
)
def test_a_name_that_became_another_kind_is_shown_whole_on_both_sides(
    kept: Kept, tmp_path: Path, old: str, new: str
) -> None:
    first = kept.backup(grow(tmp_path / "one", KINDS[old]))
    second = kept.backup(grow(tmp_path / "two", KINDS[new]))
    found = shown(kept, first, second)
    before, after = ({"it", *(["it/x", "it/y", "it/y/z"] * (kind == "directory"))} for kind in (old, new))
    assert set(paths(found, "files")) == after
    assert set(paths(found, "deleted")) == before
    (line,) = (line for line in found.changes() if line["path"] == "it")
    assert line["change"] == "content"
    kinds = {"directory": "dir"}
    assert line["before"]["kind"] == kinds.get(old.split()[-1], old)
    assert line["after"]["kind"] == kinds.get(new.split()[-1], new)
    below = {**dict.fromkeys(before, "removed"), **dict.fromkeys(after, "added"), "it": "content"}
    assert {path: what for path, what in found.summary().items() if path != "."} == below


# Hard links.


def test_a_new_name_of_an_unchanged_file_is_added_and_the_file_is_no_change(
    kept: Kept, source: Path, first: Snapshot
) -> None:
    os.link(source / "text", source / "other" / "linked")
    found = again(kept, first, source)
    assert found.summary() == {"other": "metadata", "other/linked": "added"}
    assert found.data("files/other/linked") == b"before\n"


def test_a_removed_name_of_a_file_that_stays_is_removed(kept: Kept, source: Path) -> None:
    grow(source, TREE)
    os.link(source / "text", source / "other" / "linked")
    first = kept.backup(source)
    (source / "other" / "linked").unlink()
    found = again(kept, first, source)
    assert found.summary() == {"other": "metadata", "other/linked": "removed"}
    assert paths(found, "deleted") == ["other", "other/linked"]


def test_a_changed_file_with_two_names_is_one_inode_in_files(kept: Kept, source: Path) -> None:
    grow(source, TREE)
    os.link(source / "text", source / "other" / "linked")
    first = kept.backup(source)
    change(source / "text", b"after\n")
    found = again(kept, first, source)
    assert found.summary() == {"text": "content", "other/linked": "content"}
    one, other = found.stat("files/text"), found.stat("files/other/linked")
    assert one == other
    assert one.nlink == 2


# Which two are compared, and what that costs.


def test_of_a_first_snapshot_everything_was_added(kept: Kept, first: Snapshot) -> None:
    found = shown(kept, None, first)
    assert found.files("files")["sub/inner/deep"] == b"deep\n"
    assert found.ls("deleted") == []
    assert set(found.summary().values()) == {"added"}
    assert set(found.summary()) == {".", *paths(found, "files")}


def test_files_have_all_their_attributes(kept: Kept, source: Path, first: Snapshot) -> None:
    (source / "text").chmod(0o2751)
    os.setxattr(source / "text", "user.kept", b"value")
    status = (source / "text").stat()
    at = again(kept, first, source).stat("files/text")
    assert (at.mode, at.uid, at.gid, at.size) == (status.st_mode, status.st_uid, status.st_gid, 7)
    assert at.mtime_ns == status.st_mtime_ns
    found = Shown(open_increment(kept.repository, first, kept.repository.snapshots()[-1]))
    assert found.xattr("files/text", "user.kept") == b"value"
    assert found.xattr("files/text", "user.imbfs.snapshot") == kept.repository.snapshots()[-1].id.encode()


def test_what_is_deleted_is_of_the_older_snapshot(kept: Kept, source: Path, first: Snapshot) -> None:
    (source / "text").unlink()
    found = again(kept, first, source)
    assert found.xattr("deleted/text", "user.imbfs.snapshot") == first.id.encode()


def test_equal_subtrees_are_never_opened(kept: Kept, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide: Tree = {f"d{number:02}": {"x": {"y": b"y"}, "z": b"%d" % number} for number in range(30)}
    first = kept.backup(grow(source, {**wide, "changed": {"deep": {"file": b"before"}}}))
    change(source / "changed" / "deep" / "file", b"after")
    second = kept.backup(source)
    trees = TreesRead(kept.repository, monkeypatch.setattr)
    found = shown(kept, first, second)
    assert found.data("files/changed/deep/file") == b"after"
    assert found.ls("deleted") == []
    assert found.summary() == {"changed/deep/file": "content"}
    # Of each snapshot: the page of its root, the root, `changed` and `changed/deep`.
    assert trees.distinct() == 2 * 4


def test_equal_directories_below_a_changed_one_are_not_opened_by_listing_it(
    kept: Kept, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kept.backup(grow(source, {"d": {"x": {"y": {"z": b"z"}}}}))
    os.utime(source / "d", (OLD + 1, OLD + 1))
    second = kept.backup(source)
    trees = TreesRead(kept.repository, monkeypatch.setattr)
    found = shown(kept, first, second)
    assert paths(found, "files") == ["d"]
    # Both pages of the root, and both roots: what `d` holds is equal.
    assert trees.distinct() == 2 * 2


def test_a_directory_of_many_pages_is_compared_name_by_name(kept: Kept, source: Path) -> None:
    for number in range(5_000):
        os.close(os.open(source / f"file {number:04}", os.O_CREAT | os.O_WRONLY, 0o644))
    settle(source)
    first = kept.backup(source)
    assert len(kept.repository.directory(tree_of_root(kept, first)).page_ids) > 1
    (source / "file 0007").unlink()
    change(source / "file 4444", b"now with content")
    change(source / "file 2000 and a half", b"new")
    found = again(kept, first, source)
    assert found.summary() == {
        ".": "metadata",
        "file 0007": "removed",
        "file 2000 and a half": "added",
        "file 4444": "content",
    }
    assert found.ls("files") == ["file 2000 and a half", "file 4444"]


def tree_of_root(kept: Kept, snapshot: Snapshot) -> ObjectId:
    tree = kept.repository.root(snapshot).entry(0).tree
    assert tree is not None
    return tree


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A tree too deep for a function that calls itself, and the path of a file at its bottom."""
    path = tmp_path / "deep"
    for _ in range(1200):
        path.mkdir()
        path = path / "d"
    (path.parent / "file").write_bytes(b"before")
    yield tmp_path / "deep", "d/" * 1199 + "file"
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)


def test_a_change_at_the_bottom_of_a_very_deep_tree_is_shown(kept: Kept, deep: tuple[Path, str]) -> None:
    top, file = deep
    first = kept.backup(top)
    change(top / file, b"after")
    found = again(kept, first, top)
    assert found.data("files/" + file) == b"after"
    assert found.ls("deleted") == []
    assert found.summary() == {file: "content"}


def test_names_that_are_not_utf_8_are_told_as_bytes(kept: Kept, source: Path, first: Snapshot) -> None:
    with open(os.fsencode(source) + b"/caf\xe9\n", "wb"):
        pass
    found = again(kept, first, source)
    assert found.summary()[os.fsdecode(b"caf\xe9\n")] == "added"


def test_a_mode_of_a_new_file_is_its_own(kept: Kept, source: Path, first: Snapshot) -> None:
    grow(source / "new", {"script": File(b"#!/bin/sh\n", 0o4755)})
    assert stat.S_IMODE(again(kept, first, source).stat("files/new/script").mode) == 0o4755
