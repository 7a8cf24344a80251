"""Reading one file's content into objects."""

import os
from typing import NamedTuple, Protocol

from backup.model.entry import FLAG_CHANGING, Extent
from backup.model.ids import ObjectId
from backup.objects.chunker import Chunker
from backup.objects.hashing import Hasher
from backup.source.attributes import Xattr, xattrs_of
from backup.source.descent import Identity, open_file
from backup.source.extents import data_extents, looks_sparse
from backup.source.seals import Seals

#: Of a file that could not be sealed. It is for the main process, and in no tree.
UNSEALED = 1 << 16

#: A file that changes while it is read is read again, so many times in all.
ATTEMPTS = 2


class Store(Protocol):
    """Takes the objects that a file is made of. A view is good until the next object only."""

    def new_hasher(self) -> Hasher: ...

    def store(self, data: bytes | memoryview) -> ObjectId: ...

    def room(self, size: int) -> memoryview:
        """Memory to read an object into; it becomes one with `keep`, before anything else is stored."""

    def keep(self, data: memoryview) -> ObjectId: ...


class Content(NamedTuple):
    """What was read, with the status that it belongs to. `size` is what the extents cover.

    `hash` is that of all bytes where there are several chunks; None for one, and for files with holes.
    """

    status: os.stat_result
    size: int
    extents: list[Extent]
    hash: bytes | None
    xattrs: tuple[Xattr, ...]
    flags: int


def store_file(
    dir_fd: int, name: bytes, expected: Identity, store: Store, chunker: Chunker, seals: Seals | None = None
) -> Content:
    """Stores the content of a regular file, and seals it where `seals` are given.

    Raises OSError where the file cannot be read; FileNotFoundError where it is gone.
    """
    fd, before = open_file(dir_fd, name, expected)
    try:
        content = _store(fd, before, store, chunker)
        return content if seals is None else _seal(fd, content, seals)
    finally:
        os.close(fd)


def _store(fd: int, before: os.stat_result, store: Store, chunker: Chunker) -> Content:
    attempts = ATTEMPTS
    size = before.st_size
    if size <= chunker.single and not looks_sparse(before):
        # Most files are small: each is read to where its bytes will lie.
        data = store.room(size)
        got = os.preadv(fd, (data,), 0)
        xattrs = xattrs_of(fd)
        after = os.fstat(fd)
        if got == size and _same(before, after):
            extents = [Extent(size, store.keep(data))] if size else []
            return Content(after, size, extents, None, xattrs, 0)
        before, attempts = after, attempts - 1
    return _store_content(fd, before, store, chunker, attempts)


def _seal(fd: int, content: Content, seals: Seals) -> Content:
    """The content with the status that sealing leads to: it changes the ctime."""
    digest = content.hash or (content.extents[0].chunk if len(content.extents) == 1 else None)
    if digest is None or content.flags:
        return content
    try:
        if not seals.write(fd, digest, content.status):
            return content
    except OSError:
        return content._replace(flags=UNSEALED)
    sealed = os.fstat(fd)
    xattrs = xattrs_of(fd)
    read = content.status
    if _same(sealed, os.fstat(fd)) and (sealed.st_size, sealed.st_mtime_ns) == (
        read.st_size,
        read.st_mtime_ns,
    ):
        return content._replace(status=sealed, xattrs=xattrs)
    # Something else changes it just now: with the old ctime, the next backup reads it again.
    return content


def _store_content(fd: int, before: os.stat_result, store: Store, chunker: Chunker, attempts: int) -> Content:
    while True:
        extents, whole = _store_extents(fd, before, store, chunker)
        size = extents[-1].end if extents else 0
        xattrs = xattrs_of(fd)
        after = os.fstat(fd)
        if _same(before, after) and size == before.st_size:
            return Content(after, size, extents, whole, xattrs, 0)
        attempts -= 1
        if not attempts:
            return Content(before, size, extents, whole, xattrs, FLAG_CHANGING)
        before = after


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def _store_extents(
    fd: int, status: os.stat_result, store: Store, chunker: Chunker
) -> tuple[list[Extent], bytes | None]:
    """Chunks and holes in order, and the hash of several chunks. Ends early where the file does."""
    size = status.st_size
    if looks_sparse(status):
        return _store_runs(fd, size, store, chunker), None
    extents: list[Extent] = []
    hasher = store.new_hasher() if size > chunker.single else None
    at = 0
    for chunk in chunker.cut(fd, 0, size):
        if hasher is not None:
            hasher.update(chunk)
        at += len(chunk)
        extents.append(Extent(at, store.store(chunk)))
    return extents, hasher.digest() if hasher is not None and len(extents) > 1 else None


def _store_runs(fd: int, size: int, store: Store, chunker: Chunker) -> list[Extent]:
    """The chunks of a file's runs of data, and the holes between them: those are not read."""
    extents: list[Extent] = []
    at = 0
    for start, end in data_extents(fd, size):
        if start > at:
            extents.append(Extent(start, None))
        at = start
        for chunk in chunker.cut(fd, start, end):
            at += len(chunk)
            extents.append(Extent(at, store.store(chunk)))
        if at < end:
            return extents
    if at < size and os.fstat(fd).st_size >= size:
        extents.append(Extent(size, None))
    return extents
