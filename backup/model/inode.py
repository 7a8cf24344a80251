"""What a file system tells of an inode and of itself."""

from typing import NamedTuple


class Attributes(NamedTuple):
    """What stat(2) tells of an inode. `blocks` is in units of 512 bytes, times in ns."""

    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blocks: int
    mtime_ns: int
    ctime_ns: int


class Statistics(NamedTuple):
    """For statfs(2): bytes in use (plain bytes of what is shown) and number of inodes."""

    bytes_used: int
    inodes: int
