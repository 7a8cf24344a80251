"""Whether what was mounted is mounted still: where it is not, nothing was deleted."""

import errno

from backup.ops.storing.listing import Listing
from backup.ops.storing.parent import ParentDirectory
from backup.ops.storing.rows import number_of


class NotMounted(OSError):
    """A directory is empty because its file system is not there."""


def require_mounted(
    path: bytes, before: int, now: int, top: bool, listing: Listing, parent: ParentDirectory
) -> None:
    """Raises `NotMounted` for a mount point of the parent's that is none now, and has no name that it had.

    `before` and `now` are the directory's volumes, each numbered after its mount point; the top may lie
    below its own.
    """
    if before == now or not (top or before == number_of(path)):
        return
    names = parent.names()
    if names and not set(names) & set(listing.names):
        raise NotMounted(errno.ENODEV, "what was mounted here is not mounted now")
