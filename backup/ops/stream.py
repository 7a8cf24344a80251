"""Backing up what comes out of a pipe: a snapshot of one file."""

import os
import stat
import time
from collections.abc import Callable

from backup.model.errors import Stopped, UsageError
from backup.model.ids import ObjectId
from backup.ops.backup import BackupOptions, BackupResult, conclude
from backup.ops.parents import find_same
from backup.ops.storing.dry_writer import DryWriter
from backup.ops.storing.monitor import Counts, Monitor
from backup.ops.storing.pace import Pace, PacedMonitor
from backup.ops.storing.rows import number_of
from backup.ops.storing.sources import Sources
from backup.ops.storing.stream import StoredStream, StreamStore
from backup.repository import Repository, Writer
from backup.snapshots.tree import NS, ROOT_NAME, STAT, Row
from backup.snapshots.tree_writer import write_tree
from backup.source.attributes import OwnerNames


def backup_stream(
    repository: Repository,
    fd: int,
    name: bytes,
    options: BackupOptions,
    monitor: Monitor,
    ended: Callable[[], None] = lambda: None,
    clock: Callable[[], int] = time.time_ns,
) -> BackupResult:
    """Stores what `fd` gives, to its end, as the file `name` in the directory `/` of a snapshot.

    `ended` is called then, and may raise: there is no snapshot. Memory is bounded however much comes.
    Raises `UsageError` for a name that no file has; else as `backup` does.
    """
    if name in (b"", b".", b"..") or b"/" in name or len(name) > 255:
        raise UsageError(f"--stdin-name {os.fsdecode(name)}: give the name of a file, without a directory")
    writer = DryWriter(repository) if options.dry_run else Writer(repository)
    try:
        return _backup(repository, writer, fd, name, options, monitor, ended, clock)
    finally:
        writer.close()


def _backup(
    repository: Repository,
    writer: Writer | DryWriter,
    fd: int,
    name: bytes,
    options: BackupOptions,
    monitor: Monitor,
    ended: Callable[[], None],
    clock: Callable[[], int],
) -> BackupResult:
    started = clock()
    if options.limit_rate is not None:
        monitor = PacedMonitor(monitor, Pace(options.limit_rate))
    sources = Sources(b"/", [b"/" + name], None, [], [], [])
    parent = find_same(repository, sources, options.host)
    counts = Counts()
    try:
        stream = StreamStore(repository, writer, counts, monitor)
        try:
            stored = stream.store(lambda room: os.readv(fd, [room]))
            ended()
            root = _root(_row(stored, name, started), started, writer.store_tree)
        except Stopped:
            writer.finish()
            raise
        writer.finish()
    except BaseException:
        writer.discard()
        raise
    counts.files, counts.dirs, counts.bytes = 1, 1, counts.bytes_read
    counts.files_new, counts.files_changed = (1, 0) if parent is None else (0, 1)
    return conclude(repository, writer, sources, options, parent, root, started, counts, clock)


def _row(stored: StoredStream, name: bytes, started_ns: int) -> Row:
    record = _record(stat.S_IFREG | 0o600, stored.size, started_ns)
    return Row(name, record, stored.object, stored.extra, number_of(b"/"), 0)


def _root(row: Row, started_ns: int, store_tree: Callable[[bytes], ObjectId]) -> ObjectId:
    """The tree of a snapshot's root: a directory with this row alone."""
    names = OwnerNames()
    tree = write_tree([row], store_tree, names.user, names.group)
    top = Row(ROOT_NAME, _record(stat.S_IFDIR | 0o700, 0, started_ns), tree, b"", row.volume, 0)
    return write_tree([top], store_tree, names.user, names.group)


def _record(mode: int, size: int, time_ns: int) -> bytes:
    """A stat record of our own, made now."""
    seconds, rest = divmod(time_ns, NS)
    return STAT.pack(mode, os.geteuid(), os.getegid(), 1, size, seconds, seconds, rest, rest, 0, 0)
