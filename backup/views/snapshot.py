"""One snapshot, or a directory of one, as a read-only file system.

An inode's number is that of its directory, given when the directory is first entered, with the
position in that directory's tree: only directories that were visited cost memory. The names of one
hard-linked file share the number of the one met first.
"""

import errno
import stat
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from backup.model.entry import Entry, Extent
from backup.model.ids import NO_OBJECT, ObjectId
from backup.model.inode import Attributes, Statistics
from backup.objects.reader import ObjectReader
from backup.snapshots.directory import Directory, decode_entry
from backup.snapshots.extents import decode_content
from backup.snapshots.tree import NS, STAT, Buffer, Page, extra_fields
from backup.views.content import FileContent

ROOT = 1
#: Numbers below are the root's and nobody's.
_FIRST = 2
_POSITION_BITS = 32
_POSITION_MASK = (1 << _POSITION_BITS) - 1

#: What the kernel may take as for ever: a snapshot never changes.
FOREVER = 365 * 24 * 3600.0
#: Entries of directories kept at hand, at some 200 bytes each.
CACHE_ENTRIES = 200_000

BLOCK = 4096
SECTOR = 512
#: A shorter target lies in the inode itself, on most file systems.
INLINE_TARGET = 60


class Trees(Protocol):
    """What a view needs of a repository."""

    @property
    def reader(self) -> ObjectReader: ...

    def tree(self, tree_id: ObjectId) -> Buffer: ...


class _Visited(NamedTuple):
    """A directory that was entered: its entry's inode, its tree, its name, the directory above."""

    ino: int
    tree: ObjectId
    name: bytes
    above: int


class SnapshotView:
    """Called from one thread; what `open` gives may be read from others."""

    def __init__(self, trees: Trees, root: Entry, statistics: Statistics, without_xattrs: bool) -> None:
        """`root` is the directory to show; its name is not shown."""
        if root.tree is None:
            raise NotADirectoryError(errno.ENOTDIR, "not a directory")
        self._trees = trees
        self._root = root
        self._statistics = statistics
        self.without_xattrs = without_xattrs
        self._visited = [_Visited(ROOT, root.tree, b"", 0)]
        self._numbers = {ROOT: 0}
        self._links: dict[tuple[int, bytes], int] = {}
        self._directories = _DirectoryCache()

    def timeout(self, ino: int) -> float:
        return FOREVER

    def statistics(self) -> Statistics:
        return self._statistics

    # Inodes

    def attributes(self, ino: int) -> Attributes:
        if ino == ROOT:
            return _of_entry(ROOT, self._root)
        page, position = self._locate(ino)
        return self._attributes(ino, page, position)

    def lookup(self, parent: int, name: bytes) -> Attributes:
        number = self._enter(parent)
        if name == b".":
            return self.attributes(parent)
        if name == b"..":
            return self.attributes(self._visited[self._visited[number].above].ino)
        directory = self._directory(number)
        position = directory.find(name)
        if position < 0:
            raise FileNotFoundError(errno.ENOENT, "no such name", name)
        page, local = directory.at(position)
        return self._attributes(self._ino(number, position, page, local), page, local)

    def entries(self, ino: int, start: int) -> Iterator[tuple[bytes, Attributes, int]]:
        number = self._enter(ino)
        directory = self._directory(number)
        position = start
        while position < len(directory):
            page, local = directory.at(position)
            for here in range(local, len(page)):
                own = self._ino(number, position, page, here)
                position += 1
                yield page.names[here], self._attributes(own, page, here), position

    def target(self, ino: int) -> bytes:
        entry = self._entry(ino)
        if not stat.S_ISLNK(entry.mode):
            raise OSError(errno.EINVAL, "not a symbolic link")
        return entry.target

    def xattrs(self, ino: int) -> dict[bytes, bytes]:
        return dict(self._entry(ino).xattrs)

    def open(self, ino: int) -> FileContent:
        page, position = self._locate(ino)
        record, ref = STAT.unpack(page.stat(position)), page.ref(position)
        if not stat.S_ISREG(record[0]):
            raise OSError(errno.EINVAL, "not a regular file")
        fields = dict(extra_fields(page.extra(position)))
        extents = decode_content(record[4], ref[0], fields, self._trees.tree)
        return FileContent(self._trees.reader, extents, self.path(ino))

    def path(self, ino: int) -> bytes:
        """The path from the view's root, for messages."""
        if ino == ROOT:
            return b"."
        number, position = _split(ino)
        page, local = self._directory(number).at(position)
        parts = [page.names[local]]
        while number:
            parts.append(self._visited[number].name)
            number = self._visited[number].above
        return b"/".join(reversed(parts))

    def _entry(self, ino: int) -> Entry:
        if ino == ROOT:
            return self._root
        page, position = self._locate(ino)
        return decode_entry(page, position, self._trees.tree)

    def _locate(self, ino: int) -> tuple[Page, int]:
        number, position = _split(ino)
        try:
            return self._directory(number).at(position)
        except IndexError:
            raise OSError(errno.ESTALE, "no such inode") from None

    def _enter(self, ino: int) -> int:
        """The number of a directory; it gets one when it is first entered."""
        number = self._numbers.get(ino)
        if number is not None:
            return number
        page, position = self._locate(ino)
        if not stat.S_ISDIR(STAT.unpack(page.stat(position))[0]):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory")
        number = len(self._visited)
        above = _split(ino)[0]
        self._visited.append(_Visited(ino, page.ref(position)[0], page.names[position], above))
        self._numbers[ino] = number
        return number

    def _directory(self, number: int) -> Directory:
        directory = self._directories.get(number)
        if directory is None:
            if number >= len(self._visited):
                raise OSError(errno.ESTALE, "no such inode")
            directory = Directory(self._visited[number].tree, self._read_tree)
            self._directories.put(number, directory)
        return directory

    def _read_tree(self, tree: ObjectId) -> Buffer:
        return self._trees.tree(tree)

    def _ino(self, number: int, position: int, page: Page, local: int) -> int:
        ino = (number << _POSITION_BITS | position) + _FIRST
        record = page.stat(local)
        if _nlink(record) < 2 or _is_directory(record):
            return ino
        return self._links.setdefault((page.ref(local)[3], bytes(record)), ino)

    def _attributes(self, ino: int, page: Page, position: int) -> Attributes:
        mode, uid, gid, nlink, size, m_s, c_s, m_ns, c_ns, _, rdev = STAT.unpack(page.stat(position))
        blocks = self._blocks(mode, size, page, position)
        return Attributes(ino, mode, nlink, uid, gid, rdev, size, blocks, m_s * NS + m_ns, c_s * NS + c_ns)

    def _blocks(self, mode: int, size: int, page: Page, position: int) -> int:
        if size and stat.S_ISREG(mode):
            object_id = page.ref(position)[0]
            if object_id == NO_OBJECT:
                fields = dict(extra_fields(page.extra(position)))
                return allocated(decode_content(size, object_id, fields, self._trees.tree))
        return _plain_blocks(mode, size)


def _split(ino: int) -> tuple[int, int]:
    """Number of the directory, and position in it."""
    if ino < _FIRST:
        return 0, 0
    return (ino - _FIRST) >> _POSITION_BITS, (ino - _FIRST) & _POSITION_MASK


def _is_directory(record: Buffer) -> bool:
    return (record[1] & 0xF0) == 0x40


def _nlink(record: Buffer) -> int:
    return int.from_bytes(record[12:16], "little")


def _of_entry(ino: int, entry: Entry) -> Attributes:
    return Attributes(
        ino,
        entry.mode,
        entry.nlink,
        entry.uid,
        entry.gid,
        entry.rdev,
        entry.size,
        _plain_blocks(entry.mode, entry.size),
        entry.mtime_ns,
        entry.ctime_ns,
    )


def _plain_blocks(mode: int, size: int) -> int:
    """As most file systems allocate: whole blocks, and short symlink targets in the inode."""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or (stat.S_ISLNK(mode) and size >= INLINE_TARGET):
        return -(-size // BLOCK) * (BLOCK // SECTOR)
    return 0


def allocated(extents: tuple[Extent, ...]) -> int:
    """Units of 512 bytes that the data of a file takes, its holes left out."""
    blocks = 0
    start = covered = 0
    for extent in extents:
        if extent.chunk is not None:
            first = max(start // BLOCK, covered)
            covered = -(-extent.end // BLOCK)
            blocks += covered - first
        start = extent.end
    return blocks * (BLOCK // SECTOR)


class _DirectoryCache:
    """The directories used last, bounded by the number of their entries."""

    def __init__(self, room: int = CACHE_ENTRIES) -> None:
        self._room = room
        self._kept: OrderedDict[int, Directory] = OrderedDict()

    def get(self, number: int) -> Directory | None:
        directory = self._kept.get(number)
        if directory is not None:
            self._kept.move_to_end(number)
        return directory

    def put(self, number: int, directory: Directory) -> None:
        self._kept[number] = directory
        self._room -= directory.kept_entries
        while self._room < 0 and len(self._kept) > 1:
            self._room += self._kept.popitem(last=False)[1].kept_entries
