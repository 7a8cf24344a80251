"""Packs: immutable files of blocks with a footer, and the records that describe them.

`docs/format.md`, "Packs". A footer's plain form is also what an index segment holds of a pack.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, starmap
from operator import itemgetter
from typing import NamedTuple

from backup.model.errors import Damaged
from backup.model.ids import ID_SIZE, ObjectId, PackId
from backup.objects.block import HEADER_SIZE, MAX_PLAIN, BlockKind, decode_block

FILE_MAGIC = b"imbpack\x01"
TRAILER_MAGIC = b"imbfoot\x01"
_TRAILER = struct.Struct("<I8s")
TRAILER_SIZE = _TRAILER.size
_COUNT = struct.Struct("<I")
_BLOCK = struct.Struct("<IIIBBHI")
_OBJECT = struct.Struct(f"<{ID_SIZE}sI")
_LENGTH = itemgetter(1)


class BlockRecord(NamedTuple):
    """A block in its pack: `offset` from the pack's start, `size` with the header, `plain` decoded."""

    offset: int
    size: int
    plain: int
    codec: int
    kind: int
    objects: tuple[tuple[ObjectId, int], ...]


class PackRecord(NamedTuple):
    """A whole pack, its `size` in bytes on disk."""

    id: PackId
    size: int
    blocks: tuple[BlockRecord, ...]


class Place(NamedTuple):
    """Where an object's plain bytes are: a block of a pack, and a range of its plain form."""

    pack: PackId
    block_offset: int
    block_size: int
    plain: int
    codec: int
    offset: int
    length: int


def pack_key(pack: PackId) -> str:
    name = pack.hex()
    return f"packs/{name[:2]}/{name}"


def places(pack: PackRecord) -> Iterator[tuple[ObjectId, Place]]:
    """Every object of a pack with its place."""
    for block in pack.blocks:
        offset = 0
        for object_id, length in block.objects:
            yield (
                object_id,
                Place(pack.id, block.offset, block.size, block.plain, block.codec, offset, length),
            )
            offset += length


def total_length(objects: Iterable[tuple[ObjectId, int]]) -> int:
    """Plain bytes of objects, given by name and length."""
    return sum(map(_LENGTH, objects))


def encode_footer(blocks: Sequence[BlockRecord]) -> bytes:
    parts = [_COUNT.pack(len(blocks))]
    objects: list[bytes] = []
    for block in blocks:
        parts.append(
            _BLOCK.pack(block.offset, block.size, block.plain, block.codec, block.kind, 0, len(block.objects))
        )
        objects += starmap(_OBJECT.pack, block.objects)
    return b"".join((*parts, *objects))


def decode_footer(plain: bytes | memoryview, pack_size: int, what: str) -> tuple[BlockRecord, ...]:
    """Raises `Damaged` where the footer does not describe a pack of `pack_size` bytes."""
    try:
        (count,) = _COUNT.unpack_from(plain)
        head = _COUNT.size + count * _BLOCK.size
        if head > len(plain):
            raise Damaged(f"{what}: the footer is cut short")
        rows = list(_BLOCK.iter_unpack(plain[_COUNT.size : head]))
        objects: list[tuple[ObjectId, int]] = list(_OBJECT.iter_unpack(plain[head:]))
    except struct.error as error:
        raise Damaged(f"{what}: the footer is damaged") from error
    if sum(row[6] for row in rows) != len(objects):
        raise Damaged(f"{what}: the footer's counts disagree")
    blocks = []
    first = 0
    for offset, size, length, codec, kind, _, number in rows:
        members = tuple(objects[first : first + number])
        first += number
        blocks.append(BlockRecord(offset, size, length, codec, kind, members))
    _require_sound(blocks, pack_size, what)
    return tuple(blocks)


def _require_sound(blocks: Sequence[BlockRecord], pack_size: int, what: str) -> None:
    for block in blocks:
        table = 4 * len(block.objects) if len(block.objects) > 1 else 0
        if (
            not block.objects
            or block.plain > MAX_PLAIN
            or block.size < HEADER_SIZE
            or block.offset + block.size > pack_size
            or total_length(block.objects) + table != block.plain
        ):
            raise Damaged(f"{what}: the footer describes a block that cannot be")
    if any(a.offset + a.size != b.offset for a, b in pairwise(blocks)):
        raise Damaged(f"{what}: the footer leaves a gap between blocks")


def encode_trailer(footer_block: bytes) -> bytes:
    """The end of a pack: the footer's block, its size, and a magic."""
    return footer_block + _TRAILER.pack(len(footer_block), TRAILER_MAGIC)


def read_footer(tail: bytes, pack_size: int, what: str) -> tuple[BlockRecord, ...] | int:
    """The blocks that a pack's last bytes describe, or how many last bytes it takes to tell."""
    if len(tail) < TRAILER_SIZE:
        raise Damaged(f"{what}: the pack is cut short")
    size, magic = _TRAILER.unpack(tail[-TRAILER_SIZE:])
    if magic != TRAILER_MAGIC or size + TRAILER_SIZE > pack_size:
        raise Damaged(f"{what}: the pack does not end in a footer")
    need = int(size) + TRAILER_SIZE
    if len(tail) < need:
        return need
    header, plain = decode_block(tail[-need:-TRAILER_SIZE], what)
    if header.kind != BlockKind.FOOTER:
        raise Damaged(f"{what}: the pack does not end in a footer")
    return decode_footer(plain, pack_size, what)
