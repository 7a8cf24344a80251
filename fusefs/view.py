"""What the driver needs of a file system to show it. The engine's views fulfil it.

All methods are synchronous and quick, except `Content.read`, which may decode a large chunk.
A view is called from the driver's one loop; `Content.read` may be called from several
worker threads at once.

Errors: `FileNotFoundError`, `NotADirectoryError` and other `OSError`s with an errno reach the
caller as that errno; any other exception becomes EIO and a line in the log.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from backup.model.inode import Attributes, Statistics

__all__ = ["ROOT", "Attributes", "Content", "Statistics", "Value", "View"]


class Content(Protocol):
    """What a file holds. Dropped, not closed, when it was not read for a while."""

    #: In bytes; reads never end before it.
    size: int
    #: What it takes to keep it in memory, in units of some hundred bytes: at least 1.
    cost: int

    def read_now(self, offset: int, size: int) -> bytes | memoryview | None:
        """The bytes, when they are at hand or cheap to make so; None when `read` is to be
        called in a worker thread. Fewer bytes than asked mean the end of the file."""

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """The bytes at `offset`, at most `size`, to the end of the file at the most."""

    def decoded_around(self, offset: int) -> tuple[int, bytes | memoryview] | None:
        """What was made to read at `offset`, if it is still at hand: where in the file it begins, and its
        bytes."""

    def data_extent(self, offset: int) -> tuple[int, int]:
        """Start and end of the next data: from `offset` on, where that is not in a hole. Twice the
        file's size, where there is none."""


ROOT = 1

#: Of an extended attribute.
Value = bytes | Callable[[], bytes] | None


class View(Protocol):
    """A read-only file system by inode number. The root's number is 1."""

    def timeout(self, ino: int) -> float:
        """Seconds for which the kernel may keep what it was told (entries, attributes, absences). Where it
        is an hour or more for the root, nothing below changes either."""

    def attributes(self, ino: int) -> Attributes: ...

    def lookup(self, parent: int, name: bytes) -> Attributes:
        """Raises FileNotFoundError. `.` and `..` are answered as well."""

    def parent(self, ino: int) -> int:
        """A directory's parent; the root's is the root."""

    def entries(self, ino: int, start: int) -> Iterator[tuple[bytes, Attributes, int]]:
        """Name, attributes and the `start` of the next one, from position `start` (0: the first)."""

    def target(self, ino: int) -> bytes: ...

    def xattr_names(self, ino: int) -> list[bytes]:
        """Those that are to be listed."""

    def xattr(self, ino: int, name: bytes) -> Value:
        """One of them, or one that is answered but not listed; None where there is none. What takes time is
        given as a function, to be called in a worker thread."""

    def open(self, ino: int) -> Content: ...

    def statistics(self) -> Statistics: ...
