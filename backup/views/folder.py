"""The parts that views are made of: a node is what an inode shows, a folder what a directory holds."""

import errno
import stat
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import NoReturn, Protocol

from backup.model.inode import Attributes
from backup.views.content import BytesContent, ChunkContent, Describe, FileContent

#: What the kernel may take as for ever: what is in a snapshot never changes.
FOREVER = 365 * 24 * 3600.0

BLOCK = 4096
SECTOR = 512

#: Of an extended attribute.
Value = bytes | Callable[[], bytes] | None
Content = FileContent | ChunkContent | BytesContent


class Node(Protocol):
    """One inode. What it is not asked for raises OSError."""

    def attributes(self, ino: int) -> Attributes: ...

    def target(self) -> bytes:
        """What a symlink says."""

    def xattr_names(self) -> list[bytes]:
        """Those that are listed."""

    def xattr(self, name: bytes) -> Value:
        """One attribute, also of some names that are not listed; a function, where making it takes time."""

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

    def xattr_names(self) -> list[bytes]:
        return []

    def xattr(self, name: bytes) -> Value:
        return None

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
    """A folder of nodes by name. `names` tells which there are, and what each stands for, each time anew.

    A name gets its position when it is first seen and never loses it, so that inode numbers stay; but
    when it comes to stand for something else, it gets another: the kernel keeps what it was told.
    """

    def __init__(
        self,
        names: Callable[[], Mapping[bytes, Hashable]],
        node: Callable[[bytes], Node],
        timeout: float = FOREVER,
    ) -> None:
        self.timeout = timeout
        self._names = names
        self._node = node
        self._positions: dict[tuple[bytes, Hashable], int] = {}
        self._by_position: list[tuple[bytes, Hashable]] = []

    def _position(self, name: bytes, meaning: Hashable) -> int:
        position = self._positions.setdefault((name, meaning), len(self._by_position))
        if position == len(self._by_position):
            self._by_position.append((name, meaning))
        return position

    def find(self, name: bytes) -> int:
        names = self._names()
        return self._position(name, names[name]) if name in names else -1

    def node(self, position: int) -> Node:
        name, meaning = self._by_position[position]
        names = self._names()
        if name not in names or names[name] != meaning:
            raise FileNotFoundError(errno.ENOENT, "no longer there", name)
        return self._node(name)

    def inode(self, position: int, own: int) -> int:
        return own

    def name(self, position: int) -> bytes:
        return self._by_position[position][0]

    def entries(self, first: int, start: int) -> Iterator[tuple[bytes, Attributes, int]]:
        """In the order in which names were first seen: a listing under way stays whole."""
        names = self._names()
        here = {self._position(name, names[name]) for name in sorted(names)}
        for position in range(start, len(self._by_position)):
            if position in here:
                name = self._by_position[position][0]
                yield name, self._node(name).attributes(first + position), position + 1
