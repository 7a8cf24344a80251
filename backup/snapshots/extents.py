"""A file's extents: where its chunks lie, and where its holes. `docs/format.md`, "Extents".

Most files have one chunk, which the entry's record names itself. Others list their extents in the
entry's extra; very long lists are objects of their own, cut at content-defined places, so that a
change in the middle of a huge file rewrites a small part of its list.
"""

import struct
from collections.abc import Callable, Iterable, Iterator

from backup.model.entry import Extent
from backup.model.errors import Damaged
from backup.model.ids import ID_SIZE, NO_OBJECT, ObjectId
from backup.snapshots.tree import EXTRA, EXTRA_EXTENT_LISTS, EXTRA_EXTENTS, Buffer

#: end offset, chunk (all zero: a hole)
EXTENT = struct.Struct(f"<Q{ID_SIZE}s")
#: Longer lists of extents are objects of their own.
MAX_INLINE = 1024
#: A list ends after a chunk whose name's first two bytes are below this: one in 1,024.
_CUT_BELOW = 64
MAX_LIST = 8192

Read = Callable[[ObjectId], Buffer]
Store = Callable[[bytes], ObjectId]


def encode_content(extents: list[Extent], store_list: Store) -> tuple[ObjectId, bytes]:
    """What an entry keeps of a file's content: its record's object, and a part of its extra.

    `store_list` stores the plain form of a list of extents and names it.
    """
    if not extents:
        return NO_OBJECT, b""
    if len(extents) == 1 and extents[0].chunk is not None:
        return extents[0].chunk, b""
    if len(extents) <= MAX_INLINE:
        packed = _pack(extents, 0)
        return NO_OBJECT, EXTRA.pack(EXTRA_EXTENTS, len(packed)) + packed
    packed = b"".join(
        EXTENT.pack(part[-1].end, store_list(_pack(part, start))) for start, part in _lists(extents)
    )
    return NO_OBJECT, EXTRA.pack(EXTRA_EXTENT_LISTS, len(packed)) + packed


def _pack(extents: Iterable[Extent], start: int) -> bytes:
    return b"".join(EXTENT.pack(end - start, chunk or NO_OBJECT) for end, chunk in extents)


def _lists(extents: list[Extent]) -> Iterator[tuple[int, list[Extent]]]:
    """Start offset and extents of each list."""
    start, part = 0, []
    for extent in extents:
        part.append(extent)
        cut = extent.chunk is not None and int.from_bytes(extent.chunk[:2], "big") < _CUT_BELOW
        if cut or len(part) == MAX_LIST:
            yield start, part
            start, part = extent.end, []
    if part:
        yield start, part


def decode_content(
    size: int, object_id: ObjectId, fields: dict[int, memoryview], read: Read
) -> tuple[Extent, ...]:
    """The extents of a file of `size` bytes. Raises `Damaged` where they do not cover it."""
    if EXTRA_EXTENTS in fields:
        extents = tuple(_unpack(fields[EXTRA_EXTENTS], 0))
    elif EXTRA_EXTENT_LISTS in fields:
        extents = tuple(_read_lists(fields[EXTRA_EXTENT_LISTS], read))
    elif object_id != NO_OBJECT:
        extents = (Extent(size, object_id),)
    else:
        extents = ()
    if (extents[-1].end if extents else 0) != size:
        raise Damaged("a file's chunks do not add up to its size")
    return extents


def _unpack(packed: Buffer, start: int) -> Iterator[Extent]:
    if len(packed) % EXTENT.size:
        raise Damaged("a file's list of chunks is cut short")
    at = start
    for length, chunk in EXTENT.iter_unpack(packed):
        end = start + length
        if end <= at:
            raise Damaged("a file's list of chunks does not go forward")
        at = end
        yield Extent(end, None if chunk == NO_OBJECT else ObjectId(chunk))


def _read_lists(packed: memoryview, read: Read) -> Iterator[Extent]:
    start = 0
    for end, name in _unpack(packed, 0):
        if name is None:
            raise Damaged("a file's list of lists has a gap")
        last = start
        for extent in _unpack(read(name), start):
            last = extent.end
            yield extent
        if last != end:
            raise Damaged("a file's list of chunks has another length than stated")
        start = end


def listed_objects(fields: dict[int, memoryview]) -> list[ObjectId]:
    """The lists of extents that an entry names: objects of kind tree."""
    packed = fields.get(EXTRA_EXTENT_LISTS)
    return [] if packed is None else [name for _, name in _unpack(packed, 0) if name is not None]
