"""From a name in the live tree to a row of its directory's tree."""

import errno
import os
import stat
from typing import Protocol

from backup.model.entry import FLAG_CHANGING
from backup.model.ids import NO_OBJECT, ObjectId
from backup.objects.chunker import Chunker
from backup.objects.hashing import Hasher
from backup.ops.storing.files import store_file
from backup.ops.storing.monitor import Counts, Monitor
from backup.snapshots.extents import encode_content
from backup.snapshots.tree import Row, encode_extra, encode_stat
from backup.source.attributes import read_target, read_xattrs
from backup.source.descent import Identity, identity

#: Bytes of attributes of one entry.
MAX_EXTRA = 32 << 20


class Writer(Protocol):
    """What a backup needs of the repository to store objects in it."""

    def new_hasher(self) -> Hasher: ...

    def store(self, data: bytes | memoryview) -> ObjectId: ...

    def store_tree(self, data: bytes) -> ObjectId: ...

    def has(self, object_id: ObjectId) -> bool: ...


class Volumes:
    """Numbers for the file systems of a walk: the same from run to run, unlike `st_dev`.

    A file system is numbered after the path at which the walk first met it.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._taken: set[int] = set()

    def number(self, device: int, path: bytes) -> int:
        number = self._numbers.get(device)
        if number is None:
            number = _fold(path)
            while number in self._taken:
                number = (number + 1) & 0xFFFFFFFF
            self._taken.add(number)
            self._numbers[device] = number
        return number


def _fold(path: bytes) -> int:
    """FNV-1a, 32 bits."""
    number = 0x811C9DC5
    for byte in path:
        number = ((number ^ byte) * 0x01000193) & 0xFFFFFFFF
    return number


def bounded(extra: bytes) -> bytes:
    """Raises OSError for more than a page of a tree can hold."""
    if len(extra) > MAX_EXTRA:
        raise OSError(errno.E2BIG, f"has {len(extra)} bytes of extended attributes: more than can be kept")
    return extra


class RowMaker:
    """Makes the rows of everything but directories; stores what files hold."""

    def __init__(
        self, writer: Writer, chunker: Chunker, volumes: Volumes, counts: Counts, monitor: Monitor
    ) -> None:
        self._writer = writer
        self._chunker = chunker
        self._volumes = volumes
        self._counts = counts
        self._monitor = monitor
        #: Hard links: each file is read once, and all of its names get the same row.
        self._links: dict[Identity, Row] = {}

    def make(self, dir_fd: int, path: bytes, name: bytes, status: os.stat_result) -> Row:
        """Raises OSError where the name cannot be read; FileNotFoundError where it is gone."""
        linked = status.st_nlink > 1
        if linked and (row := self._links.get(identity(status))) is not None:
            return row._replace(name=name)
        volume = self._volumes.number(status.st_dev, path)
        if stat.S_ISREG(status.st_mode):
            row = self._file(dir_fd, path, name, status, volume)
        else:
            target = read_target(dir_fd, name) if stat.S_ISLNK(status.st_mode) else b""
            extra = bounded(encode_extra(target, read_xattrs(dir_fd, name)))
            row = Row(name, encode_stat(status), NO_OBJECT, extra, volume, 0)
        if linked:
            self._links[identity(status)] = row
        return row

    def _file(self, dir_fd: int, path: bytes, name: bytes, status: os.stat_result, volume: int) -> Row:
        content = store_file(dir_fd, name, identity(status), self._writer, self._chunker, self._read)
        if content.flags & FLAG_CHANGING:
            self._monitor.notice(f"{os.fsdecode(path)} changed while it was read: stored as it was met")
        object_id, extents = encode_content(content.extents, self._writer.store_tree)
        extra = bounded(encode_extra(b"", content.xattrs, extents, content.hash))
        record = encode_stat(content.status, content.size)
        return Row(name, record, object_id, extra, volume, content.flags)

    def _read(self, size: int) -> None:
        self._counts.bytes_read += size
        self._monitor.read(size)
