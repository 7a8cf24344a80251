"""What is immutable stays in a new snapshot as the parent has it."""

import os
from typing import NamedTuple

from backup.model.errors import Damaged, UsageError
from backup.model.ids import ObjectId
from backup.ops.diff import diff
from backup.ops.guarding.alarms import Alarm, Immutable, find_alarms
from backup.ops.storing.monitor import Monitor
from backup.ops.storing.sources import Sources
from backup.snapshots.difference import Read
from backup.snapshots.grafted import graft
from backup.snapshots.manifest import Snapshot
from backup.snapshots.paths import find_spot, relative_parts
from backup.snapshots.tree_writer import Store


class Kept(NamedTuple):
    """The root that a snapshot is to have. `compared`: not where the parent's trees are damaged."""

    root: ObjectId
    alarms: list[Alarm]
    compared: bool = True


def keep_immutable(
    immutable: Immutable,
    parent: Snapshot | None,
    root: ObjectId,
    sources: Sources,
    monitor: Monitor,
    read: Read,
    store: Store,
) -> Kept:
    """Puts back into the tree that a walk has made what was changed against the rules. Costs what changed."""
    if parent is None or not immutable:
        return Kept(root, [])
    try:
        before, after = (find_spot(each, [], read) for each in (parent.root, root))
        assert before is not None
        assert after is not None
        alarms = find_alarms(diff(before, after, read), immutable, sources.top, before, after, read)
        if not alarms:
            return Kept(root, [])
        return Kept(graft(root, parent.root, [alarm.path for alarm in alarms], read, store), alarms)
    except Damaged as error:
        monitor.problem(
            sources.top, f"what is immutable there was taken as it is: the last backup is damaged ({error})"
        )
        return Kept(root, [], compared=False)


def check_places(
    immutable: Immutable, parent: Snapshot | None, sources: Sources, monitor: Monitor, read: Read
) -> None:
    """Tells of paths that are not there. Raises `UsageError` for those outside of what is backed up."""
    for path in immutable.named:
        if not any(_inside(path, source) or _inside(source, path) for source in sources.paths):
            raise UsageError(
                f"{os.fsdecode(path)}, which is to be immutable, is in nothing that is backed up"
            )
        if not os.path.lexists(path) and (parent is None or not _had(parent, path, read)):
            monitor.notice(f"{os.fsdecode(path)} is to be immutable, and nothing is there")


def _had(parent: Snapshot, path: bytes, read: Read) -> bool:
    if not _inside(path, parent.top):
        return True
    try:
        return find_spot(parent.root, relative_parts(parent, path), read) is not None
    except Damaged:
        return True


def _inside(path: bytes, other: bytes) -> bool:
    return path == other or path.startswith(other.rstrip(b"/") + b"/")
