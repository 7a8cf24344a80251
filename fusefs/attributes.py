"""From a view's attributes to what the kernel is sent."""

import pyfuse3

from fusefs.view import Attributes, View

#: Seconds; "for ever" to the kernel, and well inside what its clock can add up.
_LONGEST = 1e9


def timeout_of(view: View, ino: int) -> float:
    """Seconds for which the kernel may keep what it was told of `ino`: 0 to 1e9."""
    return min(max(view.timeout(ino), 0.0), _LONGEST)


def fill(entry: pyfuse3.EntryAttributes, attributes: Attributes) -> None:
    """Writes all but the timeouts into `entry`. There is no access time: it is the modification's."""
    ino, mode, nlink, uid, gid, rdev, size, blocks, mtime_ns, ctime_ns = attributes
    entry.st_ino = ino
    entry.st_mode = mode
    entry.st_nlink = nlink
    entry.st_uid = uid
    entry.st_gid = gid
    entry.st_rdev = rdev
    entry.st_size = size
    entry.st_blocks = blocks
    entry.st_atime_ns = mtime_ns
    entry.st_mtime_ns = mtime_ns
    entry.st_ctime_ns = ctime_ns


def entry_in(view: View, parent: int, attributes: Attributes) -> pyfuse3.EntryAttributes:
    """The answer to a lookup in `parent`: the name is kept as long as `parent` says."""
    entry = pyfuse3.EntryAttributes()
    fill(entry, attributes)
    entry.entry_timeout = timeout_of(view, parent)
    entry.attr_timeout = timeout_of(view, attributes.ino)
    return entry


def absent(view: View, parent: int) -> pyfuse3.EntryAttributes:
    """The answer to a lookup of a name that is not there: unlike ENOENT, the kernel keeps it."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = pyfuse3.InodeT(0)
    entry.entry_timeout = timeout_of(view, parent)
    return entry
