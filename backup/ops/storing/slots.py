"""Memory that the main process and its workers share: objects go one way in it, blocks come back."""

import mmap

from backup.objects.chunker import ChunkerSettings
from backup.ops.storing.part import SLACK

#: Plain bytes of a part, unless a single chunk may be longer.
_PLAIN = 4 << 20


def slot_size(chunker: ChunkerSettings) -> int:
    """Bytes of memory that a part needs at most."""
    return max(_PLAIN, chunker.single, chunker.maximum) + SLACK


class Slots:
    """Made before the fork. Pages of it become real as they are written to."""

    def __init__(self, count: int, size: int) -> None:
        self._view = memoryview(mmap.mmap(-1, count * size))
        self._size = size
        self.free = list(range(count))

    def room(self, slot: int) -> memoryview:
        return self._view[slot * self._size : (slot + 1) * self._size]
