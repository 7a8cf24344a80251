"""The session's descriptor: requests come from it, replies go to it."""

import errno
import os
import stat

from fusefs.errors import log_once
from fusefs.protocol import NOTIFY_STORE, OUT_HEADER, REQUEST_SIZE, STORE_HEADER

_DEVICE = os.makedev(10, 229)

#: The request was taken back before it was read, or is to be asked for again.
_NOTHING = (errno.EAGAIN, errno.EINTR, errno.ENOENT)
#: Unmounted, or the connection was aborted.
_OVER = (errno.ENODEV, errno.ECONNABORTED)

#: The fixed part of an error's reply is all of it.
_HEADER_SIZE = OUT_HEADER.size


class Unmounted(Exception):
    """There will be no more requests."""


def fuse_descriptors() -> set[int]:
    """Descriptors of this process that are open on /dev/fuse."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:
            continue  # the listing's own
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == _DEVICE:
            found.add(int(name))
    return found


class Device:
    """Receives in one thread; may be replied to from several. The descriptor belongs to libfuse."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._request = memoryview(bytearray(REQUEST_SIZE))
        self._buffers = [self._request]
        # A killed caller takes its request back: a read that blocks would then hold the whole process.
        os.set_blocking(descriptor, False)

    def receive(self) -> memoryview | None:
        """The next request, good until the one after; None when there is none. Raises `Unmounted`."""
        try:
            return self._request[: os.readv(self.descriptor, self._buffers)]
        except OSError as error:
            if error.errno in _NOTHING:
                return None
            if error.errno in _OVER:
                raise Unmounted from None
            raise

    def reply(self, unique: int, payload: bytes | memoryview) -> None:
        """Answers a request. `payload` is contiguous, and its items are bytes."""
        self._write(unique, OUT_HEADER.pack(_HEADER_SIZE + len(payload), 0, unique), payload)

    def refuse(self, unique: int, number: int) -> None:
        """Answers a request with an errno, given as a positive number."""
        self._write(unique, OUT_HEADER.pack(_HEADER_SIZE, -number, unique), b"")

    def store(self, ino: int, offset: int, data: bytes | memoryview) -> None:
        """Gives the kernel bytes of a file that it has not asked for. Waits for pages that are locked."""
        size = STORE_HEADER.size + len(data)
        self._write(0, STORE_HEADER.pack(size, NOTIFY_STORE, 0, ino, offset, len(data)), data)

    def _write(self, unique: int, header: bytes, payload: bytes | memoryview) -> None:
        try:
            os.writev(self.descriptor, (header, payload))
        except OSError as error:
            # Its caller was killed, or the mount is gone. All else is a fault of the reply, for which
            # the kernel has given the caller EIO.
            if error.errno not in (*_NOTHING, *_OVER):
                log_once(f"reply refused by the kernel: {error.strerror}")
