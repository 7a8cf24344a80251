"""The names in a live directory, each with its status."""

import os
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Container
from operator import itemgetter
from typing import NamedTuple

from backup.ops.storing.sources import Choice

_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


class Listing(NamedTuple):
    """Sorted by name. Beside each name its status, or why that cannot be had."""

    names: list[bytes]
    found: list[os.stat_result | OSError]

    def past(self, name: bytes, start: int) -> int:
        """The position, from `start` on, of the first name after `name`."""
        return bisect_right(self.names, name, start)

    def only(self, names: Container[bytes]) -> "Listing":
        """Without all other names."""
        kept = [at for at, name in enumerate(self.names) if name in names]
        return Listing([self.names[at] for at in kept], [self.found[at] for at in kept])

    def status(self, name: bytes) -> os.stat_result | None:
        """That of a name; None where it is not there, or its status cannot be had."""
        at = bisect_left(self.names, name)
        if at == len(self.names) or self.names[at] != name:
            return None
        found = self.found[at]
        return None if isinstance(found, OSError) else found


def list_directory(fd: int, choice: Choice | None) -> Listing:
    """All names, or those of a choice. Raises OSError."""
    found = _scan(fd) if choice is None else _look_up(fd, choice)
    found.sort(key=itemgetter(0))
    return Listing([name for name, _ in found], [status for _, status in found])


def _scan(fd: int) -> list[tuple[bytes, os.stat_result | OSError]]:
    found: list[tuple[bytes, os.stat_result | OSError]] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            name = entry.name.encode(_ENCODING, _ERRORS)
            try:
                found.append((name, entry.stat(follow_symlinks=False)))
            except OSError as error:
                found.append((name, error))
    return found


def _look_up(fd: int, names: Choice) -> list[tuple[bytes, os.stat_result | OSError]]:
    found: list[tuple[bytes, os.stat_result | OSError]] = []
    for name in names:
        try:
            found.append((name, os.stat(name, dir_fd=fd, follow_symlinks=False)))
        except OSError as error:
            found.append((name, error))
    return found
