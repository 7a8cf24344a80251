"""The names in a live directory, each with its status."""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator, Mapping, Set
from types import MappingProxyType

from backup.ops.storing.sources import Choice

#: Names whose statuses are looked up, and held in memory, together.
PIECE = 4096

Status = os.stat_result | OSError


class Listing:
    """Names in order. Beside each its status, or why that cannot be had: looked up when first asked for.

    Those of a very large directory are not kept, and looked up again. Good while the directory is open.
    """

    def __init__(
        self,
        fd: int,
        names: list[bytes],
        found: list[Status] | None = None,
        closed: Mapping[bytes, OSError] = MappingProxyType({}),
    ) -> None:
        self.names = names
        self._fd = fd
        self._found = found
        self._closed = closed

    def look(self, start: int, end: int) -> list[Status]:
        """The statuses of the names at these positions."""
        if len(self.names) > PIECE:
            return self._look(self.names[start:end])
        if self._found is None:
            self._found = self._look(self.names)
        return self._found[start:end]

    def _look(self, names: list[bytes]) -> list[Status]:
        if not self._closed:
            return _look(self._fd, names)
        return [self._closed.get(name) or _look_at(self._fd, name) for name in names]

    def pieces(self, start: int, end: int) -> Iterator[list[tuple[bytes, Status]]]:
        """Names with their statuses, some at a time."""
        for at in range(start, end, PIECE):
            stop = min(at + PIECE, end)
            yield list(zip(self.names[at:stop], self.look(at, stop), strict=True))

    def past(self, name: bytes, start: int) -> int:
        """The position, from `start` on, of the first name after `name`."""
        return bisect_right(self.names, name, start)

    def only(self, names: Container[bytes]) -> "Listing":
        """Without all other names."""
        kept = [at for at, name in enumerate(self.names) if name in names]
        found = self._found and [self._found[at] for at in kept]
        return Listing(self._fd, [self.names[at] for at in kept], found, self._closed)

    def closed(self, names: Set[bytes], why: OSError) -> "Listing":
        """With these names among it, and none of them looked at."""
        return Listing(self._fd, sorted({*self.names, *names}), None, dict.fromkeys(names, why))

    def status(self, name: bytes) -> os.stat_result | None:
        """That of a name; None where it is not there, or its status cannot be had."""
        at = bisect_left(self.names, name)
        if at == len(self.names) or self.names[at] != name:
            return None
        (found,) = self.look(at, at + 1)
        return None if isinstance(found, OSError) else found


def list_directory(fd: int, choice: Choice | None) -> Listing:
    """All names, or those of a choice. Raises OSError."""
    return Listing(fd, sorted(map(os.fsencode, os.listdir(fd)) if choice is None else choice))


def _look(fd: int, names: list[bytes]) -> list[Status]:
    try:
        return [os.stat(name, dir_fd=fd, follow_symlinks=False) for name in names]
    except OSError:
        return [_look_at(fd, name) for name in names]


def _look_at(fd: int, name: bytes) -> Status:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError as error:
        return error
