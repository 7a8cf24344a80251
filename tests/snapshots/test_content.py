"""Extents and their lists: a file's runs come back as they were, and a list that cannot be is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.entry import Extent
from backup.model.errors import Damaged
from backup.model.ids import NO_OBJECT, ObjectId
from backup.snapshots.extents import (
    EXTENT,
    MAX_INLINE,
    MAX_LIST,
    decode_content,
    encode_content,
    listed_objects,
)
from backup.snapshots.tree import EXTRA, EXTRA_EXTENT_LISTS, EXTRA_EXTENTS, extra_fields
from tests.objects.samples import codec, damaged, few, name, names, never_but_our_own
from tests.snapshots.rows import Objects

runs = st.lists(
    st.tuples(st.integers(1, 1 << 45), st.one_of(st.none(), names.filter(lambda found: found != NO_OBJECT))),
    max_size=12,
)


def extents_of(found: list[tuple[int, ObjectId | None]]) -> list[Extent]:
    extents, end = [], 0
    for length, chunk in found:
        end += length
        extents.append(Extent(end, chunk))
    return extents


def many(count: int, *, length: int = 1 << 20, holes: bool = False) -> list[Extent]:
    return [
        Extent((at + 1) * length, None if holes and at % 2 else name(b"chunk %d" % at)) for at in range(count)
    ]


def there_and_back(extents: list[Extent]) -> tuple[tuple[Extent, ...], Objects]:
    objects = Objects()
    object_id, extra = encode_content(extents, objects.store)
    size = extents[-1].end if extents else 0
    return decode_content(size, object_id, dict(extra_fields(extra)), objects.read), objects


def decode(fields: dict[int, bytes], size: int, objects: Objects | None = None) -> tuple[Extent, ...]:
    views = {tag: memoryview(value) for tag, value in fields.items()}
    return decode_content(size, NO_OBJECT, views, (objects or Objects()).read)


@codec
@given(runs)
def test_extents_come_back(found: list[tuple[int, ObjectId | None]]) -> None:
    extents = extents_of(found)
    assert list(there_and_back(extents)[0]) == extents


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("count", [1, 2, MAX_INLINE, MAX_INLINE + 1, 20_000])
def test_extents_of_any_number_come_back(count: int, holes: bool) -> None:
    extents = many(count, holes=holes)
    found, objects = there_and_back(extents)
    assert list(found) == extents
    assert bool(objects) == (count > MAX_INLINE)


def test_a_file_of_one_chunk_needs_no_list() -> None:
    assert encode_content(many(1), Objects().store) == (many(1)[0].chunk, b"")


def test_a_file_that_is_one_hole_is_kept_as_a_hole() -> None:
    assert there_and_back([Extent(1 << 40, None)])[0] == (Extent(1 << 40, None),)


def test_lists_are_never_longer_than_the_format_says() -> None:
    _, objects = there_and_back([Extent(at + 1, name(b"the same")) for at in range(3 * MAX_LIST)])
    assert max(map(len, objects.values())) <= MAX_LIST * EXTENT.size


def test_a_change_in_the_middle_of_a_huge_file_rewrites_a_small_part_of_its_lists() -> None:
    before = many(50_000)
    middle = [Extent(extent.end + 777, extent.chunk) for extent in before[25_000:]]
    after = [*before[:25_000], Extent(before[24_999].end + 777, name(b"inserted")), *middle]
    old, new = there_and_back(before)[1], there_and_back(after)[1]
    assert len(old) > 20
    assert len(new.keys() - old.keys()) <= 2


@few
@given(st.data())
def test_damaged_lists_end_in_damaged_or_in_runs_that_cover_the_file(data: st.DataObject) -> None:
    objects = Objects()
    _, extra = encode_content(many(3000), objects.store)
    tag, value = next(extra_fields(extra))
    part = data.draw(st.sampled_from(sorted(objects)))
    objects[part] = data.draw(damaged(objects[part]))
    found = never_but_our_own(lambda: decode({tag: bytes(value)}, 3000 << 20, objects))
    if isinstance(found, tuple):
        assert_covers(found, 3000 << 20)


@codec
@given(st.data(), runs, st.sampled_from([EXTRA_EXTENTS, EXTRA_EXTENT_LISTS]))
def test_a_damaged_list_ends_in_damaged_or_in_runs_that_cover_the_file(
    data: st.DataObject, found: list[tuple[int, ObjectId | None]], tag: int
) -> None:
    extents = extents_of(found)
    packed = b"".join(EXTENT.pack(end, chunk or NO_OBJECT) for end, chunk in extents)
    size = extents[-1].end if extents else 0
    decoded = never_but_our_own(lambda: decode({tag: data.draw(damaged(packed))}, size))
    if isinstance(decoded, tuple):
        assert_covers(decoded, size)


def assert_covers(extents: tuple[Extent, ...], size: int) -> None:
    ends = [extent.end for extent in extents]
    assert ends == sorted(set(ends))
    assert (ends[-1] if ends else 0) == size


@pytest.mark.parametrize("ends", [[5, 5], [5, 3], [0], [5, 0]])
def test_a_list_that_does_not_go_forward_is_damaged(ends: list[int]) -> None:
    packed = b"".join(EXTENT.pack(end, name(b"chunk")) for end in ends)
    with pytest.raises(Damaged):
        decode({EXTRA_EXTENTS: packed}, ends[-1])


@pytest.mark.parametrize("size", [0, 1, 11])
def test_a_list_that_does_not_cover_the_file_is_damaged(size: int) -> None:
    packed = EXTENT.pack(10, name(b"chunk"))
    with pytest.raises(Damaged):
        decode({EXTRA_EXTENTS: packed}, size)
    with pytest.raises(Damaged):
        decode({}, 11)


def test_a_list_of_lists_with_a_gap_or_of_another_length_is_damaged() -> None:
    objects = Objects()
    part = objects.store(EXTENT.pack(10, name(b"chunk")))
    assert decode({EXTRA_EXTENT_LISTS: EXTENT.pack(10, part)}, 10, objects) == (Extent(10, name(b"chunk")),)
    for wrong in (EXTENT.pack(11, part), EXTENT.pack(10, NO_OBJECT), EXTENT.pack(10, name(b"missing"))):
        with pytest.raises(Damaged):
            decode({EXTRA_EXTENT_LISTS: wrong}, 10, objects)


def test_the_lists_that_an_entry_names_are_told() -> None:
    objects = Objects()
    _, extra = encode_content(many(5000), objects.store)
    assert set(listed_objects(dict(extra_fields(extra)))) == objects.keys()
    assert listed_objects({}) == []


def test_a_list_is_laid_out_as_the_format_says() -> None:
    chunk = name(b"chunk")
    _, extra = encode_content([Extent(7, chunk), Extent(1 << 40, None)], Objects().store)
    packed = (7).to_bytes(8, "little") + chunk + (1 << 40).to_bytes(8, "little") + bytes(32)
    assert extra == EXTRA.pack(3, 80) + packed
