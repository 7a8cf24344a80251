"""From snapshots to the view that shows them."""

import stat
from collections.abc import Callable, Iterable

from backup.model.errors import NotFound
from backup.model.inode import Statistics
from backup.repository import Repository
from backup.snapshots.catalogue import time_of
from backup.snapshots.difference import Spot
from backup.snapshots.manifest import Snapshot
from backup.snapshots.paths import find_entry, find_spot
from backup.views.folder import MadeDirectory
from backup.views.increment import increment_folder
from backup.views.inodes import InodeView
from backup.views.repository import Shown, repository_node
from backup.views.snapshot import Directories, Options, Scope, SnapshotNode


def open_snapshot(
    repository: Repository, snapshot: Snapshot, path: bytes = b"", options: Options | None = None
) -> InodeView:
    """The view of a snapshot from `path` down; a file's directory where the path names a file.

    Raises `NotFound` or `Damaged`.
    """
    scope = Scope(Directories(repository), snapshot.id, options or Options())
    page, position = directory_spot(repository, snapshot, path)
    counted = snapshot.body.statistics
    statistics = Statistics(counted.bytes, counted.files + counted.dirs)
    return InodeView(SnapshotNode(scope, page, position), statistics)


def open_increment(
    repository: Repository, before: Snapshot | None, after: Snapshot, options: Options | None = None
) -> InodeView:
    """The view of what `after` changed against `before`; all of it where there is no `before`."""
    directories, options = Directories(repository), options or Options()
    time_ns = int(time_of(after).timestamp() * 1e9)
    folder = increment_folder(
        Scope(directories, after.id if before is None else before.id, options),
        Scope(directories, after.id, options),
        None if before is None else directory_spot(repository, before, b""),
        directory_spot(repository, after, b""),
        time_ns,
    )
    counted = after.body.statistics
    statistics = Statistics(counted.bytes, counted.files + counted.dirs)
    return InodeView(MadeDirectory(lambda: folder, time_ns), statistics)


def open_repository(
    repository: Repository,
    layout: str = "",
    options: Options | None = None,
    chosen: Callable[[Snapshot], bool] = lambda _: True,
    hold: Callable[[Iterable[Snapshot]], None] = lambda _: None,
) -> InodeView:
    """The view of all chosen snapshots. `layout` is "" or "shadow" (for Samba's shadow_copy2).

    `hold` is told of snapshots before what they hold is shown.
    """
    shown = Shown(repository, options or Options(), chosen, hold=hold)
    return InodeView(repository_node(shown, layout), Statistics(0, 0))


def directory_spot(repository: Repository, snapshot: Snapshot, path: bytes) -> Spot:
    """Where the entry of the directory at `path` is, or of the directory that holds the file there."""
    entry, parts = find_entry(snapshot, path, repository.tree)
    if entry.tree is None:
        if not stat.S_ISREG(entry.mode):
            raise NotFound(
                f"{path.decode(errors='backslashreplace')} is a {entry.kind_noun}: name a directory"
            )
        parts = parts[:-1]
    spot = find_spot(snapshot.root, parts, repository.tree)
    assert spot is not None, "an entry was found there"
    return spot
