"""Reading a file again, from the disk, and comparing it with what is known of its content."""

import os
from collections.abc import Callable, Sequence

from backup.model.entry import Extent
from backup.objects.hashing import HashName, new_hasher

_PIECE = 1 << 20

#: Is told how many bytes were read.
Advance = Callable[[int], None]


def forget_cached(fd: int) -> None:
    """What memory has of the file is dropped: what is read then comes from the disk."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def same_hash(fd: int, size: int, digest: bytes, hash_name: HashName, advance: Advance) -> bool:
    """Whether the file's bytes have this hash. Raises OSError."""
    return _hash(fd, 0, size, hash_name, advance) == digest


def same_extents(fd: int, extents: Sequence[Extent], hash_name: HashName, advance: Advance) -> bool:
    """Whether the file has these chunks, and zeros where they have holes. Raises OSError."""
    at = 0
    for extent in extents:
        if extent.chunk is None:
            same = _zeros(fd, at, extent.end, advance)
        else:
            same = _hash(fd, at, extent.end, hash_name, advance) == extent.chunk
        if not same:
            return False
        at = extent.end
    return True


def _hash(fd: int, start: int, end: int, hash_name: HashName, advance: Advance) -> bytes:
    hasher = new_hasher(hash_name)
    while start < end and (data := os.pread(fd, min(_PIECE, end - start), start)):
        hasher.update(data)
        advance(len(data))
        start += len(data)
    return hasher.digest()


def _zeros(fd: int, start: int, end: int, advance: Advance) -> bool:
    """Holes are not read where they still are holes."""
    while start < end:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA)
        except OSError:  # no data up to the end
            return True
        if start >= end:
            return True
        data = os.pread(fd, min(_PIECE, end - start), start)
        advance(len(data))
        if not data or any(data):
            return False
        start += len(data)
    return True
