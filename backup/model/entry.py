"""One name of a snapshot's tree, decoded: for listings, restore and diff.

The mount does not use this class on its hot paths: it reads a tree's records in place.
"""

import stat
from typing import Literal, NamedTuple

from backup.model.ids import ObjectId

Kind = Literal["file", "dir", "symlink", "fifo", "socket", "block", "char"]

KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "block",
    stat.S_IFCHR: "char",
}

#: How messages name a kind, where its own word is short for one.
KIND_NOUNS = {"dir": "directory", "fifo": "FIFO", "block": "block device", "char": "character device"}

#: The entry could not be read this time; what is here comes from the parent, or is metadata alone.
FLAG_CARRIED = 1
#: The file changed while it was read, and changed again when it was read once more.
FLAG_CHANGING = 2
#: The content was never read: metadata alone.
FLAG_NO_CONTENT = 4


class Extent(NamedTuple):
    """A run of a file: `end` is its end offset in bytes; `chunk` is None where it is a hole."""

    end: int
    chunk: ObjectId | None


class Entry(NamedTuple):
    """All that a snapshot keeps of one name. Times are in ns since 1970 and may be negative."""

    name: bytes
    mode: int
    uid: int
    gid: int
    nlink: int
    size: int
    mtime_ns: int
    ctime_ns: int
    ino: int
    rdev: int
    #: Names the file system that the entry was on; with `ino` it tells hard links.
    volume: int
    flags: int
    user: str
    group: str
    #: A directory's tree.
    tree: ObjectId | None
    #: A symlink's target.
    target: bytes
    #: Sorted by name.
    xattrs: tuple[tuple[bytes, bytes], ...]
    #: A file's runs in order; they cover `size` bytes.
    extents: tuple[Extent, ...]
    #: The hash of all of a file's bytes; None where it was not taken (files with holes), and for all else.
    hash: ObjectId | None = None

    @property
    def kind(self) -> Kind:
        return KINDS[stat.S_IFMT(self.mode)]

    @property
    def kind_noun(self) -> str:
        """The kind as a message for people names it."""
        return KIND_NOUNS.get(self.kind, self.kind)

    @property
    def link_group(self) -> tuple[int, int] | None:
        """The same for all names of one hard-linked file; None for a single name."""
        if self.nlink < 2 or stat.S_ISDIR(self.mode):
            return None
        return self.volume, self.ino
