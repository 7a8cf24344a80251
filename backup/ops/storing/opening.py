"""Opening a directory for a walk: beside it the parent's tree of it, and the names of it that go in."""

import os
from collections.abc import Callable

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.ops.storing.choosing import Chooser
from backup.ops.storing.frame import Frame, Waiting
from backup.ops.storing.listing import Listing, list_directory
from backup.ops.storing.locked import Locks
from backup.ops.storing.mounted import require_mounted
from backup.ops.storing.parent import ParentDirectory, open_parent
from backup.ops.storing.rows import Volumes
from backup.ops.storing.sources import Choice
from backup.snapshots.tree import Buffer
from backup.source.attributes import xattrs_of
from backup.source.mounts import mount_point


class Opener:
    """Opens the directories of one walk. `damaged` is told of trees of the parent's that are."""

    def __init__(
        self,
        sources: list[bytes],
        read_tree: Callable[[ObjectId], Buffer],
        chooser: Chooser,
        volumes: Volumes,
        locks: Locks,
        damaged: Callable[[bytes, Damaged], None],
        *,
        accept_unmounted: bool,
    ) -> None:
        self._sources = frozenset(sources)
        self._read_tree = read_tree
        self._chooser = chooser
        self._volumes = volumes
        self._locks = locks
        self._damaged = damaged
        self._accept_unmounted = accept_unmounted

    def parent(self, tree: ObjectId | None, path: bytes, *, root: bool = False) -> ParentDirectory | None:
        """None where the parent has no such tree, or a damaged one."""
        return open_parent(tree, self._read_tree, lambda error: self._damaged(path, error), root=root)

    def enter(
        self,
        fd: int,
        path: bytes,
        at: Waiting,
        up: Frame | None,
        above: ParentDirectory | None,
        choice: Choice | None,
    ) -> tuple[Frame, Listing]:
        """The directory `fd`, found `at` a place in the one `up`. Raises OSError."""
        status = os.fstat(fd)
        subtree = above.subtree(at.position) if above is not None and at.position >= 0 else None
        parent = self.parent(subtree, path)
        point = mount_point(path, status) if up is None else path
        volume = self._volumes.number(status.st_dev, point)
        here = None if up is None else up.here
        if here is None and path not in self._sources:
            listing = self._locks.apply(path, list_directory(fd, choice), parent)
        else:
            whole = list_directory(fd, None)
            here, listing = self._chooser.enter(fd, path, status.st_dev, here, whole, parent)
            if choice is not None:
                listing = listing.only(choice)
            if parent is not None and above is not None and not self._accept_unmounted:
                own = self._volumes.own_number(path)
                require_mounted(own, above.volume(at.position), volume, up is None, whole, parent)
            listing = self._locks.apply(path, listing, parent)
        frame = Frame(
            at.name,
            path,
            status,
            volume,
            at.slot,
            up,
            above,
            at.position,
            parent,
            choice,
            xattrs_of(fd),
            here,
        )
        return frame, listing
