"""Which snapshot a backup is compared with."""

import os
from collections.abc import Iterable, Set

from backup.ops.storing.sources import Sources
from backup.repository import Repository
from backup.snapshots.manifest import Snapshot
from backup.snapshots.names import named


def find_parent(repository: Repository, sources: Sources, host: str) -> Snapshot | None:
    """That of the same source on the same host; where there is none, one that shares a part of its paths.

    Of several, the one whose walk began last. As a list of paths changes, what stays on it is not read again.
    """
    before = repository.snapshots(lambda snapshot: snapshot.body.host == host)
    same = [snapshot for snapshot in before if continues(snapshot, sources)]
    if same:
        return _last(same)
    paths = frozenset(sources.paths)
    beside = (snapshot for snapshot in before if snapshot.top == sources.top)
    return _last(snapshot for snapshot in beside if _overlap(paths, frozenset(snapshot.paths)))


def find_same(repository: Repository, sources: Sources, host: str) -> Snapshot | None:
    """The snapshot of exactly these paths on the same host whose walk began last."""
    return _last(
        repository.snapshots(lambda snapshot: snapshot.body.host == host and is_of(snapshot, sources))
    )


def is_of(snapshot: Snapshot, sources: Sources) -> bool:
    """Whether a snapshot is of exactly these paths."""
    return snapshot.top == sources.top and set(snapshot.paths) == set(sources.paths)


def continues(snapshot: Snapshot, sources: Sources) -> bool:
    """Whether a snapshot is of these paths, perhaps as they lay elsewhere: its tree has their shape."""
    return is_of(snapshot, sources) or (
        # Only below one named place does all move together.
        named(sources.top, sources.names) != sources.top
        and named(snapshot.top, snapshot.names) == named(sources.top, sources.names)
        and _inner(snapshot.top, snapshot.paths) == _inner(sources.top, sources.paths)
    )


def _inner(top: bytes, paths: Iterable[bytes]) -> set[bytes]:
    return {path[len(top) :].strip(b"/") for path in paths}


def _last(snapshots: Iterable[Snapshot]) -> Snapshot | None:
    return max(snapshots, key=lambda snapshot: snapshot.body.started_ns, default=None)


def _overlap(some: Set[bytes], others: Set[bytes]) -> bool:
    """Whether a path is among the others, or one lies in the other."""
    return any(_holds(others, path) for path in some) or any(_holds(some, path) for path in others)


def _holds(paths: Set[bytes], path: bytes) -> bool:
    while path not in paths:
        above = os.path.dirname(path)
        if above == path:
            return False
        path = above
    return True
