"""Footers and segments: what they describe is what was written, and what cannot be is refused."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.errors import Damaged
from backup.model.ids import PackId, SegmentId
from backup.objects.block import HEADER_SIZE, MAX_PLAIN, BlockKind, CompressionSettings, encode_block
from backup.objects.hashing import HASH_NAMES, name_of
from backup.objects.pack import (
    TRAILER_SIZE,
    BlockRecord,
    PackRecord,
    decode_footer,
    encode_footer,
    encode_trailer,
    places,
    read_footer,
)
from backup.objects.segment import decode_segment, encode_segment
from tests.objects.samples import codec, compressions, damaged, name, names, never_but_our_own

members = st.lists(st.tuples(names, st.integers(0, 5000)), min_size=1, max_size=6)


@st.composite
def pack_records(draw: st.DrawFn) -> PackRecord:
    blocks, offset = [], 8
    for objects in draw(st.lists(members, max_size=5)):
        size = HEADER_SIZE + draw(st.integers(0, 9000))
        table = 4 * len(objects) if len(objects) > 1 else 0
        plain = sum(length for _, length in objects) + table
        codec, kind = draw(st.integers(0, 1)), draw(st.integers(0, 1))
        blocks.append(BlockRecord(offset, size, plain, codec, kind, tuple(objects)))
        offset += size
    return PackRecord(PackId(draw(names)), offset + draw(st.integers(0, 500)), tuple(blocks))


def tail_of(pack: PackRecord, compression: CompressionSettings) -> bytes:
    return encode_trailer(encode_block(BlockKind.FOOTER, [encode_footer(pack.blocks)], compression))


@codec
@given(pack_records())
def test_a_footer_gives_back_its_blocks(pack: PackRecord) -> None:
    assert decode_footer(encode_footer(pack.blocks), pack.size, "pack") == pack.blocks


@codec
@given(pack_records(), compressions)
def test_a_packs_tail_says_how_much_of_it_is_needed_then_gives_the_blocks(
    pack: PackRecord, compression: CompressionSettings
) -> None:
    tail = tail_of(pack, compression)
    size = pack.size + len(tail)
    assert read_footer(tail[-TRAILER_SIZE:], size, "pack") == len(tail)
    assert read_footer(tail, size, "pack") == pack.blocks
    assert read_footer(b"what lies before" + tail, size, "pack") == pack.blocks


@codec
@given(st.data(), pack_records(), compressions)
def test_a_damaged_tail_ends_in_damaged_or_in_blocks_that_could_be(
    data: st.DataObject, pack: PackRecord, compression: CompressionSettings
) -> None:
    tail = data.draw(damaged(tail_of(pack, compression)))
    blocks = never_but_our_own(lambda: read_footer(tail, pack.size, "pack"))
    if isinstance(blocks, tuple):
        assert all(block.offset + block.size <= pack.size and block.plain <= MAX_PLAIN for block in blocks)


@codec
@given(st.data(), pack_records())
def test_a_damaged_plain_footer_ends_in_damaged_or_in_blocks_that_could_be(
    data: st.DataObject, pack: PackRecord
) -> None:
    plain = data.draw(damaged(encode_footer(pack.blocks)))
    blocks = never_but_our_own(lambda: decode_footer(plain, pack.size, "pack"))
    if isinstance(blocks, tuple):
        for _, place in places(PackRecord(pack.id, pack.size, blocks)):
            assert place.offset + place.length <= place.plain


SOUND = BlockRecord(8, 124, 100, 0, 0, ((name(b""), 100),))
WRONG: dict[str, Callable[[BlockRecord], list[BlockRecord]]] = {
    "beyond the pack": lambda sound: [sound._replace(offset=950)],
    "smaller than a header": lambda sound: [sound._replace(size=HEADER_SIZE - 1)],
    "plain is not the sum": lambda sound: [sound._replace(plain=101)],
    "no objects": lambda sound: [sound._replace(objects=())],
    "too large": lambda sound: [
        sound._replace(plain=MAX_PLAIN + 1, objects=((name(b""), MAX_PLAIN + 1),)),
    ],
    "a gap": lambda sound: [sound, sound._replace(offset=133)],
    "an overlap": lambda sound: [sound, sound._replace(offset=131)],
}


@pytest.mark.parametrize("what", WRONG)
def test_a_footer_of_a_pack_that_cannot_be_is_damaged(what: str) -> None:
    with pytest.raises(Damaged):
        decode_footer(encode_footer(WRONG[what](SOUND)), 1000, "pack")


def test_a_footer_that_claims_more_blocks_than_it_holds_is_damaged() -> None:
    for count in (2, 2**32 - 1):
        with pytest.raises(Damaged):
            decode_footer(count.to_bytes(4, "little") + encode_footer([SOUND])[4:], 1000, "pack")


def test_a_pack_that_ends_in_a_block_of_another_kind_is_damaged() -> None:
    for kind in (BlockKind.DATA, BlockKind.TREE, BlockKind.SEGMENT):
        tail = encode_trailer(encode_block(kind, [encode_footer([SOUND])], CompressionSettings()))
        with pytest.raises(Damaged):
            read_footer(tail, 1000, "pack")


# Segments


@codec
@given(st.lists(pack_records(), max_size=4), compressions, st.sampled_from(HASH_NAMES))
def test_a_segment_gives_back_its_packs(
    packs: list[PackRecord], compression: CompressionSettings, hash_name: str
) -> None:
    named = name_of("sha256" if hash_name == "sha256" else "blake3")
    data = encode_segment(packs, compression)
    assert decode_segment(data, SegmentId(named(data)), named) == packs


@codec
@given(st.data(), st.lists(pack_records(), max_size=3), compressions)
def test_damage_to_a_segment_is_always_found(
    data: st.DataObject, packs: list[PackRecord], compression: CompressionSettings
) -> None:
    whole = encode_segment(packs, compression)
    changed = data.draw(damaged(whole).filter(lambda changed: changed != whole))
    with pytest.raises(Damaged):
        decode_segment(changed, SegmentId(name(whole)), name)


@codec
@given(st.data(), st.lists(pack_records(), min_size=1, max_size=3), compressions)
def test_a_forged_segment_with_the_right_name_ends_in_damaged_or_in_packs_that_could_be(
    data: st.DataObject, packs: list[PackRecord], compression: CompressionSettings
) -> None:
    forged = data.draw(damaged(encode_segment(packs, compression)))
    never_but_our_own(lambda: decode_segment(forged, SegmentId(name(forged)), name))


def test_a_segment_with_a_block_of_another_kind_is_damaged() -> None:
    good = encode_segment([PackRecord(PackId(name(b"")), 1000, (SOUND,))], CompressionSettings())
    block = encode_block(BlockKind.FOOTER, [encode_footer([SOUND])], CompressionSettings())
    with pytest.raises(Damaged):
        decode_segment(good + block, SegmentId(name(good + block)), name)
