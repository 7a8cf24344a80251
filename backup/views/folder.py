"""The parts that views are made of: a node is what an inode shows, a folder what a directory holds."""

import errno
import stat
from collections.abc import Callable, Iterator
from typing import NoReturn, Protocol

from backup.model.inode import Attributes
from backup.views.content import BytesContent, ChunkContent, Describe, FileContent

#: What the kernel may take as for ever: what is in a snapshot never changes.
FOREVER = 365 * 24 * 3600.0

BLOCK = 4096
SECTOR = 512

Content = FileContent | ChunkContent | BytesContent


class Node(Protocol):
    """One inode. What it is not asked for raises OSError."""

    def attributes(self, ino: int) -> Attributes: ...

    def target(self) -> bytes:
        """What a symlink says."""

    def xattrs(self) -> dict[bytes, bytes]: ...

    def xattr(self, name: bytes) -> bytes | None:
        """One attribute; views answer some names that `xattrs` does not list."""

    def open(self, describe: Describe) -> Content: ...

    def enter(self) -> "Folder": ...


class Folder(Protocol):
    """What a directory holds. A name keeps its position for as long as the folder is there."""

    #: Seconds for which the kernel may keep names and attributes.
    timeout: float

    def find(self, name: bytes) -> int:
        """The position of a name, or -1."""

    def node(self, position: int) -> Node:
        """Raises IndexError for a position that never was."""

    def inode(self, position: int, own: int) -> int:
        """The number that the node goes by: `own`, or that of another name of the same file."""

    def name(self, position: int) -> bytes: ...

    def entries(self, first: int, start: int) -> Iterator[tuple[bytes, Attributes, int]]:
        """Name, attributes and the next `start`, from `start` on. Position p has inode `first` + p."""


class BaseNode:
    """Refuses what a node is not."""

    def target(self) -> bytes:
        raise OSError(errno.EINVAL, "not a symbolic link")

    def xattrs(self) -> dict[bytes, bytes]:
        return {}

    def xattr(self, name: bytes) -> bytes | None:
        return self.xattrs().get(name)

    def open(self, describe: Describe) -> Content:
        raise OSError(errno.EINVAL, "not a regular file")

    def enter(self) -> Folder:
        not_a_directory()


def not_a_directory() -> NoReturn:
    raise NotADirectoryError(errno.ENOTDIR, "not a directory")


def made_attributes(ino: int, mode: int, size: int, time_ns: int, nlink: int = 1) -> Attributes:
    """Attributes of what no snapshot holds: owned by root, readable by all."""
    return Attributes(ino, mode, nlink, 0, 0, 0, size, -(-size // BLOCK) * 8, time_ns, time_ns)


class MadeDirectory(BaseNode):
    """A directory that exists in the view alone. `make` makes its folder when it is entered."""

    def __init__(self, make: Callable[[], Folder], time_ns: int) -> None:
        self._make = make
        self._time_ns = time_ns

    def attributes(self, ino: int) -> Attributes:
        return made_attributes(ino, stat.S_IFDIR | 0o555, 0, self._time_ns, nlink=2)

    def enter(self) -> Folder:
        return self._make()


class MadeLink(BaseNode):
    """A symlink that exists in the view alone."""

    def __init__(self, target: bytes, time_ns: int) -> None:
        self._target = target
        self._time_ns = time_ns

    def attributes(self, ino: int) -> Attributes:
        return made_attributes(ino, stat.S_IFLNK | 0o777, len(self._target), self._time_ns)

    def target(self) -> bytes:
        return self._target


class MadeFile(BaseNode):
    """A file that exists in the view alone. `make` gives its bytes, always the same."""

    def __init__(self, make: Callable[[], bytes], time_ns: int) -> None:
        self._make = make
        self._time_ns = time_ns

    def attributes(self, ino: int) -> Attributes:
        return made_attributes(ino, stat.S_IFREG | 0o444, len(self._make()), self._time_ns)

    def open(self, describe: Describe) -> Content:
        return BytesContent(self._make())


class NamedFolder:
    """A folder of nodes by name. `names` tells which there are; it is asked each time.

    A name gets its position when it is first seen and never loses it, so that inode numbers stay.
    """

    def __init__(
        self, names: Callable[[], list[bytes]], node: Callable[[bytes], Node], timeout: float = FOREVER
    ) -> None:
        self.timeout = timeout
        self._names = names
        self._node = node
        self._positions: dict[bytes, int] = {}
        self._by_position: list[bytes] = []

    def _position(self, name: bytes) -> int:
        position = self._positions.setdefault(name, len(self._by_position))
        if position == len(self._by_position):
            self._by_position.append(name)
        return position

    def find(self, name: bytes) -> int:
        return self._position(name) if name in self._names() else -1

    def node(self, position: int) -> Node:
        name = self._by_position[position]
        if name not in self._names():
            raise FileNotFoundError(errno.ENOENT, "no longer there", name)
        return self._node(name)

    def inode(self, position: int, own: int) -> int:
        return own

    def name(self, position: int) -> bytes:
        return self._by_position[position]

    def entries(self, first: int, start: int) -> Iterator[tuple[bytes, Attributes, int]]:
        """In the order in which names were first seen: a listing under way stays whole."""
        names = set(self._names())
        for name in sorted(names):
            self._position(name)
        for position in range(start, len(self._by_position)):
            name = self._by_position[position]
            if name in names:
                yield name, self._node(name).attributes(first + position), position + 1
