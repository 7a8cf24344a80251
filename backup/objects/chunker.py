"""Cutting a file's bytes into chunks: one up to 1 MiB, above by content (FastCDC 2020)."""

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from pyfastcdc import FastCDC

MIB = 1 << 20
#: Fills some of the memory, and tells how much: 0 only at the end.
ReadInto = Callable[[memoryview], int]


class ChunkerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes in bytes. A file of at most `single` bytes is one chunk.

    Little normalization: with chunks of nearly one size it takes several until a change is past, and 1 MiB
    overwritten may store 7.
    """

    name: str = "fastcdc-2020"
    single: int = MIB
    minimum: int = MIB // 8
    average: int = MIB // 2
    maximum: int = 2 * MIB
    normalization: int = 1


class _Window:
    """Reads `[start, end)` of a descriptor as a stream, whatever its file offset."""

    def __init__(self, fd: int, start: int, end: int) -> None:
        self._fd = fd
        self._offset = start
        self._end = end

    def readinto(self, buffer: memoryview) -> int:
        size = min(len(buffer), self._end - self._offset)
        got = os.preadv(self._fd, [memoryview(buffer)[:size]], self._offset) if size > 0 else 0
        self._offset += got
        return got


class Source(Protocol):
    """Bytes one after the other."""

    def read(self, size: int, /) -> bytes:
        """So many; fewer only at the end."""


class _Bounded:
    """The next `size` bytes of a source."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._left = size

    def readinto(self, buffer: memoryview) -> int:
        data = self._source.read(min(len(buffer), self._left))
        memoryview(buffer)[: len(data)] = data
        self._left -= len(data)
        return len(data)


class Chunker:
    """Reused for many files; not for several threads at once."""

    def __init__(self, settings: ChunkerSettings) -> None:
        self.single = settings.single
        self._settings = settings

    @cached_property
    def _cutter(self) -> "FastCDC":
        # Slow to import, and of no use for small files.
        from pyfastcdc import FastCDC

        return FastCDC(
            self._settings.average,
            min_size=self._settings.minimum,
            max_size=self._settings.maximum,
            normalized_chunking=self._settings.normalization,  # type: ignore[arg-type]
        )

    def cut(self, fd: int, start: int, end: int) -> Iterator[memoryview]:
        """The chunks of `[start, end)`; fewer bytes where the file ends early.

        Each view is good until the next one is asked for.
        """
        if end - start <= self.single:
            data = read_all(fd, start, end - start)
            if data:
                yield memoryview(data)
            return
        for chunk in self._cutter.cut_stream(_Window(fd, start, end)):
            yield chunk.data

    def cut_next(self, source: Source, size: int) -> Iterator[memoryview]:
        """The chunks of the next `size` bytes, as `cut`; fewer bytes where `source` ends early."""
        if size <= self.single:
            data = source.read(size)
            if data:
                yield memoryview(data)
            return
        for chunk in self._cutter.cut_stream(_Bounded(source, size)):
            yield chunk.data

    def cut_stream(self, read_into: ReadInto) -> Iterator[memoryview]:
        """The chunks of all that comes, as if it were a file. Each view is good until the next one."""
        head = bytearray(self.single + 1)
        size = _Stream(read_into, b"").readinto(memoryview(head))
        if size <= self.single:
            if size:
                yield memoryview(head)[:size]
            return
        for chunk in self._cutter.cut_stream(_Stream(read_into, bytes(head))):
            yield chunk.data


class _Stream:
    """Reads to the end, after bytes that were read already. Short only at the end."""

    def __init__(self, read_into: ReadInto, head: bytes) -> None:
        self._read_into = read_into
        self._head = memoryview(head)

    def readinto(self, buffer: memoryview) -> int:
        room = memoryview(buffer)
        got = min(len(room), len(self._head))
        room[:got] = self._head[:got]
        self._head = self._head[got:]
        while got < len(room) and (more := self._read_into(room[got:])):
            got += more
        return got


def read_all(fd: int, offset: int, size: int) -> bytes:
    """`size` bytes from `offset`; fewer only where the file ends."""
    data = os.pread(fd, size, offset)
    if len(data) in (0, size):
        return data
    parts = [data]
    have = len(data)
    while have < size and (data := os.pread(fd, size - have, offset + have)):
        parts.append(data)
        have += len(data)
    return b"".join(parts)
