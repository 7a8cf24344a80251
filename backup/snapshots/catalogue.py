"""The snapshots of a repository, read from its manifests; and finding the one that is meant."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from backup.model.errors import Damaged, NotFound
from backup.model.ids import SHORT_ID, SnapshotId
from backup.model.selector import Selector
from backup.objects.hashing import NameOf
from backup.snapshots.manifest import PREFIX, Snapshot, decode_manifest, manifest_key
from backup.storage import Storage

_ID = re.compile(r"[0-9a-f]{64}")


class Filter:
    """Narrows a choice of snapshots; None and empty mean any. `tags`: any of them."""

    def __init__(
        self, host: str | None = None, paths: Iterable[bytes] = (), tags: Iterable[str] = ()
    ) -> None:
        self.host = host
        self.paths = frozenset(paths)
        self.tags = frozenset(tags)

    def __call__(self, snapshot: Snapshot) -> bool:
        return (
            (self.host is None or snapshot.body.host == self.host)
            and (not self.paths or not self.paths.isdisjoint(snapshot.paths))
            and (not self.tags or not self.tags.isdisjoint(snapshot.labels.tags))
        )


class Catalogue:
    """Reads manifests from the storage each time: they are the truth about what exists."""

    def __init__(self, storage: Storage, name: NameOf) -> None:
        self._storage = storage
        self._name = name
        #: Manifests never change but in their labels: those read are kept, with their size.
        self._known: dict[SnapshotId, tuple[bytes, Snapshot]] = {}

    def ids(self) -> list[SnapshotId]:
        """What is not named as a snapshot is was not written by imbfs, and is left alone."""
        names = (key.removeprefix(PREFIX + "/") for key, _ in self._storage.list(PREFIX))
        return [SnapshotId(name) for name in names if _ID.fullmatch(name)]

    def read(self, snapshot: SnapshotId) -> Snapshot:
        """Raises `Damaged`, or FileNotFoundError."""
        data = self._storage.read(manifest_key(snapshot))
        known = self._known.get(snapshot)
        if known is None or known[0] != data:
            known = data, decode_manifest(data, snapshot, self._name)
            self._known[snapshot] = known
        return known[1]

    def snapshots(
        self, chosen: Callable[[Snapshot], bool] = lambda _: True, *, problem: Callable[[str], None]
    ) -> list[Snapshot]:
        """Oldest first. A damaged manifest is told to `problem` and left out."""
        found = []
        for snapshot_id in self.ids():
            try:
                snapshot = self.read(snapshot_id)
            except FileNotFoundError:
                continue
            except Damaged as error:
                problem(str(error))
                continue
            if chosen(snapshot):
                found.append(snapshot)
        return sorted(found, key=lambda snapshot: (time_of(snapshot), snapshot.id))


def time_of(snapshot: Snapshot) -> datetime:
    return datetime.fromisoformat(snapshot.body.time)


def previous(snapshot: Snapshot, snapshots: Sequence[Snapshot]) -> Snapshot | None:
    """The parent; where that is gone, the one before of the same host and paths; None if there is none.

    `snapshots` are oldest first.
    """
    for other in snapshots:
        if other.id == snapshot.body.parent:
            return other
    if snapshot.body.parent is None:
        return None
    older = [
        other
        for other in snapshots
        if other.body.started_ns < snapshot.body.started_ns
        and other.body.host == snapshot.body.host
        and other.body.paths == snapshot.body.paths
    ]
    return max(older, key=lambda other: other.body.started_ns, default=None)


def select(selector: Selector, snapshots: Sequence[Snapshot]) -> Snapshot:
    """The snapshot meant; `snapshots` are oldest first. Raises `NotFound` with the candidates."""
    if selector.newest is not None:
        if selector.newest < len(snapshots):
            return snapshots[-1 - selector.newest]
        raise NotFound(f"there is no {selector.text}: {_count(snapshots)}")
    if selector.before is not None:
        older = [snapshot for snapshot in snapshots if time_of(snapshot) <= selector.before]
        if older:
            return older[-1]
        raise NotFound(f"no snapshot is as old as {selector.text}: {_candidates(snapshots)}")
    if selector.tag is not None:
        tagged = [snapshot for snapshot in snapshots if selector.tag in snapshot.labels.tags]
        if tagged:
            return tagged[-1]
        raise NotFound(f"no snapshot has the tag {selector.tag!r}: {_candidates(snapshots)}")
    return _select_by_id(selector.text, snapshots)


def _select_by_id(prefix: str, snapshots: Sequence[Snapshot]) -> Snapshot:
    fitting = [snapshot for snapshot in snapshots if prefix and snapshot.id.startswith(prefix)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise NotFound(f"more than one snapshot begins with {prefix!r}: {_candidates(fitting)}")
    raise NotFound(
        f"there is no snapshot {prefix!r} (give latest, latest~2, an id, @2026-11-01 or tag:NAME):"
        f" {_candidates(snapshots)}"
    )


def _count(snapshots: Sequence[Snapshot]) -> str:
    if not snapshots:
        return "there are no snapshots; `imbfs backup PATH` makes one"
    return f"there are only {len(snapshots)}: {_candidates(snapshots)}"


def _candidates(snapshots: Sequence[Snapshot], most: int = 5) -> str:
    if not snapshots:
        return "there are no snapshots; `imbfs backup PATH` makes one"
    shown = [f"{snapshot.id[:SHORT_ID]} ({snapshot.body.time[:19]})" for snapshot in snapshots[-most:]]
    more = f" and {len(snapshots) - most} older" if len(snapshots) > most else ""
    return "there are " + ", ".join(reversed(shown)) + more
