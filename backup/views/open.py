"""From a snapshot to the view that shows it."""

import stat

from backup.model.entry import Entry
from backup.model.errors import NotFound
from backup.model.inode import Statistics
from backup.repository import Repository
from backup.snapshots.manifest import Snapshot
from backup.snapshots.paths import find_entry
from backup.views.snapshot import SnapshotView


def open_snapshot(repository: Repository, snapshot: Snapshot, path: bytes = b"") -> SnapshotView:
    """The view of a snapshot from `path` down; a file's directory where the path names a file.

    Raises `NotFound` or `Damaged`.
    """
    counted = snapshot.body.statistics
    return SnapshotView(
        repository,
        _directory_at(repository, snapshot, path),
        Statistics(counted.bytes, counted.files + counted.dirs),
        without_xattrs=False,
    )


def _directory_at(repository: Repository, snapshot: Snapshot, path: bytes) -> Entry:
    entry, parts = find_entry(snapshot, path, repository.tree)
    if entry.tree is not None:
        return entry
    if not stat.S_ISREG(entry.mode):
        raise NotFound(f"{path.decode(errors='backslashreplace')} is a {entry.kind}: name a directory")
    return find_entry(snapshot, b"/".join(parts[:-1]), repository.tree)[0]
