"""Pages given to the kernel before it asks for them."""

import mmap
import threading
from collections.abc import Callable
from queue import SimpleQueue

from fusefs.device import Device

Buffer = bytes | memoryview

#: Bytes of a reading that wants less than was decoded for it. A reader in order asks for more at a time.
SMALL = 16 << 10

#: What waits to be given; more is left out.
_MOST = 16

#: Seconds for which a page may be waited for at the end.
_PATIENCE = 0.5


class Pages:
    """Gives the rest of a chunk to the kernel's page cache when a little of it was read.

    Who reads here and there in a large file then finds what was decoded once. Giving a page waits for
    whoever has locked it: that may be a reader whose request is still to be answered, so neither the loop
    nor a worker may do it. Its thread cannot be killed while it waits: see `close`.
    """

    def __init__(self, device: Device, abort: Callable[[], None]) -> None:
        """`abort` ends the kernel's connection, and with it all waiting."""
        self._device = device
        self._abort = abort
        self._waiting: SimpleQueue[tuple[int, int, Buffer]] = SimpleQueue()
        self._starting = threading.Lock()
        self._started = False
        self._giving = threading.Lock()
        self._closed = False

    def give(self, ino: int, offset: int, data: Buffer, size: int) -> None:
        """`data` is at `offset` of a file of `size` bytes. Called by workers, one at a time or several."""
        start = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        end = offset + len(data)
        if end < size:
            end -= end % mmap.PAGESIZE
        if start >= end or self._waiting.qsize() >= _MOST:
            return
        self._waiting.put((ino, start, memoryview(data)[start - offset : end - offset]))
        with self._starting:
            if not self._started:
                self._started = True
                threading.Thread(target=self._work, daemon=True, name="imbfs-pages").start()

    def _work(self) -> None:
        while True:
            ino, offset, data = self._waiting.get()
            with self._giving:
                if not self._closed:
                    self._device.store(ino, offset, data)

    @property
    def busy(self) -> bool:
        return self._giving.locked()

    def close(self) -> None:
        """Nothing is given any more. Where a page is being waited for, nobody would answer for it now."""
        self._closed = True
        if self._giving.acquire(timeout=_PATIENCE):
            self._giving.release()
        else:
            self._abort()
