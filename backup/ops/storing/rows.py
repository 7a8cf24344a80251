"""From a name in the live tree to a row of its directory's tree."""

import errno
import os
import stat

from backup.model.ids import NO_OBJECT
from backup.snapshots.tree import Row, encode_extra, encode_stat
from backup.source.attributes import read_target, read_xattrs

#: Bytes of attributes of one entry.
MAX_EXTRA = 32 << 20


class Volumes:
    """Numbers for the file systems of a walk: the same from run to run, unlike `st_dev`.

    A file system is numbered after its mount point: the path at which the walk first met it. What lies below
    `top` is numbered as seen from there, so that its numbers stay where all of it moves.
    """

    def __init__(self) -> None:
        self.top: bytes | None = None
        self._numbers: dict[int, int] = {}
        self._taken: set[int] = set()

    def number(self, device: int, path: bytes) -> int:
        number = self._numbers.get(device)
        if number is None:
            number = self.own_number(path)
            while number in self._taken:
                number = (number + 1) & 0xFFFFFFFF
            self._taken.add(number)
            self._numbers[device] = number
        return number

    def own_number(self, path: bytes) -> int:
        """The number of a file system whose mount point is this path."""
        if self.top is not None and path != self.top:
            above = self.top.rstrip(b"/") + b"/"
            path = path.removeprefix(above)
        return number_of(path)


def number_of(path: bytes) -> int:
    """The number of a file system that is mounted at a path: FNV-1a, 32 bits."""
    number = 0x811C9DC5
    for byte in path:
        number = ((number ^ byte) * 0x01000193) & 0xFFFFFFFF
    return number


def bounded(extra: bytes) -> bytes:
    """Raises OSError for more than a page of a tree can hold."""
    if len(extra) > MAX_EXTRA:
        raise OSError(errno.E2BIG, f"has {len(extra)} bytes of extended attributes: more than can be kept")
    return extra


def special_row(dir_fd: int, name: bytes, status: os.stat_result, volume: int) -> Row:
    """The row of what is neither a directory nor a regular file. Raises OSError."""
    target = read_target(dir_fd, name) if stat.S_ISLNK(status.st_mode) else b""
    extra = bounded(encode_extra(target, read_xattrs(dir_fd, name)))
    return Row(name, encode_stat(status), NO_OBJECT, extra, volume, 0)
