"""Parity mends what small rot does to a pack, and never gives a wrong byte."""

import random
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.errors import Damaged
from backup.model.ids import PackId
from backup.objects.hashing import name_of
from backup.objects.pack import pack_key
from backup.objects.parity import (
    CELL,
    Parity,
    mended_pack,
    pack_files,
    parity_key,
    parity_size,
    write_parity,
)
from backup.storage import MemoryStorage
from tests.objects.samples import few


def stored(size: int, percent: int) -> tuple[MemoryStorage, PackId, bytes]:
    data = random.Random(size).randbytes(size)
    storage, pack = MemoryStorage(), PackId(name_of("blake3")(data))
    storage.put(pack_key(pack), data)
    write_parity(storage, pack, size, percent)
    return storage, pack, data


def harm(storage: MemoryStorage, key: str, how: Callable[[bytearray], object]) -> None:
    data = bytearray(storage.files[key])
    how(data)
    storage.files[key] = bytes(data)


def mended(storage: MemoryStorage, pack: PackId) -> bytes:
    return b"".join(mended_pack(storage, pack, "blake3"))


def spoil(start: int, length: int) -> Callable[[bytearray], object]:
    return lambda data: data.__setitem__(slice(start, start + length), bytes(length))


@pytest.mark.parametrize("percent", [1, 3, 5, 10, 50, 100])
@pytest.mark.parametrize("size", [1, CELL, 100_000, 3_000_001])
def test_a_run_as_long_as_the_parity_is_mended_wherever_it_lies(size: int, percent: int) -> None:
    storage, pack, data = stored(size, percent)
    layout = Parity(storage, pack).layout
    run = min(size, max(1, (2 * layout.rows - 1) * CELL))
    for start in (0, (size - run) // 2, size - run):
        storage.files[pack_key(pack)] = data
        harm(storage, pack_key(pack), spoil(start, run))
        assert mended(storage, pack) == data
    assert len(storage.files[parity_key(pack)]) == parity_size(size, percent)


def test_parity_takes_about_as_much_as_was_asked_for() -> None:
    for percent in (1, 5, 20, 100):
        assert parity_size(16 << 20, percent) / (16 << 20) == pytest.approx(percent / 100, rel=0.3)


@few
@given(st.data())
def test_whatever_rots_the_bytes_are_right_or_there_are_none(data: st.DataObject) -> None:
    storage, pack, whole = stored(300_000, 10)
    for key in pack_files(pack):
        for _ in range(data.draw(st.integers(0, 4))):
            size = len(storage.files[key])
            start = data.draw(st.integers(0, size - 1))
            harm(storage, key, spoil(start, data.draw(st.integers(1, 20_000))))
            storage.files[key] = storage.files[key][:size]
    with suppress(Damaged):
        assert mended(storage, pack) == whole


@pytest.mark.parametrize("end", [0, -1])
def test_all_that_is_needed_to_mend_stands_twice(end: int) -> None:
    storage, pack, data = stored(500_000, 5)
    layout = Parity(storage, pack).layout
    size = len(storage.files[parity_key(pack)])
    if end:
        harm(storage, parity_key(pack), spoil(layout.table + layout.table_size, size))
        storage.files[parity_key(pack)] = storage.files[parity_key(pack)][:size]
    else:
        harm(storage, parity_key(pack), spoil(0, 40))
        harm(storage, parity_key(pack), spoil(layout.table, layout.table_size))
    harm(storage, pack_key(pack), spoil(1000, 5000))
    assert mended(storage, pack) == data
    assert not Parity(storage, pack).sound()


def test_a_pack_cut_short_is_mended() -> None:
    storage, pack, data = stored(500_000, 5)
    storage.files[pack_key(pack)] = data[:-20_000]
    assert mended(storage, pack) == data


def test_a_range_is_read_across_cells() -> None:
    storage, pack, data = stored(100_000, 20)
    harm(storage, pack_key(pack), spoil(CELL - 10, 20))
    for offset, length in ((0, 5), (CELL - 20, 40), (99_990, 100), (3 * CELL, CELL)):
        assert Parity(storage, pack).read(offset, length) == data[offset : offset + length]
