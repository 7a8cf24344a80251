"""Reading one file's content into the repository."""

import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

from backup.model.entry import FLAG_CHANGING, Extent
from backup.model.ids import ObjectId
from backup.objects.chunker import Chunker
from backup.source.attributes import Xattr, xattrs_of
from backup.source.descent import Identity, open_file
from backup.source.extents import data_extents, looks_sparse

#: A file that changes while it is read is read again, so many times in all.
ATTEMPTS = 2


class Store(Protocol):
    """What reading a file needs of the repository."""

    def store(self, data: bytes | memoryview) -> ObjectId: ...


class Content(NamedTuple):
    """What was read, with the status that it belongs to. `size` is what the extents cover."""

    status: os.stat_result
    size: int
    extents: list[Extent]
    xattrs: tuple[Xattr, ...]
    flags: int


Progress = Callable[[int], None]


def store_file(
    dir_fd: int, name: bytes, expected: Identity, store: Store, chunker: Chunker, progress: Progress
) -> Content:
    """Stores the content of a regular file. `progress` is told of bytes read.

    Raises OSError where the file cannot be read; FileNotFoundError where it is gone.
    """
    fd, before = open_file(dir_fd, name, expected)
    try:
        for attempt in range(1, ATTEMPTS + 1):
            extents = _store_extents(fd, before, store, chunker, progress)
            size = extents[-1].end if extents else 0
            xattrs = xattrs_of(fd)
            after = os.fstat(fd)
            if _same(before, after) and size == before.st_size:
                return Content(after, size, extents, xattrs, 0)
            if attempt < ATTEMPTS:
                before = after
        return Content(before, size, extents, xattrs, FLAG_CHANGING)
    finally:
        os.close(fd)


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def _store_extents(
    fd: int, status: os.stat_result, store: Store, chunker: Chunker, progress: Progress
) -> list[Extent]:
    """Chunks and holes in order. Ends early where the file does."""
    size = status.st_size
    runs = data_extents(fd, size) if looks_sparse(status) else iter(((0, size),))
    extents: list[Extent] = []
    at = 0
    for start, end in runs:
        if start > at:
            extents.append(Extent(start, None))
        at = start
        for chunk in chunker.cut(fd, start, end):
            at += len(chunk)
            extents.append(Extent(at, store.store(chunk)))
            progress(len(chunk))
        if at < end:
            return extents
    if at < size and os.fstat(fd).st_size >= size:
        extents.append(Extent(size, None))
    return extents
