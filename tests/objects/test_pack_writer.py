"""Writing packs: each hashes to its name and says in its footer what it holds, whatever interrupts it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.errors import ImbfsError
from backup.model.ids import ObjectId, PackId
from backup.objects.block import MAX_PLAIN, BlockKind, CompressionSettings
from backup.objects.hashing import HashName, name_of
from backup.objects.pack import PackRecord, pack_key
from backup.objects.reader import read_pack_footer
from backup.objects.writer import BLOCK_SIZE, PackWriter
from backup.storage import LocalStorage, Storage
from backup.storage.memory import MemoryStaged, MemoryStorage
from tests.objects.samples import few, name

PACK_SIZE = 64 << 10


def new_writer(
    storage: Storage,
    packs: list[PackRecord],
    hash_name: HashName = "blake3",
    pack_size: int = PACK_SIZE,
) -> PackWriter:
    compression = CompressionSettings()
    return PackWriter(storage, BlockKind.DATA, hash_name, compression, pack_size, packs.append)


def noise(number: int, size: int) -> bytes:
    return b"".join(name(b"%d %d" % (number, at)) for at in range(size // 32 + 1))[:size]


def written(data: list[bytes], hash_name: HashName = "blake3") -> tuple[MemoryStorage, list[PackRecord]]:
    storage, packs = MemoryStorage(), list[PackRecord]()
    writer = new_writer(storage, packs, hash_name)
    for piece in data:
        writer.add(name_of(hash_name)(piece), piece)
    writer.finish()
    return storage, packs


@few
@given(st.lists(st.integers(0, 40_000), max_size=12), st.sampled_from(["blake3", "sha256"]))
def test_every_pack_hashes_to_its_name_and_its_footer_lists_all_objects(
    sizes: list[int], hash_name: HashName
) -> None:
    data = [noise(number, size) for number, size in enumerate(sizes)]
    storage, packs = written(data, hash_name)
    assert storage.files.keys() == {pack_key(pack.id) for pack in packs}
    for pack in packs:
        whole = storage.files[pack_key(pack.id)]
        assert bytes(name_of(hash_name)(whole)) == pack.id
        assert len(whole) == pack.size
        assert read_pack_footer(storage, pack.id, pack.size) == pack.blocks
    listed = [item for pack in packs for block in pack.blocks for item in block.objects]
    assert listed == [(name_of(hash_name)(piece), len(piece)) for piece in data]


def test_small_objects_share_a_block_and_a_large_one_has_its_own() -> None:
    _, packs = written([b"a" * 10, b"b" * 10, noise(1, BLOCK_SIZE), b"c" * 10])
    assert sorted(len(block.objects) for pack in packs for block in pack.blocks) == [1, 3]


def test_nothing_to_write_is_no_pack() -> None:
    assert written([])[0].files == {}


def test_a_pack_is_closed_once_it_is_large_enough() -> None:
    _, packs = written([noise(number, BLOCK_SIZE) for number in range(3)])
    assert [len(pack.blocks) for pack in packs] == [1, 1, 1]


def test_a_footer_longer_than_what_is_read_at_first_is_read_whole() -> None:
    storage, packs = MemoryStorage(), list[PackRecord]()
    writer = new_writer(storage, packs, pack_size=16 << 20)
    for number in range(5000):
        data = b"%d" % number
        writer.add(name(data), data)
    writer.finish()
    (pack,) = packs
    assert read_pack_footer(storage, pack.id, pack.size) == pack.blocks


def test_an_object_larger_than_the_format_holds_is_refused() -> None:
    with pytest.raises(ImbfsError):
        new_writer(MemoryStorage(), []).add(ObjectId(bytes(32)), bytes(MAX_PLAIN + 1))


def test_what_is_discarded_leaves_nothing_behind() -> None:
    storage, packs = MemoryStorage(), list[PackRecord]()
    writer = new_writer(storage, packs)
    writer.add(name(b"kept back"), b"kept back")
    writer.discard()
    writer.finish()
    assert (storage.files, packs) == ({}, [])


@pytest.mark.parametrize("fits", range(3))
def test_a_full_disk_leaves_no_file_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: int) -> None:
    """Not even where not one byte fits."""
    write, left = os.write, [None] * fits

    def fill(descriptor: int, data: bytes) -> int:
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left.pop()
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", fill)
    writer = new_writer(LocalStorage(tmp_path), [])
    with pytest.raises(OSError, match="No space"):
        writer.add(name(b"large"), noise(1, BLOCK_SIZE))
    assert list((tmp_path / "tmp").iterdir()) == []


class InterruptedStorage(MemoryStorage):
    """Ctrl-C arrives while the write of that number is under way, with some or all of it done."""

    def __init__(self, at: int, share: float) -> None:
        super().__init__()
        self.at, self.share = at, share

    def stage(self) -> MemoryStaged:
        return _InterruptedStaged(self, self._interrupt)

    def _interrupt(self) -> float | None:
        self.at -= 1
        return self.share if self.at == 0 else None


class _InterruptedStaged(MemoryStaged):
    def __init__(self, storage: MemoryStorage, interrupt: Callable[[], float | None]) -> None:
        super().__init__(storage)
        self._interrupt = interrupt

    def append(self, data: bytes | memoryview) -> None:
        share = self._interrupt()
        if share is not None:
            super().append(data[: int(len(data) * share)])
            raise KeyboardInterrupt
        super().append(data)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("at", range(1, 9))
def test_a_write_interrupted_anywhere_never_makes_a_pack_of_other_bytes_than_its_name_says(
    at: int, share: float
) -> None:
    """A backup that is interrupted writes out what waits, so that the next one finds it stored."""
    storage, packs = InterruptedStorage(at, share), list[PackRecord]()
    writer = new_writer(storage, packs, pack_size=3 * BLOCK_SIZE)
    data = [noise(number, BLOCK_SIZE) for number in range(6)]
    try:
        for piece in data:
            writer.add(name(piece), piece)
        writer.finish()
    except KeyboardInterrupt:
        writer.finish()
    for key, whole in storage.files.items():
        pack = PackId(name(whole))
        assert key == pack_key(pack)
        for block in read_pack_footer(storage, pack, len(whole)):
            assert whole[block.offset : block.offset + 4] == b"IBLK"
