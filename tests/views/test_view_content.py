"""Where the data of an open file lies."""

from hypothesis import given
from hypothesis import strategies as st

from backup.model.entry import Extent
from backup.model.ids import ObjectId
from backup.objects.reader import ObjectReader
from backup.storage.memory import MemoryStorage
from backup.views.content import BytesContent, ChunkContent, FileContent

CHUNK = ObjectId(bytes(range(32)))
READER = ObjectReader(MemoryStorage(), lambda _: None, lambda _: CHUNK)


def file_of(runs: list[tuple[int, bool]]) -> FileContent:
    """`runs`: length, and whether it is data."""
    extents, end = [], 0
    for length, data in runs:
        end += length
        extents.append(Extent(end, CHUNK if data else None))
    return FileContent(READER, tuple(extents), lambda: b"path", False)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans())))
def test_data_is_found_from_every_offset(runs: list[tuple[int, bool]]) -> None:
    content = file_of(runs)
    there = [data for length, data in runs for _ in range(length)]
    size = len(there)
    for offset in range(size + 2):
        start = next((at for at in range(offset, size) if there[at]), size)
        end = next((at for at in range(start, size) if not there[at]), size)
        assert content.data_extent(offset) == (start, end)


def test_all_else_is_data() -> None:
    for content in (BytesContent(b"12345"), ChunkContent(READER, CHUNK, 5, lambda: b"path", False)):
        assert [content.data_extent(offset) for offset in (0, 3, 5, 9)] == [(0, 5), (3, 5), (5, 5), (5, 5)]


def test_what_a_long_list_of_chunks_takes_is_told() -> None:
    assert file_of([(1, True)] * 1000).cost > 1000
