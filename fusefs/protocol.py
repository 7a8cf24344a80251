"""The kernel's side of FUSE: the structs, opcodes and flags that the driver uses.

All of it is from <linux/fuse.h>, whose names these are; numbers are in the machine's own byte order.
"""

from enum import IntEnum
from struct import Struct

#: What precedes each request: len, opcode, unique, nodeid; not used: uid, gid, pid, extensions.
IN_HEADER = Struct("=IIQQ16x")
#: What precedes each reply: len, error, unique.
OUT_HEADER = Struct("=IiQ")

#: What precedes bytes that were not asked for: the same with `error` NOTIFY_STORE; nodeid, offset, size.
STORE_HEADER = Struct("=IiQQQI4x")
NOTIFY_STORE = 4

#: The protocol's version that is spoken here: 7.38 is Linux 6.1's. Older and newer kernels adapt.
MAJOR, MINOR = 7, 38

#: Bytes of file content in one request at the most, as the kernel limits it for ordinary users.
MAX_CONTENT = 1 << 20
#: The kernel refuses to be read with a smaller buffer: that much content, and room for headers.
REQUEST_SIZE = MAX_CONTENT + 4096

# What requests hold after their header. Left out: what the driver does not use.

#: max_readahead, flags
INIT_IN = Struct("=8xII")
#: flags
OPEN_IN = Struct("=I4x")
#: fh, offset, size (READ, READDIR and READDIRPLUS)
READ_IN = Struct("=QQI20x")
#: fh (RELEASEDIR)
RELEASE_IN = Struct("=Q16x")
#: size; a name follows for GETXATTR
GETXATTR_IN = Struct("=I4x")
#: offset, whence
LSEEK_IN = Struct("=8xQI4x")

# What replies hold after their header.

#: struct fuse_attr: ino, size, blocks; seconds of atime, mtime, ctime; their nanoseconds; mode,
#: nlink, uid, gid, rdev, blksize, flags. Seconds are signed to the kernel, whatever the header says.
_ATTR = "QQQqqqIIIIIIIIII"
#: nodeid, generation, entry_valid, attr_valid, entry_valid_nsec, attr_valid_nsec, attr
_ENTRY = "QQQQII" + _ATTR
#: ino, off, namelen, type; the name follows
_DIRENT = "QQII"

#: major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran,
#: max_pages
INIT_OUT = Struct("=IIIIHHIIH34x")
ENTRY_OUT = Struct("=" + _ENTRY)
#: attr_valid, attr_valid_nsec, attr
ATTR_OUT = Struct("=QI4x" + _ATTR)
#: fh, open_flags
OPEN_OUT = Struct("=QI4x")
#: blocks, bfree, bavail, files, ffree, bsize, namelen, frsize
STATFS_OUT = Struct("=QQQQQIII28x")
#: size
GETXATTR_OUT = Struct("=I4x")
#: offset
LSEEK_OUT = Struct("=Q")


def _aligned(size: int) -> int:
    return -(-size // 8) * 8


LONGEST_NAME = 255
#: An entry of READDIR, and of READDIRPLUS, by the length of its name: the name is padded to 8 bytes.
DIRENT = [Struct(f"={_DIRENT}{_aligned(size)}s") for size in range(LONGEST_NAME + 1)]
DIRENTPLUS = [Struct(f"={_ENTRY}{_DIRENT}{_aligned(size)}s") for size in range(LONGEST_NAME + 1)]

# INIT's flags
ASYNC_READ = 1 << 0
EXPORT_SUPPORT = 1 << 4
AUTO_INVAL_DATA = 1 << 12
DO_READDIRPLUS = 1 << 13
ASYNC_DIO = 1 << 15
PARALLEL_DIROPS = 1 << 18
POSIX_ACL = 1 << 20
MAX_PAGES = 1 << 22

# OPENDIR's flags
FOPEN_KEEP_CACHE = 1 << 1
FOPEN_CACHE_DIR = 1 << 3


class Opcode(IntEnum):
    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    CREATE = 35
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    TMPFILE = 51


#: Requests that would change something.
WRITING = frozenset(
    {
        Opcode.SETATTR, Opcode.SYMLINK, Opcode.MKNOD, Opcode.MKDIR, Opcode.UNLINK, Opcode.RMDIR,
        Opcode.RENAME, Opcode.LINK, Opcode.WRITE, Opcode.SETXATTR, Opcode.REMOVEXATTR, Opcode.CREATE,
        Opcode.FALLOCATE, Opcode.RENAME2, Opcode.TMPFILE,
    }
)  # fmt: skip
