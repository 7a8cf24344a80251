"""A diff carries one tree over into the other, for any two trees and any moves between them.

The rule: what was removed goes; then everything renamed moves, all at once, with what lies below it; then the
rest is made as it is now.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup.ops.backup import BackupOptions
from backup.ops.diff import Line, Verdict, diff, verdict_of
from backup.ops.status import status
from backup.snapshots.manifest import Snapshot
from backup.snapshots.paths import find_spot
from tests.views.grow import OLD, File, Link, Tree, grow
from tests.views.kept import START, Kept, Silent

State = dict[bytes, tuple[object, ...]]

FILES = st.builds(
    File,
    st.sampled_from([b"", b"one", b"two", b"three"]),
    st.sampled_from([0o644, 0o600]),
    st.sampled_from([OLD, OLD + 1]),
)
NAMES = st.sampled_from(["a", "b", "c", "a b"])
TREES: st.SearchStrategy[Tree] = st.dictionaries(
    NAMES,
    st.recursive(
        FILES | st.just(Link("a")), lambda nodes: st.dictionaries(NAMES, nodes, max_size=3), max_leaves=6
    ),
    max_size=4,
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
#: What happens to a tree: a path moves to another, two swap, one is removed, written or made a directory.
STEPS = st.lists(
    st.tuples(st.sampled_from(["move", "swap", "remove", "write", "mkdir"]), PATHS, PATHS), max_size=6
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture(scope="module")
def kept(place: Path) -> Iterator[Kept]:
    """Shared by all examples: they differ in the paths of their sources."""
    kept = Kept(place)
    yield kept
    kept.repository.close()


def state(root: Path) -> State:
    """Of each path below, what it is; times of directories left out: they follow from what is in them."""
    found: State = {}
    for path in root.rglob("*"):
        status = path.lstat()
        key = os.fsencode(path.relative_to(root))
        if path.is_symlink():
            found[key] = ("symlink", os.readlink(path), status.st_mtime_ns)
        elif path.is_dir():
            found[key] = ("dir", status.st_mode)
        else:
            found[key] = ("file", path.read_bytes(), status.st_mode, status.st_mtime_ns)
    return found


def applied(lines: list[Line], before: State, after: State) -> State:
    found = dict(before)
    for line in lines:
        if line.change == "removed":
            del found[line.path]
    moving = {}
    renamed = [line for line in lines if line.change == "renamed"]
    for line in sorted(renamed, key=lambda line: line.origin or b"", reverse=True):
        assert line.origin is not None
        moving[line.path] = taken(found, line.origin)
    for path, below in sorted(moving.items()):
        for rest, what in below.items():
            assert path + rest not in found, "two things at one path"
            found[path + rest] = what
    for line in lines:
        if line.change != "removed" and line.path:
            assert (line.path in found) == (line.change != "added")
            found[line.path] = after[line.path]
    return found


def taken(found: State, path: bytes) -> State:
    """Takes out what is at a path and below it: by what follows the path."""
    inside = [here for here in found if here == path or here.startswith(path + b"/")]
    assert path in inside
    return {here[len(path) :]: found.pop(here) for here in inside}


def between(kept: Kept, first: Snapshot, second: Snapshot) -> list[Line]:
    read = kept.repository.tree
    return diff(find_spot(first.root, [], read), find_spot(second.root, [], read), read)


def take_steps(root: Path, steps: list[tuple[str, str, str]]) -> None:
    """Those that can be taken."""
    for what, one, other in steps:
        path, target = root / one, root / other
        with suppress(OSError):
            if what == "move" and not os.path.lexists(target):
                path.rename(target)
            elif what == "swap" and os.path.lexists(target):
                path.rename(root / "between")
                target.rename(path)
                (root / "between").rename(target)
            elif what == "remove":
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            elif what == "write" and not path.is_symlink():
                path.write_bytes(other.encode())
                os.utime(path, (OLD + 5, OLD + 5))
            elif what == "mkdir":
                path.mkdir()
    with suppress(OSError):
        # A swap of a directory with one inside it stops half-way.
        shutil.rmtree(root / "between")


@given(TREES, TREES)
@settings(max_examples=15, deadline=None)
def test_applying_the_diff_of_any_two_trees_gives_the_other(
    kept: Kept, place: Path, before: Tree, after: Tree
) -> None:
    with tempfile.TemporaryDirectory(dir=place) as directory:
        one, two = grow(Path(directory, "one"), before), grow(Path(directory, "two"), after)
        first, second = kept.backup(one), kept.backup(two)
        old, new = state(one), state(two)
        lines = between(kept, first, second)
        assert applied(lines, old, new) == new
        assert verdict_of(lines) is Verdict.SAME or old != new or lines[0].path == b""
        assert applied(between(kept, second, first), new, old) == old
        for snapshot in (first, second):
            kept.forget(snapshot)


@given(TREES, STEPS)
@settings(max_examples=25, deadline=None)
def test_applying_status_and_diff_after_any_steps_gives_the_live_tree(
    kept: Kept, place: Path, tree: Tree, steps: list[tuple[str, str, str]]
) -> None:
    with tempfile.TemporaryDirectory(dir=place) as directory:
        root = grow(Path(directory, "root"), tree)
        old = state(root)
        first = kept.backup(root)
        take_steps(root, steps)
        new = state(root)
        seen = status(kept.repository, first, b"", BackupOptions(START, "host", "user"), Silent())
        assert applied(seen.lines, old, new) == new
        second = kept.backup(root)
        lines = between(kept, first, second)
        assert applied(lines, old, new) == new
        assert (verdict_of(lines) is Verdict.SAME) == (verdict_of(seen.lines) is Verdict.SAME)
        for snapshot in (first, second):
            kept.forget(snapshot)
