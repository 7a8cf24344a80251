"""Files to be read together by one worker.

What a batch holds depends on the tree alone (the order of the walk, sizes, names), never on timing or
on the number of workers: so neither does what is stored.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from backup.ops.storing.frame import Frame
from backup.source.descent import Identity

#: A batch is full with the file that reaches one of these: plain bytes, files, directories, bytes of
#: names.
MAX_BYTES = 2 << 20
MAX_FILES = 512
MAX_DIRECTORIES = 32
MAX_NAMES = 32 << 10
#: Entries walked past since its first file: what they lead to waits in memory for the batch.
MAX_AGE = 1 << 14

#: What a worker is told of a file: its directory's place in the batch, its name, and who it has to be.
FileToRead = tuple[int, bytes, int, int]


class Wanted(NamedTuple):
    """Whose row a file's content is for. `link` is set where the file has other names."""

    frame: Frame
    slot: int
    position: int
    name: bytes
    volume: int
    link: Identity | None


class Batch:
    """Owns descriptors of the directories until they are released; close it when it is sent or read."""

    def __init__(self) -> None:
        self.directories: list[int] = []
        self.files: list[FileToRead] = []
        self.wanted: list[Wanted] = []
        self.full = False
        self._age = 0
        self._bytes = 0
        self._names = 0
        self._last: Frame | None = None

    def add(self, dir_fd: int, wanted: Wanted, status: os.stat_result) -> None:
        if wanted.frame is not self._last:
            self.directories.append(os.dup(dir_fd))
            self._last = wanted.frame
        place = len(self.directories) - 1
        self.files.append((place, wanted.name, status.st_dev, status.st_ino))
        self.wanted.append(wanted)
        self._bytes += status.st_size
        self._names += len(wanted.name)
        self.full = (
            self._bytes >= MAX_BYTES
            or len(self.files) >= MAX_FILES
            or place + 1 >= MAX_DIRECTORIES
            or self._names >= MAX_NAMES
        )

    def grow_old(self, entries: int) -> None:
        """The walk went past so many entries."""
        self._age += entries
        self.full = self.full or self._age >= MAX_AGE

    def release(self) -> list[int]:
        """The descriptors, which are the caller's now."""
        directories, self.directories = self.directories, []
        return directories

    def close(self) -> None:
        for fd in self.release():
            os.close(fd)


class Gatherer:
    """Fills one batch after the other, and submits each when it is full."""

    def __init__(self, submit: Callable[[Batch], None]) -> None:
        self._submit = submit
        self._batch = Batch()

    def add(self, dir_fd: int, wanted: Wanted, status: os.stat_result) -> None:
        self._batch.add(dir_fd, wanted, status)
        if self._batch.full:
            self.flush()

    def passed(self, entries: int) -> None:
        """The walk has left a directory of so many entries."""
        if self._batch.files:
            self._batch.grow_old(entries)
            if self._batch.full:
                self.flush()

    def flush(self) -> None:
        """Submits what there is."""
        batch, self._batch = self._batch, Batch()
        if batch.files:
            self._submit(batch)

    def close(self) -> None:
        self._batch.close()
