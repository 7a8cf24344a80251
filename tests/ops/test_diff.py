"""What a diff costs, and what it makes of very deep and of unequal trees."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.ops.diff import Line, diff
from backup.snapshots.manifest import Snapshot
from backup.snapshots.paths import find_spot
from tests.views.grow import Tree, change, grow
from tests.views.kept import Kept, TreesRead

DIRECTORIES = 20


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    kept.repository.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Directories with a subdirectory each."""
    tree: Tree = {
        f"d{number}": {"file": b"%d" % number, "sub": {"deep": b"-%d" % number}}
        for number in range(DIRECTORIES)
    }
    return grow(tmp_path / "source", tree)


def between(kept: Kept, first: Snapshot, second: Snapshot) -> list[Line]:
    read = kept.repository.tree
    return diff(find_spot(first.root, [], read), find_spot(second.root, [], read), read)


def words(lines: list[Line]) -> dict[str, str]:
    return {
        os.fsdecode(line.path): f"{line.change} {os.fsdecode(line.origin or b'')}".strip() for line in lines
    }


def test_equal_subtrees_are_never_opened(kept: Kept, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kept.backup(source)
    change(source / "d7/sub/deep", b"other")
    second = kept.backup(source)
    trees = TreesRead(kept.repository, monkeypatch.setattr)
    assert words(between(kept, first, second)) == {"d7/sub/deep": "content"}
    # The pages that manifests name, then root, d7 and d7/sub, of each snapshot.
    assert trees.distinct() == 2 * 4


def test_a_moved_directory_is_opened_on_one_side_only_to_be_counted(
    kept: Kept, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kept.backup(source)
    (source / "d7").rename(source / "moved")
    second = kept.backup(source)
    trees = TreesRead(kept.repository, monkeypatch.setattr)
    lines = between(kept, first, second)
    assert words(lines) == {"moved": "renamed d7"}
    assert lines[0].names == 3
    assert trees.distinct() == 2 * 2 + 2


def test_of_equal_files_that_moved_apart_nothing_is_guessed(kept: Kept, source: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        change(source / name, b"the same")
    first = kept.backup(source)
    # Copies: not even the inode tells which is which.
    shutil.copytree(source, tmp_path / "copy")
    (tmp_path / "copy/one").rename(tmp_path / "copy/three")
    (tmp_path / "copy/two").rename(tmp_path / "copy/four")
    found = words(between(kept, first, kept.backup(tmp_path / "copy")))
    assert {path: word for path, word in found.items() if "/" not in path and path[0] != "d"} == {
        "one": "removed",
        "two": "removed",
        "three": "added",
        "four": "added",
    }


def test_a_very_deep_tree_that_came_is_told_to_its_end(kept: Kept, tmp_path: Path) -> None:
    top = grow(tmp_path / "deep", {"a": b"a"})
    first = kept.backup(top)
    depth = 300
    (top / "/".join(["d"] * depth)).mkdir(parents=True)
    second = kept.backup(top)
    assert len(between(kept, first, second)) == depth
