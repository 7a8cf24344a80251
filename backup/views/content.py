"""An open file of a snapshot."""

from bisect import bisect_right

from backup.model.entry import Extent
from backup.model.errors import Damaged
from backup.objects.pack import Place
from backup.objects.reader import ObjectReader
from backup.objects.writer import BLOCK_SIZE

Buffer = bytes | memoryview


class FileContent:
    """Reads by offset. `path` is for messages. Several threads may read at once."""

    def __init__(self, reader: ObjectReader, extents: tuple[Extent, ...], path: bytes) -> None:
        self._reader = reader
        self._extents = extents
        self._ends = [extent.end for extent in extents]
        self._path = path

    @property
    def size(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read_now(self, offset: int, size: int) -> Buffer | None:
        """The bytes where they are in small blocks, or decoded already; else None.

        A small block decodes in less time than it takes to hand the work to a thread.
        """
        first = bisect_right(self._ends, offset)
        end = min(offset + size, self.size)
        for extent in self._extents[first:]:
            if extent.chunk is not None and not self._quick(self._place(extent)):
                return None
            if extent.end >= end:
                break
        return self.read(offset, size)

    def _quick(self, place: Place) -> bool:
        return place.plain <= BLOCK_SIZE * 2 or self._reader.cached(place)

    def read(self, offset: int, size: int) -> Buffer:
        """At most `size` bytes from `offset` on; fewer at the end. Raises `Damaged`."""
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        number = bisect_right(self._ends, offset)
        parts = []
        while offset < end:
            part = self._read_extent(number, offset, end)
            parts.append(part)
            offset += len(part)
            number += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_extent(self, number: int, offset: int, end: int) -> Buffer:
        extent = self._extents[number]
        start = self._ends[number - 1] if number else 0
        stop = min(end, extent.end)
        if extent.chunk is None:
            return bytes(stop - offset)
        try:
            data = self._reader.read_at(extent.chunk, self._place(extent))
        except Damaged as error:
            raise Damaged(f"{self._path!r}: {error}") from error
        if len(data) != extent.end - start:
            raise Damaged(f"{self._path!r}: a chunk is not as long as its file says")
        return data[offset - start : stop - start]

    def _place(self, extent: Extent) -> Place:
        assert extent.chunk is not None
        return self._reader.place(extent.chunk)

    def data_extent(self, offset: int) -> tuple[int, int]:
        """Start and end of the first run of data at or after `offset`; (size, size) if none."""
        number = bisect_right(self._ends, offset)
        while number < len(self._extents) and self._extents[number].chunk is None:
            offset = self._ends[number]
            number += 1
        if number == len(self._extents):
            return self.size, self.size
        end = number
        while end < len(self._extents) and self._extents[end].chunk is not None:
            end += 1
        return offset, self._ends[end - 1]
