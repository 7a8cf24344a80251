"""A part of a batch: what was read of it at a time, in a stretch of memory that others see as well.

Plain objects lie in that memory one after the other; the blocks that are made of the new ones take
their place.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from backup.model.ids import ObjectId
from backup.objects.block import BlockKind, CompressionSettings, encode_block
from backup.objects.pack import total_length
from backup.objects.writer import BLOCK_SIZE

#: Where an object lies in the memory, and its length.
Span = tuple[int, int]
#: What was read of a file: its row's stat, object, extra and flags, and lists of extents to be stored
#: as they are. Or errno and text of why it could not be.
Result = tuple[bytes, ObjectId, bytes, int, list[bytes]] | tuple[int, str]

#: Where plain bytes do not shrink, blocks need a little more: a header each, and a length for each object.
MAX_OBJECTS = 4096
SLACK = 64 << 10


class Part(NamedTuple):
    """`objects` in the order in which they lie; `results` of the files that were finished in it."""

    objects: list[tuple[ObjectId, int]]
    results: list[Result]
    last: bool


def plain_size(part: Part) -> int:
    """Bytes that were read of files."""
    return total_length(part.objects)


def group(objects: Sequence[tuple[ObjectId, int]], new: Sequence[int]) -> list[list[int]]:
    """Which of the new objects share a block: small ones together, a large one has its own."""
    blocks: list[list[int]] = []
    small: list[int] = []
    size = 0
    for number in new:
        length = objects[number][1]
        if length >= BLOCK_SIZE:
            blocks.append([number])
            continue
        if size + length > BLOCK_SIZE:
            blocks.append(small)
            small, size = [], 0
        small.append(number)
        size += length
    return [*blocks, small] if small else blocks


def spans(objects: Sequence[tuple[ObjectId, int]], blocks: list[list[int]]) -> list[list[Span]]:
    """Where the objects of each block lie."""
    starts = list(_starts(objects))
    return [[(starts[number], objects[number][1]) for number in block] for block in blocks]


def _starts(objects: Sequence[tuple[ObjectId, int]]) -> Iterator[int]:
    at = 0
    for _, length in objects:
        yield at
        at += length


def encode_in_place(room: memoryview, blocks: list[list[Span]], settings: CompressionSettings) -> list[int]:
    """Puts the blocks where the plain objects were, one after the other; returns their sizes."""
    encoded = [
        encode_block(BlockKind.DATA, [room[start : start + size] for start, size in block], settings)
        for block in blocks
    ]
    at = 0
    for block in encoded:
        room[at : at + len(block)] = block
        at += len(block)
    return [len(block) for block in encoded]
