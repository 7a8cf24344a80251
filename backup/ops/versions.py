"""The distinct versions of one path over many snapshots."""

import os
from collections.abc import Callable, Sequence

from backup.model.errors import Damaged, NotFound
from backup.ops.diff import diff
from backup.ops.find import Version, source_of
from backup.ops.finding.union import identity_at
from backup.repository import Repository
from backup.snapshots.difference import Spot
from backup.snapshots.directory import decode_entry
from backup.snapshots.manifest import Snapshot
from backup.snapshots.names import named
from backup.snapshots.paths import find_spot


def versions(
    repository: Repository,
    snapshots: Sequence[Snapshot],
    paths: Sequence[bytes],
    *,
    follow: bool,
    problem: Callable[[bytes, str], None],
) -> list[Version]:
    """The versions of the first of the paths that any snapshot has, oldest first, as `snapshots` are.

    A path is absolute, as at the source, or relative to a snapshot's root. `follow`: also under the names
    that it had before. What cannot be read is told to `problem`. Raises `NotFound`.
    """
    for path in paths:
        search = _Search(repository, snapshots, follow, problem)
        search.run(path)
        if search.found:
            return list(search.found.values())
    raise NotFound(f"no snapshot has {os.fsdecode(paths[0])}: `imbfs find` looks for a name in all of them")


class _Search:
    def __init__(
        self,
        repository: Repository,
        snapshots: Sequence[Snapshot],
        follow: bool,
        problem: Callable[[bytes, str], None],
    ) -> None:
        self._repository = repository
        self._snapshots = snapshots
        self._follow = follow
        self._problem = problem
        self.found: dict[tuple[object, ...], Version] = {}

    def run(self, path: bytes) -> None:
        """Newest first, so that a file is followed back through its renames; each source by itself."""
        here: dict[object, tuple[Snapshot, bytes, bytes]] = {}
        versions: dict[tuple[object, ...], tuple[bytes, bytes, Spot, list[Snapshot]]] = {}
        for snapshot in reversed(self._snapshots):
            newer, top, wanted = here.get(source_of(snapshot), (None, snapshot.top, path))
            if newer is not None and _corresponds(snapshot, newer):
                inner: bytes | None = wanted[len(newer.top) :].strip(b"/")
            else:
                top, inner = snapshot.top, _inner(snapshot, wanted)
            spot = None if inner is None else self._spot(snapshot, inner)
            if spot is None and self._follow and newer is not None and inner is not None:
                inner = self._origin(snapshot, newer, inner)
                spot = None if inner is None else self._spot(snapshot, inner)
            if spot is None or inner is None:
                continue
            here[source_of(snapshot)] = snapshot, top, os.path.join(snapshot.top, inner)
            key = (os.path.join(top, inner), *identity_at(spot))
            versions.setdefault(key, (top, inner, spot, []))[3].append(snapshot)
        for key, (top, inner, spot, having) in reversed(versions.items()):
            entry = decode_entry(*spot, None)
            self.found[key] = Version(top, inner, entry, tuple(reversed(having)))

    def _spot(self, snapshot: Snapshot, path: bytes) -> Spot | None:
        try:
            return find_spot(
                snapshot.root, [part for part in path.split(b"/") if part], self._repository.tree
            )
        except Damaged as error:
            self._problem(os.path.join(snapshot.top, path), f"in snapshot {snapshot.id[:12]}: {error}")
            return None

    def _origin(self, older: Snapshot, newer: Snapshot, path: bytes) -> bytes | None:
        """What the path was called in the older snapshot, where it was renamed since."""
        read = self._repository.tree
        try:
            lines = diff(find_spot(older.root, [], read), find_spot(newer.root, [], read), read)
        except Damaged:
            return None
        for line in lines:
            if line.origin is not None and (path == line.path or path.startswith(line.path + b"/")):
                return line.origin + path[len(line.path) :]
        return None


def _corresponds(snapshot: Snapshot, newer: Snapshot) -> bool:
    """Whether the roots of two snapshots of one source show one directory, which may have moved meanwhile."""
    return named(snapshot.top, snapshot.names) == named(newer.top, newer.names)


def _inner(snapshot: Snapshot, path: bytes) -> bytes | None:
    """The path relative to the snapshot's root; None where that lies elsewhere."""
    if not path.startswith(b"/"):
        return path
    top = snapshot.top.rstrip(b"/") + b"/"
    return path[len(top) :] if path.startswith(top) else None
