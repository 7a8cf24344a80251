"""Where a file has data, as the file system reports it, so that holes cost no reading."""

import errno
import os
from collections.abc import Iterator

_BLOCK = 512
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY}


def looks_sparse(status: os.stat_result) -> bool:
    """Whether less is allocated than the size needs: only then is it worth asking for the holes."""
    return status.st_blocks * _BLOCK < status.st_size


def data_extents(fd: int, size: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Start and end offset of each run of data between `start` and `size`, in order; the rest is holes.

    One run where the file system does not tell. Never beyond `size`; a file that shrinks meanwhile gives
    fewer runs, and the reader finds its end. Moves the descriptor's offset: read with pread. Raises OSError.
    """
    position = start
    while position < size:
        run = _next_run(fd, position, size)
        if run is None:
            return
        yield run
        position = run[1]


def _next_run(fd: int, position: int, size: int) -> tuple[int, int] | None:
    try:
        start = os.lseek(fd, position, os.SEEK_DATA)
        if start >= size:
            return None
        end = os.lseek(fd, start, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole from here on, or the file ends before
            return None
        if error.errno in _UNSUPPORTED:
            return position, size
        raise
    # A hole punched at `start` between the two calls: the rest counts as data, which is never wrong.
    return start, size if end <= start else min(end, size)
