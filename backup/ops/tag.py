"""Labelling: a snapshot's tags and description change, its id does not."""

from typing import NamedTuple

from backup.model.errors import NotFound
from backup.model.ids import SHORT_ID, SnapshotId
from backup.repository import Repository
from backup.repository.leases import take_writer_lease
from backup.repository.writer import storing
from backup.snapshots.manifest import Labels, Snapshot, decode_manifest, manifest_key, relabel_manifest


class LabelChange(NamedTuple):
    """`set` takes the place of all tags, `description` of the description; None: stays as it is."""

    add: tuple[str, ...] = ()
    remove: frozenset[str] = frozenset()
    set: tuple[str, ...] | None = None
    description: str | None = None


def changed(labels: Labels, change: LabelChange) -> Labels:
    """The labels after the change: each tag once, in the order in which they were given."""
    tags = labels.tags if change.set is None else change.set
    kept = [tag for tag in dict.fromkeys([*tags, *change.add]) if tag not in change.remove]
    return Labels(kept, labels.description if change.description is None else change.description)


def tag(repository: Repository, snapshot_id: SnapshotId, change: LabelChange) -> Snapshot:
    """Gives the snapshot as it is afterwards. Nothing is written where nothing changes.

    The new manifest takes the place of the old one as a whole. Raises `NotFound` where the snapshot
    was forgotten meanwhile, `Damaged`, `CannotStore`.
    """
    snapshot = _read(repository, snapshot_id)[0]
    # Both a writer's and a reader's: one that is forgotten meanwhile comes back with its labels, whole.
    with storing():
        lease = take_writer_lease(repository.storage, "tag", [snapshot])
    with lease:
        return _tag(repository, snapshot_id, change)


def _tag(repository: Repository, snapshot_id: SnapshotId, change: LabelChange) -> Snapshot:
    snapshot, data = _read(repository, snapshot_id)
    labels = changed(snapshot.labels, change)
    if labels != snapshot.labels:
        with storing():
            repository.storage.put(manifest_key(snapshot_id), relabel_manifest(data, labels, repository.name))
    return Snapshot(snapshot_id, snapshot.body, labels)


def _read(repository: Repository, snapshot_id: SnapshotId) -> tuple[Snapshot, bytes]:
    try:
        data = repository.storage.read(manifest_key(snapshot_id))
    except FileNotFoundError:
        raise NotFound(f"snapshot {snapshot_id[:SHORT_ID]} was forgotten meanwhile") from None
    return decode_manifest(data, snapshot_id, repository.name), data
