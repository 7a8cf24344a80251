"""From a view's attributes to what the kernel is sent."""

from fusefs.protocol import ATTR_OUT, ENTRY_OUT
from fusefs.view import Attributes, View

NS = 1_000_000_000

#: Seconds; "for ever" to the kernel, and well inside what its clock can add up.
_LONGEST = 1e9

BLOCK = 4096
#: The kernel's form of a device number is the lower half of the C library's.
RDEV = 0xFFFFFFFF


def timeout_of(view: View, ino: int) -> tuple[int, int]:
    """Seconds and nanoseconds for which the kernel may keep what it was told of `ino`."""
    seconds = min(max(view.timeout(ino), 0.0), _LONGEST)
    return int(seconds), int(seconds % 1 * NS)


def attr_out(view: View, attributes: Attributes) -> bytes:
    """The reply to GETATTR. There is no access time: it is the modification's."""
    ino, mode, nlink, uid, gid, rdev, size, blocks, mtime_ns, ctime_ns = attributes
    valid, valid_ns = timeout_of(view, ino)
    m_s, m_ns = divmod(mtime_ns, NS)
    c_s, c_ns = divmod(ctime_ns, NS)
    return ATTR_OUT.pack(
        valid, valid_ns, ino, size, blocks, m_s, m_s, c_s, m_ns, m_ns, c_ns,
        mode, nlink, uid, gid, rdev & RDEV, BLOCK, 0,
    )  # fmt: skip


def entry_out(view: View, parent: int, attributes: Attributes) -> bytes:
    """The reply to a LOOKUP in `parent`: the name is kept as long as `parent` says."""
    ino, mode, nlink, uid, gid, rdev, size, blocks, mtime_ns, ctime_ns = attributes
    valid, valid_ns = timeout_of(view, parent)
    attr_valid, attr_valid_ns = timeout_of(view, ino)
    m_s, m_ns = divmod(mtime_ns, NS)
    c_s, c_ns = divmod(ctime_ns, NS)
    return ENTRY_OUT.pack(
        ino, 0, valid, attr_valid, valid_ns, attr_valid_ns,
        ino, size, blocks, m_s, m_s, c_s, m_ns, m_ns, c_ns,
        mode, nlink, uid, gid, rdev & RDEV, BLOCK, 0,
    )  # fmt: skip


def absent(view: View, parent: int) -> bytes:
    """The reply to a LOOKUP of a name that is not there: unlike ENOENT, the kernel keeps it."""
    valid, valid_ns = timeout_of(view, parent)
    return ENTRY_OUT.pack(0, 0, valid, 0, valid_ns, *(17 * (0,)))
