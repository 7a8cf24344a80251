"""What is immutable stays in every snapshot, whatever happens to the source; nor is anything else lost."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup.model.ids import ObjectId
from backup.ops.backup import BackupOptions, BackupResult, backup
from backup.ops.diffing.gather import below
from backup.ops.guarding.alarms import Immutable
from backup.snapshots.difference import content_at, tree_at
from backup.snapshots.paths import find_spot
from backup.source.places import Places, place_patterns
from tests.ops.test_diff_property import STEPS, TREES, take_steps
from tests.views.grow import Tree, grow
from tests.views.kept import START, Kept, Silent

Contents = dict[bytes, object]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("immutable")


@pytest.fixture(scope="module")
def kept(place: Path) -> Iterator[Kept]:
    kept = Kept(place)
    yield kept
    kept.repository.close()


def run(kept: Kept, root: Path, immutable: Immutable) -> BackupResult:
    options = BackupOptions(START, "host", "user", immutable=immutable)
    return backup(kept.repository, [os.fsencode(root)], options, Silent())


def tree_of(kept: Kept, result: BackupResult) -> ObjectId:
    assert result.snapshot is not None
    return kept.repository.catalogue.read(result.snapshot).root


def contents(kept: Kept, root: ObjectId) -> Contents:
    """Of each path but directories, something that is the same for the same content."""
    read = kept.repository.tree
    tree = tree_at(find_spot(root, [], read))
    assert tree is not None
    return {path: content_at(spot) for path, spot in below(b"", tree, read) if tree_at(spot) is None}


def touches(one: bytes, other: bytes) -> bool:
    return one == other or one.startswith(other + b"/") or other.startswith(one + b"/")


@given(TREES, STEPS, st.sampled_from(["", "a", "b"]))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_what_is_immutable_is_kept(
    kept: Kept, place: Path, tree: Tree, steps: list[tuple[str, str, str]], part: str
) -> None:
    with tempfile.TemporaryDirectory(dir=place) as directory:
        root = grow(Path(directory, "root"), tree)
        guarded = Places(place_patterns(os.fsencode(root / part), "test"))
        inside = os.fsencode(part) + b"/" if part else b""
        before = contents(kept, tree_of(kept, run(kept, root, Immutable(guarded))))
        take_steps(root, steps)

        found = run(kept, root, Immutable(guarded))
        after = contents(kept, tree_of(kept, found))
        live = contents(kept, tree_of(kept, run(kept, root, Immutable())))

        def own(known: Contents) -> Counter[object]:
            return Counter(what for path, what in known.items() if (path + b"/").startswith(inside))

        assert own(before) <= own(after)
        for path, what in live.items():
            put_back = any(touches(path, alarm.path) for alarm in found.alarms)
            assert after.get(path) == what or put_back, path
        for alarm in found.alarms:
            assert (alarm.path + b"/").startswith(inside) or alarm.change == "moved"
        if not found.alarms:
            assert after == live


@given(TREES, STEPS)
@settings(max_examples=20, deadline=None)
def test_an_alarm_stays_the_same_until_something_is_done(
    kept: Kept, place: Path, tree: Tree, steps: list[tuple[str, str, str]]
) -> None:
    with tempfile.TemporaryDirectory(dir=place) as directory:
        root = grow(Path(directory, "root"), tree)
        immutable = Immutable(Places(place_patterns(os.fsencode(root), "test")))
        run(kept, root, immutable)
        take_steps(root, steps)
        first, second = run(kept, root, immutable), run(kept, root, immutable)
        third = run(kept, root, immutable)
        assert contents(kept, tree_of(kept, second)) == contents(kept, tree_of(kept, first))
        assert tree_of(kept, third) == tree_of(kept, second)
        assert sum(alarm.files for alarm in second.alarms) == sum(alarm.files for alarm in first.alarms)
