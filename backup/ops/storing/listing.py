"""The names in a live directory, each with its status."""

import os
import sys
from bisect import bisect_right
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
