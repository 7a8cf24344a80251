"""Taking a plain copy in: as the snapshot that would have been made when the copy was."""

import os
import stat
import time
from functools import partial

from backup.model.errors import ImbfsError
from backup.model.ids import ObjectId
from backup.ops.backup import (
    BackupOptions,
    BackupResult,
    conclude,
    find_sources,
    open_walk,
)
from backup.ops.parents import find_same
from backup.ops.storing.monitor import Monitor
from backup.ops.storing.readers import Readers
from backup.ops.storing.sources import Sources
from backup.ops.storing.walk import Walk
from backup.repository import Repository, Writer
from backup.snapshots.manifest import Snapshot


def take_in(
    repository: Repository,
    directory: bytes,
    shown_as: bytes | None,
    options: BackupOptions,
    monitor: Monitor,
) -> BackupResult:
    """Stores a directory as a snapshot with the options' time, as if its walk had begun then.

    `shown_as`: the absolute path that it is a copy of; None for its own. So it has its place among the
    snapshots of that path, and newer ones stay the newest. Raises as `backup` does.
    """
    if not stat.S_ISDIR(os.stat(directory).st_mode):
        raise ImbfsError(f"{os.fsdecode(directory)} is not a directory: name the one that holds the copy")
    started = int(options.time.timestamp() * 1_000_000) * 1000
    late = time.time_ns() - started
    writer = Writer(repository)
    try:
        # The slash: where it is a symlink, what that leads to.
        sources = find_sources(repository, [directory + b"/"], options, monitor)
        named = sources if shown_as is None else sources._replace(top=shown_as, paths=[shown_as])
        parent = older(find_same(repository, named, options.host), started)
        reading = partial(Readers, settings=repository.config, workers=options.workers or 0)
        walk = open_walk(repository, writer, named, parent, options, started, monitor, reading)
        root = _run(walk, writer, sources, parent)
        return conclude(
            repository,
            writer,
            named,
            options,
            parent,
            root,
            started,
            walk.counts,
            lambda: time.time_ns() - late,
        )
    finally:
        writer.close()


def older(parent: Snapshot | None, started: int) -> Snapshot | None:
    """The parent of a snapshot that is to be that old: none where it is newer."""
    return parent if parent is not None and parent.body.started_ns <= started else None


def _run(
    walk: Walk,
    writer: Writer,
    sources: Sources,
    parent: Snapshot | None,
) -> ObjectId:
    try:
        root = walk.run(sources, None if parent is None else parent.root)
        writer.finish()
    except BaseException:
        writer.discard()
        raise
    finally:
        walk.close()
    return root
