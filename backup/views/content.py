"""An open file of a view."""

import os
from bisect import bisect_right
from collections.abc import Callable

from backup.model.entry import Extent
from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.objects.reader import ObjectReader

Buffer = bytes | memoryview
#: The path from the view's root, for messages; not made unless there is one.
Describe = Callable[[], bytes]


class BytesContent:
    """A file that is in memory."""

    cost = 1

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read_now(self, offset: int, size: int) -> Buffer:
        return self.read(offset, size)

    def read(self, offset: int, size: int) -> Buffer:
        return self._data[offset : offset + size]

    def decoded_around(self, offset: int) -> tuple[int, Buffer] | None:
        return 0, self._data

    def data_extent(self, offset: int) -> tuple[int, int]:
        return min(offset, self.size), self.size


class ChunkContent:
    """A file of one chunk: most files. Several threads may read at once."""

    __slots__ = ("_allow_damaged", "_chunk", "_describe", "_reader", "size")

    cost = 1

    def __init__(
        self, reader: ObjectReader, chunk: ObjectId, size: int, describe: Describe, allow_damaged: bool
    ) -> None:
        """`describe` gives the path for messages; `allow_damaged`: zeros in place of what is damaged."""
        self._reader = reader
        self._chunk = chunk
        self._describe = describe
        self._allow_damaged = allow_damaged
        self.size = size

    def read_now(self, offset: int, size: int) -> Buffer | None:
        """The bytes, where the chunk is in a small block, or decoded already; else None.

        A small block decodes in less time than it takes to hand the work to a thread.
        """
        try:
            data = self._reader.read_quickly(self._chunk)
        except Damaged as error:
            return self._damaged(error, offset, size)
        if data is None:
            return None
        return self._part(data, offset, size)

    def read(self, offset: int, size: int) -> Buffer:
        """At most `size` bytes from `offset` on; fewer at the end. Raises `Damaged`."""
        try:
            return self._part(self._reader.read(self._chunk), offset, size)
        except Damaged as error:
            return self._damaged(error, offset, size)

    def decoded_around(self, offset: int) -> tuple[int, Buffer] | None:
        """The chunk, if it is decoded."""
        data = self._reader.read_quickly(self._chunk)
        return None if data is None or len(data) != self.size else (0, data)

    def data_extent(self, offset: int) -> tuple[int, int]:
        return min(offset, self.size), self.size

    def _part(self, data: Buffer, offset: int, size: int) -> Buffer:
        if len(data) != self.size:
            return self._damaged(Damaged("a chunk is not as long as its file says"), offset, size)
        return data if offset == 0 and size >= len(data) else data[offset : offset + size]

    def _damaged(self, error: Damaged, offset: int, size: int) -> Buffer:
        if self._allow_damaged:
            return bytes(max(0, min(size, self.size - offset)))
        raise Damaged(f"{os.fsdecode(self._describe())}: {error}") from error


class FileContent:
    """A file of several chunks and holes. Several threads may read at once."""

    def __init__(
        self, reader: ObjectReader, extents: tuple[Extent, ...], describe: Describe, allow_damaged: bool
    ) -> None:
        self._reader = reader
        self._extents = extents
        self._ends = [extent.end for extent in extents]
        self._describe = describe
        self._allow_damaged = allow_damaged
        self.size = self._ends[-1] if self._ends else 0
        #: In units of some hundred bytes: an extent takes two.
        self.cost = 1 + 2 * len(extents)

    def read_now(self, offset: int, size: int) -> Buffer | None:
        """The bytes, where all of their chunks can be had quickly; else None."""
        return self._read(offset, size, self._reader.read_quickly)

    def read(self, offset: int, size: int) -> Buffer:
        """At most `size` bytes from `offset` on; fewer at the end. Raises `Damaged`."""
        data = self._read(offset, size, self._reader.read)
        assert data is not None
        return data

    def decoded_around(self, offset: int) -> tuple[int, Buffer] | None:
        """The chunk at `offset`, if it is decoded: where it begins, and its bytes."""
        number = bisect_right(self._ends, offset)
        if number == len(self._extents) or (chunk := self._extents[number].chunk) is None:
            return None
        start = self._ends[number - 1] if number else 0
        data = self._reader.read_quickly(chunk)
        return None if data is None or len(data) != self._ends[number] - start else (start, data)

    def data_extent(self, offset: int) -> tuple[int, int]:
        """Start and end of the next data, from `offset` on; twice the size where there is none."""
        number = bisect_right(self._ends, offset)
        while number < len(self._extents) and self._extents[number].chunk is None:
            offset = self._ends[number]
            number += 1
        end = min(offset, self.size)
        while number < len(self._extents) and self._extents[number].chunk is not None:
            end = self._ends[number]
            number += 1
        return min(offset, self.size), end

    def _read(self, offset: int, size: int, read: Callable[[ObjectId], Buffer | None]) -> Buffer | None:
        end = min(offset + size, self.size)
        number = bisect_right(self._ends, offset)
        parts = []
        while offset < end:
            part = self._part(number, offset, end, read)
            if part is None:
                return None
            parts.append(part)
            offset += len(part)
            number += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _part(
        self, number: int, offset: int, end: int, read: Callable[[ObjectId], Buffer | None]
    ) -> Buffer | None:
        """What one extent has of the range."""
        extent = self._extents[number]
        start = self._ends[number - 1] if number else 0
        stop = min(end, extent.end)
        if extent.chunk is None:
            return bytes(stop - offset)
        try:
            data = read(extent.chunk)
            if data is None:
                return None
            if len(data) != extent.end - start:
                raise Damaged("a chunk is not as long as its file says")
        except Damaged as error:
            if self._allow_damaged:
                return bytes(stop - offset)
            raise Damaged(f"{os.fsdecode(self._describe())}: {error}") from error
        return data[offset - start : stop - start]
