"""Looking at the live tree as a backup would, and storing nothing: for status, diff and approval."""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from backup.model.ids import ObjectId
from backup.ops.backup import BackupOptions, open_walk
from backup.ops.storing.dry_writer import TreeKeeper
from backup.ops.storing.glance import Glance
from backup.ops.storing.intake import Intake
from backup.ops.storing.monitor import Counts, Monitor
from backup.ops.storing.readers import Readers
from backup.ops.storing.sources import Sources
from backup.ops.storing.walk import Reading
from backup.repository import Repository
from backup.snapshots.difference import Spot
from backup.snapshots.directory import Directory
from backup.snapshots.manifest import Snapshot
from backup.snapshots.tree import Buffer


class Scan(NamedTuple):
    """The live tree as a snapshot would have it; `trees` gives its trees and those of the repository."""

    root: ObjectId
    trees: TreeKeeper
    counts: Counts

    @property
    def spot(self) -> Spot:
        return Directory(self.root, self.read, root=True).at(0)

    @property
    def read(self) -> Callable[[ObjectId], Buffer]:
        return self.trees.tree


def scan(
    repository: Repository,
    sources: Sources,
    parent: Snapshot | None,
    options: BackupOptions,
    monitor: Monitor,
    *,
    read_files: bool = False,
    clock: Callable[[], int] = time.time_ns,
) -> Scan:
    """Compares the live tree with the parent's trees: those of unchanged directories are taken over.

    With `read_files`, what looks different is read, to know its content. Raises as `backup` does.
    """
    keeper = TreeKeeper(repository)
    reading: Callable[[Intake], Reading] = partial(Glance, settings=repository.config)
    if read_files:
        reading = partial(Readers, settings=repository.config, workers=0)
    walk = open_walk(repository, keeper, sources, parent, options, clock(), monitor, reading)
    try:
        root = walk.run(sources, None if parent is None else parent.root)
    finally:
        walk.close()
    return Scan(root, keeper, walk.counts)
