"""An open file of a view."""

import os
from bisect import bisect_right
from collections.abc import Callable

from backup.model.entry import Extent
from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.objects.reader import ObjectReader
from backup.objects.writer import BLOCK_SIZE

Buffer = bytes | memoryview


class BytesContent:
    """A file that is in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_now(self, offset: int, size: int) -> Buffer:
        return self.read(offset, size)

    def read(self, offset: int, size: int) -> Buffer:
        return self._data[offset : offset + size]


class FileContent:
    """Reads by offset. Several threads may read at once."""

    def __init__(
        self,
        reader: ObjectReader,
        extents: tuple[Extent, ...],
        describe: Callable[[], bytes],
        allow_damaged: bool = False,
    ) -> None:
        """`describe` gives the path for messages; `allow_damaged`: zeros in place of what is damaged."""
        self._reader = reader
        self._extents = extents
        self._ends = [extent.end for extent in extents]
        self._describe = describe
        self._allow_damaged = allow_damaged

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
            if extent.chunk is not None and not self._quick(extent.chunk):
                return None
            if extent.end >= end:
                break
        return self.read(offset, size)

    def _quick(self, chunk: ObjectId) -> bool:
        try:
            place = self._reader.place(chunk)
        except Damaged:
            return True
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
            data = self._reader.read(extent.chunk)
            if len(data) != extent.end - start:
                raise Damaged("a chunk is not as long as its file says")
        except Damaged as error:
            if self._allow_damaged:
                return bytes(stop - offset)
            raise Damaged(f"{os.fsdecode(self._describe())}: {error}") from error
        return data[offset - start : stop - start]
