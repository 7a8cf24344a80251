"""What changed in the source since a snapshot, found as a backup finds it, and not stored."""

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from backup.model.errors import NotFound
from backup.ops.backup import BackupOptions, find_sources
from backup.ops.diff import Line, diff
from backup.ops.guarding.alarms import Alarm, find_alarms
from backup.ops.scan import scan
from backup.ops.storing.monitor import Monitor
from backup.ops.storing.sources import absolute, narrow
from backup.repository import Repository
from backup.snapshots.difference import Read, Spot
from backup.snapshots.directory import Directory
from backup.snapshots.manifest import Snapshot
from backup.snapshots.paths import find_spot, relative_parts, source_path


class Status(NamedTuple):
    """`errors`: how many names could not be read; they count as unchanged. `alarms`: what the options say is
    immutable, and changed.
    """

    lines: list[Line]
    errors: int
    alarms: Sequence[Alarm] = ()


def status(
    repository: Repository,
    snapshot: Snapshot,
    path: bytes,
    options: BackupOptions,
    monitor: Monitor,
    *,
    read_files: bool = False,
    backwards: bool = False,
) -> Status:
    """What leads from the snapshot to the live tree, at `path` (as `SNAPSHOT:PATH` takes it) and below.

    Files that look different are not read, unless by `read_files`. `backwards`: from the live tree to the
    snapshot. Raises `NotFound` where neither has the path, and as `backup` does.
    """
    parts = relative_parts(snapshot, path)
    name = b"/".join(parts)
    before = find_spot(snapshot.root, parts, repository.tree)
    here = source_path(snapshot, parts)
    sources = find_sources(repository, snapshot.paths, options, monitor)
    if before is None and not os.path.lexists(here):
        raise NotFound(f"there is no {os.fsdecode(here)}, neither now nor in snapshot {snapshot.id[:12]}")
    if parts and not os.path.lexists(here):
        lines = _diff(before, None, repository.tree, name, backwards)
        top = Directory(snapshot.root, repository.tree, root=True).at(0)
        return Status(lines, 0, _alarms(lines, options, snapshot, top, repository.tree))
    found = scan(repository, narrow(sources, here), snapshot, options, monitor, read_files=read_files)
    after = find_spot(found.root, parts, found.read)
    lines = _diff(before, after, found.read, name, backwards)
    return Status(lines, found.counts.errors, _alarms(lines, options, snapshot, found.spot, found.read))


def _diff(before: Spot | None, after: Spot | None, read: Read, path: bytes, backwards: bool) -> list[Line]:
    return diff(after, before, read, path) if backwards else diff(before, after, read, path)


def _alarms(
    lines: list[Line], options: BackupOptions, snapshot: Snapshot, after: Spot, read: Read
) -> list[Alarm]:
    if not options.immutable:
        return []
    before = Directory(snapshot.root, read, root=True).at(0)
    return find_alarms(lines, options.immutable, snapshot.top, before, after, read)


def find_source(
    snapshots: Sequence[Snapshot], host: str, paths: Iterable[bytes]
) -> tuple[Snapshot, list[bytes]]:
    """The snapshot that the paths are to be compared with: the last one that this host made of them, or
    of directories that hold them. And the paths in it: one empty path for all of it.

    Without paths: the host's last one. `snapshots` are oldest first. Raises `NotFound`.
    """
    own = sorted(
        (snapshot for snapshot in snapshots if snapshot.body.host == host),
        key=lambda snapshot: snapshot.body.started_ns,
    )
    wanted = sorted({absolute(path) for path in paths})
    for snapshot in reversed(own):
        if not wanted or set(snapshot.paths) == set(wanted):
            return snapshot, [b""]
    for snapshot in reversed(own):
        if all(any(_holds(path, here) for path in snapshot.paths) for here in wanted):
            return snapshot, wanted
    named = " ".join(map(os.fsdecode, wanted)) or "anything"
    raise NotFound(f"{host} has no snapshot of {named} yet: `imbfs backup PATH` makes the first")


def _holds(outer: bytes, path: bytes) -> bool:
    return path == outer or path.startswith(outer.rstrip(b"/") + b"/")
