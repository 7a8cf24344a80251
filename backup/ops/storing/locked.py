"""Paths that are locked: not looked at, and kept as the last backup has them."""

import errno
import os
from collections.abc import Iterable

from backup.ops.storing.listing import Listing
from backup.ops.storing.parent import ParentDirectory


class Locked(OSError):
    """A path that is not to be looked at."""

    def __init__(self) -> None:
        super().__init__(errno.EBUSY, "locked")


class Locks:
    def __init__(self, paths: Iterable[bytes]) -> None:
        """Absolute paths; all below them is locked, too."""
        self._paths = frozenset(paths)
        self._names: dict[bytes, set[bytes]] = {}
        for path in self._paths:
            directory, name = os.path.split(path)
            self._names.setdefault(directory, set()).add(name)

    def cover(self, path: bytes) -> bool:
        """Whether the path itself, or one above it, is locked."""
        while path not in self._paths:
            above = os.path.dirname(path)
            if above == path:
                return False
            path = above
        return True

    def apply(self, directory: bytes, listing: Listing, parent: ParentDirectory | None) -> Listing:
        """A directory's names; those that are locked are not looked at, nor missed where they are gone."""
        names = self._names.get(directory)
        if names is None:
            return listing
        known = {name for name in names if parent is not None and parent.find(name) >= 0}
        return listing.closed(names.intersection(listing.names) | known, Locked())
