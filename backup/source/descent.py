"""Opening by name under a directory's descriptor, and walking deep trees with few descriptors."""

import errno
import os
import stat
from dataclasses import dataclass
from types import TracebackType
from typing import Self

#: Device and inode number: the same file for as long as it exists.
Identity = tuple[int, int]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO that took a file's place must not block. O_NOCTTY: nor a terminal become ours.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def identity(status: os.stat_result) -> Identity:
    """What tells this file from all others that exist now."""
    return status.st_dev, status.st_ino


def open_directory(dir_fd: int | None, name: bytes) -> int:
    """The descriptor of a directory, opened without following a symlink at `name` or touching its atime.

    With `dir_fd` None, `name` is a path as the user gave it. Raises OSError (ENOTDIR or ELOOP for a symlink).
    """
    return _open_without_atime(name, _DIRECTORY, dir_fd)


def open_file(
    dir_fd: int | None, name: bytes, expected: Identity | None = None
) -> tuple[int, os.stat_result]:
    """The descriptor and status of a regular file, opened for reading; its atime stays where permitted.

    Raises OSError; with errno ESTALE when `name` is not a regular file any more, or not the `expected` one.
    """
    fd = _open_without_atime(name, _FILE, dir_fd)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ESTALE, "is no longer a regular file", name)
        if expected is not None and identity(status) != expected:
            raise OSError(errno.ESTALE, "was replaced by another file", name)
    except BaseException:
        os.close(fd)
        raise
    return fd, status


def _open_without_atime(name: bytes, flags: int, dir_fd: int | None) -> int:
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=dir_fd)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
    # Only a file's owner and root may leave the atime alone.
    return os.open(name, flags, dir_fd=dir_fd)


@dataclass(slots=True)
class _Level:
    fd: int | None
    identity: Identity


class Descent:
    """The directories from a root down to the current one, with a bounded number of them open.

    Owns `root_fd` and all that it opens; use as a context manager, or call `close`. For one thread.
    """

    def __init__(self, root_fd: int, limit: int = 64) -> None:
        """At most `limit` (2 or more) directories below the root are kept open."""
        if limit < 2:
            raise ValueError("a descent needs a directory and its parent open")
        self._limit = limit
        self._levels = [_Level(root_fd, identity(os.fstat(root_fd)))]
        # The root and all levels from this one on are open; those between are closed.
        self._first_open = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def fd(self) -> int:
        """The current directory's descriptor."""
        return self._open(-1)

    @property
    def root_fd(self) -> int:
        """The root's descriptor, open for as long as the descent is."""
        return self._open(0)

    @property
    def depth(self) -> int:
        """How many levels the current directory lies below the root."""
        return len(self._levels) - 1

    def push(self, name: bytes) -> int:
        """Goes into the directory `name` and returns its descriptor. Raises OSError, staying where it is."""
        fd = open_directory(self.fd, name)
        try:
            level = _Level(fd, identity(os.fstat(fd)))
        except BaseException:
            os.close(fd)
            raise
        self._levels.append(level)
        if len(self._levels) - self._first_open > self._limit:
            self._close(self._first_open)
            self._first_open += 1
        return fd

    def open_parent(self) -> int:
        """The parent's descriptor, opened again when it had been closed; the current directory stays current.

        For a caller who is about to take away his own right to search the current directory, which the way
        back leads through. Raises OSError with ESTALE when the current directory was moved elsewhere.
        """
        index = len(self._levels) - 2
        if index < 0:
            raise ValueError("at the root of the descent")
        level = self._levels[index]
        if level.fd is None:
            fd = open_directory(self.fd, b"..")
            if identity(os.fstat(fd)) != level.identity:
                os.close(fd)
                raise OSError(errno.ESTALE, "a directory was moved elsewhere while it was being walked")
            level.fd = fd
            self._first_open = index
        return self._open(index)

    def pop(self) -> int:
        """Goes back to the parent and returns its descriptor. Raises OSError as `open_parent` does."""
        parent = self.open_parent()
        self._close(-1)
        self._levels.pop()
        self._first_open = max(1, min(self._first_open, len(self._levels)))
        return parent

    def close(self) -> None:
        """Closes all descriptors, the root's too. May be called again."""
        for index in range(len(self._levels)):
            self._close(index)

    def _open(self, index: int) -> int:
        fd = self._levels[index].fd
        if fd is None:
            raise ValueError("the descent is closed")
        return fd

    def _close(self, index: int) -> None:
        level = self._levels[index]
        if level.fd is not None:
            fd, level.fd = level.fd, None
            os.close(fd)
