"""Whether what was mounted is mounted still: where it is not, nothing was deleted."""

import errno

from backup.ops.storing.listing import Listing
from backup.ops.storing.parent import ParentDirectory


class NotMounted(OSError):
    """A directory is empty because its file system is not there."""


def require_mounted(
    own: int, before: int, now: int, top: bool, listing: Listing, parent: ParentDirectory
) -> None:
    """Raises `NotMounted` for a mount point of the parent's that is none now, and has no name that it had.

    `before` and `now` are the directory's volumes, each numbered after its mount point; `own` is that of a
    file system mounted on the directory itself. The top may lie below its mount point.
    """
    if before == now or not (top or before == own):
        return
    names = parent.names()
    if names and not set(names) & set(listing.names):
        raise NotMounted(errno.ENODEV, "what was mounted here is not mounted now")
