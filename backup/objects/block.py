"""Blocks, the unit of compression: one large chunk, or many small objects together.

`docs/format.md`, "Blocks". This is the one place that encodes or decodes a block.
"""

import struct
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import msgspec
import zstandard

from backup.model.errors import Damaged

MAGIC = b"IBLK"
_HEADER = struct.Struct("<4sBBHIII")
HEADER_SIZE = _HEADER.size + 4
#: No block decodes to more: a forged size must not ask for memory without bound.
MAX_PLAIN = 64 << 20

RAW, ZSTD = 0, 1

#: Plain bytes of one object from which on a sample is compressed first, and the pieces that it is made of.
SAMPLED = 256 << 10
PIECES, PIECE = 8, 4 << 10
#: The level of samples, of what is kept twice, and of large blocks that shrink by less than half.
FAST = 1

Buffer = bytes | memoryview


class BlockKind(IntEnum):
    DATA = 0
    TREE = 1
    FOOTER = 2
    SEGMENT = 3


#: The level of repositories for which none is asked.
USUAL = 3


class CompressionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str = "zstd"
    level: int = USUAL


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """`plain` and `stored` are the payload's sizes in bytes, decoded and as it lies on disk."""

    codec: int
    kind: int
    count: int
    plain: int
    stored: int

    def pack(self) -> bytes:
        head = _HEADER.pack(MAGIC, self.codec, self.kind, 0, self.count, self.plain, self.stored)
        return head + zlib.crc32(head).to_bytes(4, "little")


class _Contexts(threading.local):
    """zstd contexts must not be shared between threads."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        if level not in self.compressors:
            self.compressors[level] = zstandard.ZstdCompressor(
                level=level, write_checksum=False, write_content_size=True
            )
        return self.compressors[level]


_contexts = _Contexts()


def encode_block(kind: BlockKind, objects: Sequence[Buffer], settings: CompressionSettings) -> bytes:
    """A whole block: header and payload. Stored raw where compression saves less than 1/32."""
    plain = objects[0] if len(objects) == 1 else b"".join((*objects, pack_lengths(objects)))
    codec, payload = RAW, plain
    level = None
    if settings.name == "zstd" and len(plain) >= 64:
        large = len(objects) == 1 and len(plain) >= SAMPLED
        level = _level_for(plain, settings.level) if large else settings.level
    if level is not None:
        packed = _contexts.compressor(level).compress(plain)
        if len(packed) <= len(plain) - len(plain) // 32:
            codec, payload = ZSTD, packed
    head = BlockHeader(codec, kind, len(objects), len(plain), len(payload)).pack()
    return b"".join((head, payload))


def _level_for(plain: Buffer, asked: int) -> int | None:
    """The level for a large object, None where it does not shrink: media and what is compressed already are
    not gone through whole. Where less than half can be saved, a higher level finds little more, in twice
    the time: only who asks for one above the usual has it all the same.
    """
    step = len(plain) // PIECES
    pieces = b"".join(plain[at : at + PIECE] for at in range(0, step * PIECES, step))
    tried = len(_contexts.compressor(FAST).compress(pieces))
    if tried >= len(pieces) - len(pieces) // 64:
        return None
    return min(FAST, asked) if asked <= USUAL and tried > len(pieces) // 2 else asked


def compress(plain: Buffer) -> bytes:
    """One zstd frame that states its content's size, made fast: for what is kept twice."""
    return _contexts.compressor(FAST).compress(plain)


def decompress(frame: Buffer, most: int) -> bytes:
    """What `compress` was given. Raises `Damaged`, also for more than `most` bytes."""
    try:
        if not 0 <= zstandard.frame_content_size(frame) <= most:
            raise Damaged("a compressed frame does not have the size that it states")
        return _contexts.decompressor.decompress(frame)
    except zstandard.ZstdError as error:
        raise Damaged(f"a compressed frame does not decode ({error})") from error


def pack_lengths(objects: Sequence[Buffer]) -> bytes:
    """Ends the plain form of a block of several objects, so that it can be taken apart alone."""
    return struct.pack(f"<{len(objects)}I", *map(len, objects))


def read_header(data: bytes | memoryview, what: str) -> BlockHeader:
    """Raises `Damaged` unless `data` starts with a sound block header."""
    head = bytes(data[:HEADER_SIZE])
    if len(head) < HEADER_SIZE or head[:4] != MAGIC:
        raise Damaged(f"{what}: no block begins here")
    if zlib.crc32(head[:-4]) != int.from_bytes(head[-4:], "little"):
        raise Damaged(f"{what}: the block's header is damaged")
    _, codec, kind, _, count, plain, stored = _HEADER.unpack_from(head)
    if plain > MAX_PLAIN or (codec == RAW and stored != plain) or codec not in (RAW, ZSTD):
        raise Damaged(f"{what}: the block's header is not possible")
    return BlockHeader(codec, kind, count, plain, stored)


def decode_block(data: bytes | memoryview, what: str) -> tuple[BlockHeader, bytes | memoryview]:
    """Header and plain bytes of the block that `data` is. Raises `Damaged`."""
    header = read_header(data, what)
    payload = memoryview(data)[HEADER_SIZE : HEADER_SIZE + header.stored]
    if len(payload) != header.stored:
        raise Damaged(f"{what}: the block is cut short")
    if header.codec == RAW:
        return header, payload
    try:
        # The frame states its size, too, and it is the one that zstd would allocate.
        if zstandard.frame_content_size(payload) != header.plain:
            raise Damaged(f"{what}: the block's sizes disagree")
        plain = _contexts.decompressor.decompress(payload)
    except zstandard.ZstdError as error:
        raise Damaged(f"{what}: the block does not decode ({error})") from error
    if len(plain) != header.plain:
        raise Damaged(f"{what}: the block's sizes disagree")
    return header, plain


def object_lengths(header: BlockHeader, plain: bytes | memoryview, what: str) -> tuple[int, ...]:
    """The lengths in bytes of a block's objects, from the block alone. Raises `Damaged`."""
    if header.count == 1:
        return (header.plain,)
    table = 4 * header.count
    if header.count == 0 or table > header.plain:
        raise Damaged(f"{what}: the block's table of lengths is damaged")
    lengths = struct.unpack(f"<{header.count}I", plain[header.plain - table :])
    if sum(lengths) != header.plain - table:
        raise Damaged(f"{what}: the block's table of lengths is damaged")
    return lengths
