"""One snapshot, or a directory of one."""

import errno
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol

from backup.model.entry import Extent
from backup.model.errors import Damaged
from backup.model.ids import NO_OBJECT, ObjectId, SnapshotId
from backup.model.inode import Attributes
from backup.objects.ahead import Background
from backup.objects.hashing import NameOf
from backup.objects.reader import ObjectReader
from backup.snapshots.directory import Directory, decode_entry
from backup.snapshots.extents import decode_content
from backup.snapshots.tree import EXTRA_XATTRS, NS, REF, STAT, Buffer, Page, decode_xattrs, extra_fields
from backup.views.content import ChunkContent, Describe, FileContent
from backup.views.folder import BLOCK, FOREVER, SECTOR, Folder, Value, not_a_directory

#: Entries of directories kept at hand, at some 200 bytes each.
CACHE_ENTRIES = 200_000
#: A shorter target lies in the inode itself, on most file systems.
INLINE_TARGET = 60

#: Answered by name; listed only where that is asked for.
XATTR_PREFIX = b"user.imbfs."


class Trees(Protocol):
    """What a view needs of a repository."""

    @property
    def reader(self) -> ObjectReader: ...

    @property
    def name(self) -> NameOf: ...

    def tree(self, tree_id: ObjectId) -> Buffer: ...


class Directories:
    """The directories used last, of all snapshots that a mount shows."""

    def __init__(self, trees: Trees, room: int = CACHE_ENTRIES) -> None:
        self.trees = trees
        self.reader = trees.reader
        self.reader.read_ahead(Background())
        self._room = room
        self._kept: OrderedDict[ObjectId, Directory] = OrderedDict()

    def get(self, tree: ObjectId) -> Directory:
        directory = self._kept.get(tree)
        if directory is not None:
            self._kept.move_to_end(tree)
            return directory
        directory = self._kept[tree] = Directory(tree, self.trees.tree)
        self._room -= directory.kept_entries
        while self._room < 0 and len(self._kept) > 1:
            self._room += self._kept.popitem(last=False)[1].kept_entries
        return directory


class Scope:
    """One snapshot as shown at one place: what its folders share.

    The names of one hard-linked file share the inode of the name met first.
    """

    __slots__ = ("_links", "directories", "enter", "options", "snapshot")

    def __init__(
        self,
        directories: Directories,
        snapshot: SnapshotId,
        options: "Options",
        enter: Callable[[], None] = lambda: None,
    ) -> None:
        """`enter` is called whenever a directory is entered; it may raise OSError."""
        self.enter = enter
        self.directories = directories
        self.snapshot = snapshot
        self.options = options
        self._links: dict[tuple[int, bytes], int] = {}

    @property
    def read(self) -> Callable[[ObjectId], Buffer]:
        return self.directories.trees.tree

    def shared_inode(self, page: Page, position: int, own: int) -> int:
        """`own`, or the number of another name of the same hard-linked file that was met before."""
        record = page.stat(position)
        if int.from_bytes(record[12:16], "little") < 2 or (record[1] & 0xF0) == 0x40:
            return own
        return self._links.setdefault((page.ref(position)[3], bytes(record)), own)


class Options:
    """`allow_damaged`: zeros in place of what is damaged. `list_xattrs`: `user.imbfs.*` are listed."""

    def __init__(self, allow_damaged: bool = False, list_xattrs: bool = False) -> None:
        self.allow_damaged = allow_damaged
        self.list_xattrs = list_xattrs


class SnapshotNode:
    """One entry of a page."""

    __slots__ = ("_page", "_position", "_scope")

    def __init__(self, scope: Scope, page: Page, position: int) -> None:
        self._scope = scope
        self._page = page
        self._position = position

    def attributes(self, ino: int) -> Attributes:
        return attributes_of(self._page, self._position, ino, self._read)

    def _read(self, tree: ObjectId) -> Buffer:
        return self._scope.read(tree)

    @property
    def _mode(self) -> int:
        return int.from_bytes(self._page.stat(self._position)[:4], "little")

    def target(self) -> bytes:
        if not stat.S_ISLNK(self._mode):
            raise OSError(errno.EINVAL, "not a symbolic link")
        return decode_entry(self._page, self._position, self._read).target

    def xattr_names(self) -> list[bytes]:
        names = [name for name, _ in self._xattrs()]
        if self._scope.options.list_xattrs:
            virtual = (XATTR_PREFIX + name for name in _VIRTUAL)
            names += [name for name in virtual if self.xattr(name) is not None]
        return names

    def xattr(self, name: bytes) -> Value:
        if name.startswith(XATTR_PREFIX):
            make = _VIRTUAL.get(name.removeprefix(XATTR_PREFIX))
            if make is not None:
                return make(self)
        return dict(self._xattrs()).get(name)

    def _xattrs(self) -> tuple[tuple[bytes, bytes], ...]:
        fields = dict(extra_fields(self._page.extra(self._position)))
        return decode_xattrs(fields[EXTRA_XATTRS]) if EXTRA_XATTRS in fields else ()

    def open(self, describe: Describe) -> FileContent | ChunkContent:
        record = self._page.record(self._position)
        if record[0] & 0o170000 != stat.S_IFREG:
            raise OSError(errno.EINVAL, "not a regular file")
        scope = self._scope
        reader, allow_damaged = scope.directories.reader, scope.options.allow_damaged
        chunk = self._page.ref(self._position)[0]
        if chunk != NO_OBJECT:
            return ChunkContent(reader, chunk, record[4], describe, allow_damaged)
        return FileContent(reader, self._extents(), describe, allow_damaged)

    def _extents(self) -> tuple[Extent, ...]:
        size = STAT.unpack(self._page.stat(self._position))[4]
        fields = dict(extra_fields(self._page.extra(self._position)))
        return decode_content(size, self._page.ref(self._position)[0], fields, self._read)

    def enter(self) -> Folder:
        if not stat.S_ISDIR(self._mode):
            not_a_directory()
        self._scope.enter()
        return SnapshotFolder(self._scope, self._page.ref(self._position)[0])

    # Virtual attributes

    def hash_text(self) -> bytes | None:
        """The hash of a file's bytes, or of a directory's tree, in hex; None for all else."""
        entry = decode_entry(self._page, self._position, self._read)
        name = entry.tree or entry.hash
        if entry.kind == "file" and not entry.size:
            name = self._scope.directories.trees.name(b"")
        return None if name is None else name.hex().encode()

    def id_text(self) -> bytes:
        """The same wherever all that the snapshot keeps of this entry is the same."""
        row = self._page.row(self._position)
        return self._scope.directories.trees.name(row.stat + row.object + row.extra).hex().encode()

    def snapshot_text(self) -> bytes:
        return self._scope.snapshot.encode()

    def damaged(self) -> Value:
        return self._damaged_text

    def _damaged_text(self) -> bytes:
        """Whether any of the content cannot be read: all of it is read to tell."""
        try:
            if stat.S_ISREG(self._mode):
                for extent in self._extents():
                    if extent.chunk is not None:
                        self._scope.directories.reader.read(extent.chunk)
            elif stat.S_ISDIR(self._mode):
                Directory(self._page.ref(self._position)[0], self._read)
        except Damaged:
            return b"1"
        return b"0"


_VIRTUAL: dict[bytes, Callable[[SnapshotNode], Value]] = {
    b"hash": SnapshotNode.hash_text,
    b"id": SnapshotNode.id_text,
    b"snapshot": SnapshotNode.snapshot_text,
    b"damaged": SnapshotNode.damaged,
}


class SnapshotFolder:
    """A directory of a snapshot, read in place."""

    __slots__ = ("_scope", "_tree")

    timeout = FOREVER

    def __init__(self, scope: Scope, tree: ObjectId) -> None:
        self._scope = scope
        self._tree = tree

    def _directory(self) -> Directory:
        return self._scope.directories.get(self._tree)

    def find(self, name: bytes) -> int:
        return self._directory().find(name)

    def node(self, position: int) -> SnapshotNode:
        page, local = self._directory().at(position)
        return SnapshotNode(self._scope, page, local)

    def name(self, position: int) -> bytes:
        page, local = self._directory().at(position)
        return page.names[local]

    def inode(self, position: int, own: int) -> int:
        page, local = self._directory().at(position)
        return self._scope.shared_inode(page, local, own)

    def entries(self, first: int, start: int) -> Iterator[tuple[bytes, Attributes, int]]:
        directory = self._directory()
        position = start
        while position < len(directory):
            page, local = directory.at(position)
            position -= local
            yield from self._entries_of(page, local, position, first)
            position += len(page)

    def _entries_of(
        self, page: Page, start: int, before: int, first: int
    ) -> Iterator[tuple[bytes, Attributes, int]]:
        """Of one page, from its position `start` on; `before`: entries in earlier pages.

        Listing a large tree is mostly this loop, so a file of one chunk takes a short way through it.
        """
        make, regular, none = tuple.__new__, stat.S_IFREG, NO_OBJECT
        records = STAT.iter_unpack(page.stats[start * STAT.size :])
        refs = REF.iter_unpack(page.refs[start * REF.size :])
        columns = zip(page.names[start:], records, refs, strict=True)
        for here, (name, record, ref) in enumerate(columns, start):
            mode, uid, gid, nlink, size, m_s, c_s, m_ns, c_ns, _, rdev = record
            ino = first + before + here
            if nlink > 1:
                ino = self._scope.shared_inode(page, here, ino)
            if mode & 0o170000 == regular and ref[0] != none:
                blocks = -(-size // BLOCK) * (BLOCK // SECTOR)
                mtime, ctime = m_s * NS + m_ns, c_s * NS + c_ns
                attributes = make(Attributes, (ino, mode, nlink, uid, gid, rdev, size, blocks, mtime, ctime))
            else:
                attributes = attributes_from(record, page, here, ino, self._scope.read)
            yield name, attributes, before + here + 1


def attributes_of(page: Page, position: int, ino: int, read: Callable[[ObjectId], Buffer]) -> Attributes:
    """The attributes of one entry."""
    return attributes_from(STAT.unpack(page.stat(position)), page, position, ino, read)


def attributes_from(
    record: tuple[int, ...], page: Page, position: int, ino: int, read: Callable[[ObjectId], Buffer]
) -> Attributes:
    """The attributes of one entry, straight from its stat record."""
    mode, uid, gid, nlink, size, m_s, c_s, m_ns, c_ns, _, rdev = record
    kind = mode & 0o170000
    if kind == stat.S_IFREG:
        if size and page.ref(position)[0] == NO_OBJECT:
            blocks = _allocated_at(page, position, size, read)
        else:
            blocks = -(-size // BLOCK) * (BLOCK // SECTOR)
    elif kind == stat.S_IFDIR or (kind == stat.S_IFLNK and size >= INLINE_TARGET):
        blocks = -(-size // BLOCK) * (BLOCK // SECTOR)
    else:
        blocks = 0
    return Attributes(ino, mode, nlink, uid, gid, rdev, size, blocks, m_s * NS + m_ns, c_s * NS + c_ns)


def _allocated_at(page: Page, position: int, size: int, read: Callable[[ObjectId], Buffer]) -> int:
    """As `allocated`; where the list of its chunks is damaged, as if the file had no holes."""
    fields = dict(extra_fields(page.extra(position)))
    try:
        return allocated(decode_content(size, NO_OBJECT, fields, read))
    except Damaged:
        return -(-size // BLOCK) * (BLOCK // SECTOR)


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
