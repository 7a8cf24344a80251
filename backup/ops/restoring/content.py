"""A file's bytes: written with their holes, and compared."""

import os

from backup.model.entry import Entry
from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.ops.restoring.job import Job
from backup.source.extents import data_extents

_PIECE = 1 << 20


def check_extents(entry: Entry) -> None:
    """Raises Damaged unless the runs are in order and cover the file's size."""
    position = 0
    for extent in entry.extents:
        if extent.end <= position:
            raise Damaged("the file's list of chunks is not in order")
        position = extent.end
    if position != entry.size:
        raise Damaged("the file's list of chunks does not fit its size")


def write_content(job: Job, fd: int, entry: Entry, path: bytes) -> None:
    """Writes all data into the empty file `fd`; holes stay holes. Raises Damaged or OSError."""
    check_extents(entry)
    if any(extent.chunk is None for extent in entry.extents):
        os.ftruncate(fd, entry.size)
    position = 0
    for extent in entry.extents:
        if extent.chunk is not None:
            data = _chunk(job, extent.chunk, extent.end - position)
            _write(fd, data, position)
            job.summary.bytes_written += len(data)
        job.bytes_done(extent.end - position, path)
        position = extent.end


def same_content(job: Job, fd: int, entry: Entry) -> bool:
    """Whether the open file has exactly the entry's bytes. Reads it all, but for the holes of both."""
    check_extents(entry)
    if os.fstat(fd).st_size != entry.size:
        return False
    position = 0
    for extent in entry.extents:
        if extent.chunk is None:
            same = _reads_as_zeros(fd, position, extent.end)
        else:
            data = _chunk(job, extent.chunk, extent.end - position)
            same = _read(fd, len(data), position) == data
        if not same:
            return False
        position = extent.end
    return True


def _chunk(job: Job, name: ObjectId, length: int) -> memoryview:
    data = memoryview(job.reader.chunk(name))
    if len(data) != length:
        raise Damaged("a chunk does not have the length that the file's list of chunks says")
    return data


def _write(fd: int, data: memoryview, position: int) -> None:
    while data:
        written = os.pwrite(fd, data, position)
        data = data[written:]
        position += written


def _read(fd: int, length: int, position: int) -> bytes:
    """All of the range; less only at the end of the file."""
    data = os.pread(fd, length, position)
    while len(data) < length and (more := os.pread(fd, length - len(data), position + len(data))):
        data += more
    return data


def _reads_as_zeros(fd: int, start: int, end: int) -> bool:
    for first, last in data_extents(fd, end, start):
        for position in range(first, last, _PIECE):
            data = _read(fd, min(_PIECE, last - position), position)
            if data.count(0) != len(data):
                return False
    return True
