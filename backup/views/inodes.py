"""A read-only file system by inode number, made of folders.

An inode's number is that of its folder, given when the folder is first entered, with the position
in it: only folders that were visited cost memory, and `forget` has nothing to do.
"""

import errno
from collections.abc import Iterator

from backup.model.inode import Attributes, Statistics
from backup.views.folder import Content, Node, Value

ROOT = 1
#: Numbers below are the root's and nobody's.
_FIRST = 2
_POSITION_BITS = 32
_POSITION_MASK = (1 << _POSITION_BITS) - 1


class InodeView:
    """What a mount shows. Called from one thread; what `open` gives may be read from others."""

    def __init__(self, root: Node, statistics: Statistics) -> None:
        self._root = root
        self._statistics = statistics
        self._folders = [root.enter()]
        #: Of each folder, the inode that it was entered by.
        self._entered = [ROOT]
        self._numbers = {ROOT: 0}

    def statistics(self) -> Statistics:
        return self._statistics

    def timeout(self, ino: int) -> float:
        """A folder's own entries and attributes; anything else's: those of the folder it is in."""
        number = self._numbers.get(ino)
        return self._folders[_split(ino)[0] if number is None else number].timeout

    def attributes(self, ino: int) -> Attributes:
        return self._node(ino).attributes(ino)

    def lookup(self, parent: int, name: bytes) -> Attributes:
        number = self._enter(parent)
        if name == b".":
            return self.attributes(parent)
        if name == b"..":
            return self.attributes(self.parent(parent))
        folder = self._folders[number]
        position = folder.find(name)
        if position < 0:
            raise FileNotFoundError(errno.ENOENT, "no such name", name)
        ino = folder.inode(position, _join(number, position))
        return folder.node(position).attributes(ino)

    def entries(self, ino: int, start: int) -> Iterator[tuple[bytes, Attributes, int]]:
        number = self._enter(ino)
        return self._folders[number].entries(_join(number, 0), start)

    def target(self, ino: int) -> bytes:
        return self._node(ino).target()

    def xattr_names(self, ino: int) -> list[bytes]:
        return self._node(ino).xattr_names()

    def xattr(self, ino: int, name: bytes) -> Value:
        return self._node(ino).xattr(name)

    def open(self, ino: int) -> Content:
        return self._node(ino).open(lambda: self.path(ino))

    def path(self, ino: int) -> bytes:
        """The path from the view's root, for messages."""
        parts = []
        while ino != ROOT:
            number, position = _split(ino)
            parts.append(self._folders[number].name(position))
            ino = self._entered[number]
        return b"/".join(reversed(parts)) or b"."

    def parent(self, ino: int) -> int:
        """A directory's parent; the root's is the root."""
        return ROOT if ino == ROOT else self._entered[_split(ino)[0]]

    def _node(self, ino: int) -> Node:
        if ino == ROOT:
            return self._root
        number, position = _split(ino)
        try:
            return self._folders[number].node(position)
        except IndexError:
            raise OSError(errno.ESTALE, "no such inode") from None

    def _enter(self, ino: int) -> int:
        """The number of a directory's folder; it gets one when it is first entered."""
        number = self._numbers.get(ino)
        if number is None:
            folder = self._node(ino).enter()
            number = len(self._folders)
            self._folders.append(folder)
            self._entered.append(ino)
            self._numbers[ino] = number
        return number


def _join(number: int, position: int) -> int:
    return (number << _POSITION_BITS | position) + _FIRST


def _split(ino: int) -> tuple[int, int]:
    """Number of the folder, and position in it."""
    if ino < _FIRST:
        raise OSError(errno.ESTALE, "no such inode")
    return (ino - _FIRST) >> _POSITION_BITS, (ino - _FIRST) & _POSITION_MASK
