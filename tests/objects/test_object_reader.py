"""Reading objects: only bytes that hash to their name come out, and a block is decoded once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId
from backup.objects.block import BlockKind, CompressionSettings
from backup.objects.pack import PackRecord, Place, pack_key, places
from backup.objects.reader import ObjectReader, read_pack_footer
from backup.objects.writer import PackWriter
from backup.storage import MemoryStorage
from tests.objects.samples import codec, damaged, name, never_but_our_own

DATA = [b"%d: some text that compresses\n" % number * 9 for number in range(40)]


class Stored:
    """A pack of `DATA`, and where each object of it lies. Counts what is read."""

    def __init__(self, data: list[bytes], kind: str = "zstd") -> None:
        self.storage = CountingStorage()
        self.packs: list[PackRecord] = []
        compression = CompressionSettings(kind, 3)
        writer = PackWriter(self.storage, BlockKind.DATA, "blake3", compression, 1 << 20, self.packs.append)
        for piece in data:
            writer.add(name(piece), piece)
        writer.finish()
        self.places: dict[ObjectId, Place] = dict(places(self.packs[0]))

    def reader(self, cache_size: int = 1 << 20) -> ObjectReader:
        return ObjectReader(self.storage, self.places.get, name, cache_size=cache_size)

    @property
    def key(self) -> str:
        return pack_key(self.packs[0].id)


class CountingStorage(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def read(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        self.reads += 1
        self.meanwhile()
        return super().read(key, offset, size)


@pytest.mark.parametrize("kind", ["zstd", "none"])
def test_every_object_comes_back(kind: str) -> None:
    reader = Stored(DATA, kind).reader()
    assert [bytes(reader.read(name(piece))) for piece in DATA] == DATA


def test_neighbours_in_a_block_are_read_with_it() -> None:
    stored = Stored(DATA)
    reader = stored.reader()
    for piece in DATA:
        reader.read(name(piece))
    assert stored.storage.reads == 1
    assert reader.read_quickly(name(DATA[0])) == DATA[0]


def test_many_readers_of_one_block_decode_it_once() -> None:
    stored = Stored(DATA)
    reader = stored.reader()
    together = threading.Barrier(8)
    stored.storage.meanwhile = lambda: threading.Event().wait(0.05)

    def read(number: int) -> bytes:
        together.wait()
        return bytes(reader.read(name(DATA[number])))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(8))) == DATA[:8]
    assert stored.storage.reads == 1


def test_readers_that_wait_for_a_block_that_fails_all_get_the_error() -> None:
    stored = Stored(DATA)
    del stored.storage.files[stored.key]
    reader = stored.reader()
    together = threading.Barrier(4)

    def read(number: int) -> str:
        together.wait()
        with pytest.raises(Damaged) as caught:
            reader.read(name(DATA[number]))
        return str(caught.value)

    with ThreadPoolExecutor(4) as pool:
        assert all("missing" in text for text in pool.map(read, range(4)))


def test_a_small_cache_keeps_what_was_used_last() -> None:
    large = [bytes([number]) * 300_000 for number in range(4)]
    stored = Stored(large)
    reader = stored.reader(cache_size=650_000)
    for number in (0, 1, 0, 2, 0):
        assert bytes(reader.read(name(large[number]))) == large[number]
    assert stored.storage.reads == 3
    reader.read(name(large[1]))
    assert stored.storage.reads == 4


@codec
@given(st.data())
def test_damage_to_a_pack_never_lets_a_wrong_byte_out(data: st.DataObject) -> None:
    stored = Stored(DATA[:5], data.draw(st.sampled_from(["zstd", "none"])))
    stored.storage.files[stored.key] = data.draw(damaged(stored.storage.files[stored.key]))
    reader = stored.reader()
    for piece in DATA[:5]:
        found = never_but_our_own(lambda piece=piece: bytes(reader.read(name(piece))))  # type: ignore[misc]
        assert found in (None, piece)


def test_damage_to_one_object_of_a_block_leaves_the_others_readable() -> None:
    stored = Stored(DATA, "none")
    place = stored.places[name(DATA[3])]
    whole = bytearray(stored.storage.files[stored.key])
    whole[place.block_offset + 24 + place.offset] ^= 1
    stored.storage.files[stored.key] = bytes(whole)
    reader = stored.reader()
    with pytest.raises(Damaged):
        reader.read(name(DATA[3]))
    assert bytes(reader.read(name(DATA[4]))) == DATA[4]


def test_what_was_damaged_is_read_again_once_the_pack_is_whole_again() -> None:
    stored = Stored(DATA)
    whole = stored.storage.files[stored.key]
    stored.storage.files[stored.key] = whole[:100]
    reader = stored.reader()
    with pytest.raises(Damaged):
        reader.read(name(DATA[0]))
    stored.storage.files[stored.key] = whole
    assert bytes(reader.read(name(DATA[0]))) == DATA[0]


def test_an_index_that_names_another_objects_place_is_found_even_where_that_one_was_read_before() -> None:
    """The index is derived: damage to it must not turn one file into another."""
    stored = Stored(DATA)
    right, wrong = name(DATA[0]), name(DATA[1])
    stored.places[wrong] = stored.places[right]
    reader = stored.reader()
    assert bytes(reader.read(right)) == DATA[0]
    with pytest.raises(Damaged):
        reader.read(wrong)


def test_an_index_that_names_a_part_of_an_object_is_found_even_where_all_of_it_was_read_before() -> None:
    stored = Stored(DATA)
    object_id = name(DATA[0])
    reader = stored.reader()
    reader.read(object_id)
    stored.places[object_id] = stored.places[object_id]._replace(length=5)
    with pytest.raises(Damaged):
        reader.read(object_id)


places_in = st.builds(
    Place, st.just(PackId(bytes(32))), *[st.integers(0, 2**32 - 1)] * 3, st.integers(0, 1),
    *[st.integers(0, 2**32 - 1)] * 2,
)  # fmt: skip


@codec
@given(places_in)
def test_a_place_that_cannot_be_is_damage(place: Place) -> None:
    stored = Stored(DATA[:5])
    stored.places[name(DATA[0])] = place._replace(pack=stored.packs[0].id)
    with pytest.raises(Damaged):
        stored.reader().read(name(DATA[0]))


def test_an_object_that_no_pack_holds_is_missing() -> None:
    with pytest.raises(Damaged, match="missing"):
        Stored(DATA).reader().read(name(b"never stored"))


def test_a_pack_shorter_than_it_was_said_to_be_is_damaged_and_not_read_for_ever() -> None:
    stored = Stored([b"%d" % number for number in range(3000)])
    pack = stored.packs[0]
    stored.storage.meanwhile = _at_most(20)
    with pytest.raises(Damaged):
        read_pack_footer(stored.storage, pack.id, pack.size + 10)


def _at_most(times: int) -> Callable[[], None]:
    left = iter(range(times))

    def step() -> None:
        assert next(left, None) is not None, "read again and again"

    return step


class Later:
    """Does what it is given when it is told to."""

    def __init__(self) -> None:
        self.tasks: list[Callable[[], None]] = []

    def __call__(self, task: Callable[[], None]) -> None:
        self.tasks.append(task)

    def work(self) -> None:
        while self.tasks:
            self.tasks.pop(0)()


#: Each a block of its own.
IN_ORDER = [bytes([number]) * 400_000 for number in range(6)]


def test_the_next_block_is_decoded_ahead_where_blocks_are_read_in_order() -> None:
    stored = Stored(IN_ORDER)
    reader = stored.reader(1 << 30)
    ahead = Later()
    reader.read_ahead(ahead)
    for number, piece in enumerate(IN_ORDER):
        reads = stored.storage.reads
        assert reader.read(name(piece)) == piece
        # The first two show the order; from then on each was decoded ahead.
        assert stored.storage.reads - reads == (1 if number < 2 else 0)
        ahead.work()
        reads = stored.storage.reads
        assert reader.read(name(piece)) == piece
        ahead.work()
        assert stored.storage.reads == reads, "once for each block that is read"


def test_objects_of_a_block_that_was_decoded_ahead_are_neither_looked_up_nor_checked_again() -> None:
    pieces = [bytes([number]) * 100_000 for number in range(12)]
    stored = Stored(pieces)
    asked: list[ObjectId] = []

    def locate(object_id: ObjectId) -> Place | None:
        asked.append(object_id)
        return stored.places.get(object_id)

    reader = ObjectReader(stored.storage, locate, name, cache_size=1 << 30)
    ahead = Later()
    reader.read_ahead(ahead)
    for piece in pieces:
        assert reader.read(name(piece)) == piece
        assert reader.read_quickly(name(piece)) == piece
        ahead.work()
    assert len(asked) < len(pieces)
    asked.clear()
    assert [reader.read(name(piece)) for piece in pieces[-4:]] == pieces[-4:]
    assert not asked


def test_what_was_decoded_ahead_is_given_up_with_its_block() -> None:
    stored = Stored(IN_ORDER)
    reader = stored.reader(900_000)
    ahead = Later()
    reader.read_ahead(ahead)
    for piece in [*IN_ORDER, *IN_ORDER]:
        assert reader.read(name(piece)) == piece
        ahead.work()
    reads = stored.storage.reads
    assert reader.read(name(IN_ORDER[0])) == IN_ORDER[0]
    assert stored.storage.reads == reads + 1


def test_nothing_is_decoded_ahead_of_reads_that_jump() -> None:
    stored = Stored(IN_ORDER)
    reader = stored.reader(1 << 30)
    ahead = Later()
    reader.read_ahead(ahead)
    for number in (5, 4, 3, 2, 1, 0):
        reader.read(name(IN_ORDER[number]))
        ahead.work()
    assert stored.storage.reads == 6


def test_damage_ahead_is_met_when_it_is_read() -> None:
    stored = Stored(IN_ORDER)
    start = stored.places[name(IN_ORDER[2])].block_offset
    whole = stored.storage.files[stored.key]
    stored.storage.files[stored.key] = whole[: start + 2] + b"?" + whole[start + 3 :]
    reader = stored.reader(1 << 30)
    ahead = Later()
    reader.read_ahead(ahead)
    for piece in IN_ORDER[:2]:
        reader.read(name(piece))
        ahead.work()
    with pytest.raises(Damaged):
        reader.read(name(IN_ORDER[2]))
    assert reader.read(name(IN_ORDER[3])) == IN_ORDER[3]
