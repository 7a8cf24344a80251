"""Putting a snapshot's tree back into a directory: content, links, holes and all metadata."""

import os
import stat
import time
from collections.abc import Callable

from backup.model.entry import Entry
from backup.model.errors import ImbfsError
from backup.ops.restoring.contract import (
    Overwrite,
    Predicate,
    Reader,
    RestoreMonitor,
    RestoreOptions,
    RestoreSummary,
)
from backup.ops.restoring.crew import Crew
from backup.ops.restoring.filling import Filling
from backup.ops.restoring.items import restore_item
from backup.ops.restoring.job import ITEM_ERRORS, Job, Owners, describe
from backup.ops.restoring.links import Links
from backup.ops.restoring.names import Place, check_name
from backup.ops.restoring.removal import remove_leftovers
from backup.ops.restoring.walk import Walk
from backup.source.descent import Descent

__all__ = [
    "Overwrite",
    "Predicate",
    "Reader",
    "RestoreMonitor",
    "RestoreOptions",
    "RestoreSummary",
    "restore",
]


def restore(
    reader: Reader,
    root: Entry,
    target: bytes,
    options: RestoreOptions,
    monitor: RestoreMonitor,
    clock: Callable[[], float] = time.monotonic,
    crew: Crew | None = None,
) -> RestoreSummary:
    """Puts `root` into the directory `target`, which is made when it is not there.

    A directory's content goes into `target` and its metadata onto it; anything else goes to target/NAME. One
    item's error goes to the monitor and is counted, and the rest goes on. `clock` gives seconds. With
    `crew`, of the repository that `reader` reads, plain files that are not there yet are written by it.
    Raises ImbfsError when `target` is not a directory, or nothing more can be written; a KeyboardInterrupt
    goes through. In all cases no half-written file and no temporary one stays.
    """
    started = clock()
    job = Job(reader, options, monitor, Links(), Owners(options.numeric_owner))
    fd, fresh = _open_target(target, options.dry_run, private=stat.S_ISDIR(root.mode))
    try:
        if fd is None:
            _run(job, None, root, fresh, None)
        else:
            with Descent(fd) as descent:
                _run(job, descent, root, fresh, crew)
    except OSError as error:
        # Items report their own errors: this is the walk itself that cannot go on.
        raise ImbfsError(f"restoring into {os.fsdecode(target)} stopped: {describe(error)}") from error
    job.summary.seconds = clock() - started
    return job.summary


def _run(job: Job, descent: Descent | None, root: Entry, fresh: bool, crew: Crew | None) -> None:
    if stat.S_ISDIR(root.mode):
        filling = None if crew is None or job.options.dry_run else Filling(job, crew)
        Walk(job, descent, root, fresh, filling).run()
        return
    fd = descent.fd if descent else None
    if fd is not None and not job.options.dry_run:
        remove_leftovers(fd)
    try:
        check_name(root.name, b"")
        restore_item(job, fd, Place(fd, root.name, root.name, fresh), root)
    except ITEM_ERRORS as error:
        job.failed(root.name, error)
    job.item_done(root.name)


def _open_target(target: bytes, dry_run: bool, private: bool) -> tuple[int | None, bool]:
    """The target's descriptor, and whether it was made now. A symlink is followed here, and here only."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    shown = os.fsdecode(target)
    try:
        try:
            return os.open(target, flags), False
        except FileNotFoundError:
            if dry_run:
                return None, False
        os.makedirs(target)
        fd = os.open(target, flags)
        if private:  # until it has its own mode, nobody else looks in
            os.fchmod(fd, 0o700)
        return fd, True
    except (NotADirectoryError, FileExistsError) as error:
        raise ImbfsError(f"cannot restore into {shown}: it is not a directory") from error
    except (OSError, ValueError) as error:
        raise ImbfsError(f"cannot restore into {shown}: {describe(error)}") from error
