"""Blocks: what goes in comes out, and damage or a forged size never gets through."""

import random
import struct
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from backup.model.errors import Damaged
from backup.objects.block import (
    HEADER_SIZE,
    MAX_PLAIN,
    RAW,
    ZSTD,
    BlockHeader,
    BlockKind,
    CompressionSettings,
    decode_block,
    encode_block,
    object_lengths,
)
from tests.objects.samples import codec, compressions, damaged, few, never_but_our_own

MIB = 1 << 20

kinds = st.sampled_from(BlockKind)
objects = st.lists(st.one_of(st.binary(max_size=80), st.binary(max_size=8).map(lambda b: b * 50)), min_size=1)


def taken_apart(block: bytes) -> list[bytes]:
    header, plain = decode_block(block, "block")
    found, start = [], 0
    for length in object_lengths(header, plain, "block"):
        found.append(bytes(plain[start : start + length]))
        start += length
    return found


def forged(codec: int, count: int, plain: int, payload: bytes) -> bytes:
    return BlockHeader(codec, BlockKind.DATA, count, plain, len(payload)).pack() + payload


@codec
@given(objects, kinds, compressions)
def test_a_block_gives_back_its_objects_without_a_footer(
    data: list[bytes], kind: BlockKind, compression: CompressionSettings
) -> None:
    block = encode_block(kind, data, compression)
    assert taken_apart(block) == data
    assert decode_block(block, "block")[0].kind == kind


@pytest.mark.parametrize("level", [-7, 1, 3, 19])
def test_what_compresses_is_stored_smaller_at_every_level(level: int) -> None:
    block = encode_block(BlockKind.DATA, [b"line\n" * 20_000], CompressionSettings("zstd", level))
    assert len(block) < 2000
    assert taken_apart(block) == [b"line\n" * 20_000]


def test_what_does_not_compress_is_stored_as_it_is() -> None:
    data = bytes(value * 167 % 256 for value in range(63))
    assert encode_block(BlockKind.DATA, [data], CompressionSettings())[HEADER_SIZE:] == data


def letters(size: int) -> bytes:
    """Nothing repeats, and five bits tell eight: what a higher level finds no more in."""
    return bytes(random.Random(1).choices(b"abcdefghijklmnopqrstuvwxyz012345", k=size))


@pytest.mark.parametrize(
    ("size", "asked", "made"), [(MIB, 3, 1), (MIB, 19, 19), (MIB, 1, 1), (MIB // 5, 3, 3)]
)
def test_a_large_block_that_shrinks_by_less_than_half_is_compressed_fast_unless_more_was_asked_for(
    size: int, asked: int, made: int
) -> None:
    block = encode_block(BlockKind.DATA, [letters(size)], CompressionSettings("zstd", asked))
    compressor = zstandard.ZstdCompressor(level=made, write_checksum=False, write_content_size=True)
    assert block[HEADER_SIZE:] == compressor.compress(letters(size))


def test_a_large_block_that_shrinks_well_is_compressed_at_the_level_of_the_repository() -> None:
    plain = b"".join(b"line %d\n" % (number * 7919) for number in range(60_000))
    block = encode_block(BlockKind.DATA, [plain], CompressionSettings("zstd", 3))
    assert block[HEADER_SIZE:] == zstandard.ZstdCompressor(level=3, write_checksum=False).compress(plain)


def test_without_compression_everything_is_stored_as_it_is() -> None:
    data = b"a" * 5000
    assert encode_block(BlockKind.DATA, [data], CompressionSettings("none", 0))[HEADER_SIZE:] == data


@codec
@given(st.data(), objects, kinds, compressions)
def test_damage_to_a_header_is_always_found(
    data: st.DataObject, members: list[bytes], kind: BlockKind, compression: CompressionSettings
) -> None:
    block = encode_block(kind, members, compression)
    at = data.draw(st.integers(0, HEADER_SIZE - 1))
    flip = data.draw(st.integers(1, 255))
    with pytest.raises(Damaged):
        decode_block(block[:at] + bytes([block[at] ^ flip]) + block[at + 1 :], "block")


@codec
@given(st.data(), objects, compressions)
def test_a_block_cut_short_is_damaged(
    data: st.DataObject, members: list[bytes], compression: CompressionSettings
) -> None:
    block = encode_block(BlockKind.DATA, members, compression)
    with pytest.raises(Damaged):
        decode_block(block[: data.draw(st.integers(0, len(block) - 1))], "block")


@codec
@given(st.data(), objects, compressions)
def test_whatever_a_damaged_block_holds_ends_in_damaged_or_in_bytes(
    data: st.DataObject, members: list[bytes], compression: CompressionSettings
) -> None:
    block = data.draw(damaged(encode_block(BlockKind.DATA, members, compression)))
    never_but_our_own(lambda: taken_apart(block))


@few
@given(st.integers(0, 5), st.integers(0, 300), st.binary(max_size=300))
def test_a_forged_header_with_a_sound_crc_ends_in_damaged_or_in_bytes(
    count: int, plain: int, payload: bytes
) -> None:
    for number in (RAW, ZSTD, 2, 255):
        never_but_our_own(lambda number=number: taken_apart(forged(number, count, plain, payload)))  # type: ignore[misc]


def test_a_block_larger_than_the_format_allows_is_refused_by_its_header() -> None:
    with pytest.raises(Damaged):
        decode_block(forged(ZSTD, 1, MAX_PLAIN + 1, b"x"), "block")


@pytest.mark.parametrize("stated", [100, MAX_PLAIN])
@pytest.mark.parametrize("with_size", [True, False])
def test_a_small_frame_that_unpacks_to_much_is_refused_at_once(stated: int, with_size: bool) -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=with_size).compress(bytes(300 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(Damaged):
            decode_block(forged(ZSTD, 1, stated, bomb), "block")
        assert tracemalloc.get_traced_memory()[1] < stated + MIB
    finally:
        tracemalloc.stop()


def test_a_frame_that_lies_about_its_own_size_is_refused() -> None:
    bomb = bytearray(zstandard.ZstdCompressor().compress(bytes(70_000)))
    at = bomb.index(struct.pack("<I", 70_000))
    bomb[at : at + 4] = struct.pack("<I", 100_000)
    with pytest.raises(Damaged):
        decode_block(forged(ZSTD, 1, 100_000, bytes(bomb)), "block")


@pytest.mark.parametrize("lengths", [(3, 4), (2**32 - 1, 8), (0, 0)])
def test_a_table_of_lengths_that_does_not_add_up_is_damaged(lengths: tuple[int, int]) -> None:
    plain = b"sevenxx!" + struct.pack("<2I", *lengths)
    block = forged(RAW, 2, len(plain), plain)
    with pytest.raises(Damaged):
        taken_apart(block)


def test_a_block_of_no_objects_or_of_more_than_it_has_room_for_is_damaged() -> None:
    for count in (0, 100, 2**32 - 1):
        with pytest.raises(Damaged):
            taken_apart(forged(RAW, count, 8, b"12345678"))


def test_the_header_is_what_the_format_says() -> None:
    block = encode_block(BlockKind.TREE, [b"one", b"twos"], CompressionSettings())
    head = b"IBLK" + bytes([0, 1, 0, 0]) + struct.pack("<III", 2, 15, 15)
    assert block == head + struct.pack("<I", zlib.crc32(head)) + b"onetwos" + struct.pack("<II", 3, 4)
