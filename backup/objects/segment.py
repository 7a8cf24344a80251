"""Index segments: small immutable files that say which packs hold which objects.

`docs/format.md`, "Segments". They spare a new machine from reading every pack's footer.
"""

import struct
from collections.abc import Iterable, Iterator

from backup.model.errors import Damaged
from backup.model.ids import ID_SIZE, PackId, SegmentId
from backup.objects.block import (
    HEADER_SIZE,
    BlockKind,
    CompressionSettings,
    decode_block,
    encode_block,
    read_header,
)
from backup.objects.hashing import NameOf, require_name
from backup.objects.pack import PackRecord, decode_footer, encode_footer

FILE_MAGIC = b"imbsegm\x01"
PREFIX = "index"
_PACK = struct.Struct(f"<{ID_SIZE}sQ")


def segment_key(segment: SegmentId) -> str:
    return f"{PREFIX}/{segment.hex()}"


def encode_segment(packs: Iterable[PackRecord], settings: CompressionSettings) -> bytes:
    """A segment's bytes: a block for each pack."""
    parts = [FILE_MAGIC]
    for pack in packs:
        plain = _PACK.pack(pack.id, pack.size) + encode_footer(pack.blocks)
        parts.append(encode_block(BlockKind.SEGMENT, [plain], settings))
    return b"".join(parts)


def decode_segment(data: bytes, segment: SegmentId, name: NameOf) -> list[PackRecord]:
    """The packs that a segment lists. Raises `Damaged`."""
    what = f"index segment {segment.hex()[:12]}"
    require_name(name, data, segment, what)
    if data[: len(FILE_MAGIC)] != FILE_MAGIC:
        raise Damaged(f"{what}: not a segment of this format")
    return [_decode_pack(plain, what) for plain in _blocks(memoryview(data)[len(FILE_MAGIC) :], what)]


def _blocks(rest: memoryview, what: str) -> Iterator[bytes | memoryview]:
    while rest:
        size = HEADER_SIZE + read_header(rest, what).stored
        header, plain = decode_block(rest[:size], what)
        if header.kind != BlockKind.SEGMENT:
            raise Damaged(f"{what}: holds a block of another kind")
        yield plain
        rest = rest[size:]


def _decode_pack(plain: bytes | memoryview, what: str) -> PackRecord:
    if len(plain) < _PACK.size:
        raise Damaged(f"{what}: an entry is cut short")
    pack, size = _PACK.unpack_from(plain)
    return PackRecord(PackId(pack), size, decode_footer(plain[_PACK.size :], size, what))
