"""An increment carries one tree over into the other, for any two trees.

The rule: first remove what is gone, deepest first; then `cp -a files/. TARGET`. Gone is each path of a
line `removed`, the `from` of each line `renamed`, and each path whose kind changed (its `before` and
`after` say so). It is removed first, because cp(1) neither replaces a directory by a file nor the other way
round, writes through a symlink that stands in its way, and sets the times of directories last.
`deleted/` holds the same names, and the directories that lead to them.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup.views.open import open_increment
from tests.support.compare import differences
from tests.support.imbfs import name
from tests.views.grow import OLD, File, Link, Tree, grow
from tests.views.kept import Kept
from tests.views.shown import Shown

FILES = st.builds(
    File,
    st.sampled_from([b"", b"one", b"two", b"three"]),
    st.sampled_from([0o644, 0o600]),
    st.sampled_from([OLD, OLD + 1]),
)
LINKS = st.sampled_from([Link("a"), Link("b/c")])
NAMES = st.sampled_from(["a", "b", "c", "a b"])
TREES: st.SearchStrategy[Tree] = st.dictionaries(
    NAMES,
    st.recursive(FILES | LINKS, lambda nodes: st.dictionaries(NAMES, nodes, max_size=3), max_leaves=6),
    max_size=4,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture(scope="module")
def repository(place: Path) -> Iterator[Kept]:
    """Shared by all examples: they differ in the paths of their sources."""
    kept = Kept(place)
    yield kept
    kept.repository.close()


def state(root: Path) -> dict[str, tuple[object, ...]]:
    """Of each path below, all by which it may differ; its kind first."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            what: tuple[object, ...] = ("symlink", os.readlink(path))
        elif path.is_dir():
            what = ("dir",)
        else:
            what = ("file", path.read_bytes())
        found[str(path.relative_to(root))] = (*what, status.st_mode, status.st_mtime_ns)
    return found


def with_parents(paths: set[str]) -> set[str]:
    return paths | {str(above) for path in paths for above in Path(path).parents} - {"."}


def gone(found: Shown) -> list[bytes]:
    """The paths to remove, deepest first."""
    paths = set()
    for line in found.changes():
        if line["change"] == "removed":
            paths.add(name(line["path"]))
        elif line["change"] == "renamed":
            paths.add(name(line["from"]))
        elif line["change"] == "content" and line["before"]["kind"] != line["after"]["kind"]:
            paths.add(name(line["path"]))
    return sorted(paths, reverse=True)


def remove(target: Path, path: bytes) -> None:
    full = os.path.join(os.fsencode(target), path)
    if os.path.isdir(full) and not os.path.islink(full):
        os.rmdir(full)
    else:
        os.unlink(full)


@given(TREES, TREES)
@settings(max_examples=50, deadline=None)
def test_removing_what_is_gone_and_copying_files_over_gives_the_other_tree(
    repository: Kept, place: Path, before: Tree, after: Tree
) -> None:
    with tempfile.TemporaryDirectory(dir=place) as directory:
        one, two = grow(Path(directory, "one"), before), grow(Path(directory, "two"), after)
        first, second = repository.backup(one), repository.backup(two)
        found = Shown(open_increment(repository.repository, first, second))
        old, new = state(one), state(two)

        removed = {path for path in old if path not in new or old[path][0] != new[path][0]}
        assert {os.fsdecode(path) for path in gone(found)} == removed
        assert set(found.walk("deleted")) == with_parents(removed)
        changed = {path for path in new if old.get(path) != new[path]}
        assert set(found.walk("files")) == with_parents(changed)

        target = Path(directory, "target")
        shutil.copytree(one, target, symlinks=True)
        assert differences(one, target) == []
        for path in gone(found):
            remove(target, path)
        found.copy_over("files", target)
        assert differences(two, target) == []
        for snapshot in (first, second):
            repository.forget(snapshot)
