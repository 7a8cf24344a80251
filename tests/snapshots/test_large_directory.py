"""A very large directory is cut where its names say, so that a change rewrites little of it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.ids import ObjectId
from backup.snapshots.directory import Directory
from backup.snapshots.tree import Row, is_branch
from backup.snapshots.tree_writer import MAX_BYTES, MAX_ENTRIES, write_tree
from tests.objects.samples import few
from tests.snapshots.rows import Objects, directories, no_name, of_number, plain_row

MANY = [b"name-%05d" % number for number in range(20_000)]


def tree_of(names: list[bytes], objects: Objects) -> ObjectId:
    return write_tree([plain_row(name) for name in sorted(names)], objects.store, no_name, no_name)


def test_one_more_name_among_many_rewrites_few_pages() -> None:
    before, after = Objects(), Objects()
    tree_of(MANY, before)
    for new in (b"name-10000-and-more", b"aaa", b"zzz"):
        after.clear()
        tree_of([*MANY, new], after)
        written = after.keys() - before.keys()
        assert len(before) > 5
        assert len(written) <= 3, new
        assert sum(len(after[key]) for key in written) < sum(map(len, before.values())) / 2


def test_one_name_less_rewrites_few_pages() -> None:
    before, after = Objects(), Objects()
    tree_of(MANY, before)
    tree_of([name for name in MANY if name != b"name-07777"], after)
    assert len(after.keys() - before.keys()) <= 3


def test_every_entry_of_a_large_directory_is_found_and_listed_in_order() -> None:
    objects = Objects()
    directory = Directory(tree_of(MANY, objects), objects.read)
    assert len(directory) == len(MANY)
    assert [entry.name for entry in directory.entries()] == MANY
    for position in (0, 1, 4095, 12_345, 19_999):
        assert directory.find(MANY[position]) == position
        assert directory.entry(position).name == MANY[position]
    for absent in (b"a", b"name-12345x", b"zzz"):
        assert directory.find(absent) == -1


@pytest.mark.parametrize("position", [-1, 20_000])
def test_there_is_no_entry_outside(position: int) -> None:
    objects = Objects()
    with pytest.raises(IndexError):
        Directory(tree_of(MANY, objects), objects.read).at(position)


@pytest.mark.parametrize("count", [0, 1, MAX_ENTRIES, MAX_ENTRIES + 1])
def test_only_a_directory_too_large_for_a_page_becomes_a_branch(count: int) -> None:
    objects = Objects()
    assert is_branch(objects[tree_of(MANY[:count], objects)]) == (count > MAX_ENTRIES)


def test_pages_stay_small_where_entries_have_much_metadata_and_names_give_no_cut() -> None:
    objects = Objects()
    rows = [plain_row(b"%08d" % number, extra=bytes([number % 256]) * 50_000) for number in range(400)]
    directory = Directory(write_tree(rows, objects.store, no_name, no_name), objects.read)
    assert len(directory.page_ids) > 1
    assert max(map(len, objects.values())) < MAX_BYTES + 100_000
    assert [page.row(at)._replace(extra=b"") for page in directory.pages() for at in range(len(page))] == [
        row._replace(extra=b"") for row in rows
    ]


@few
@given(directories(max_size=12), st.randoms())
def test_equal_rows_give_equal_trees_whatever_order_they_came_in(
    rows: list[Row], shuffle: random.Random
) -> None:
    mixed = rows.copy()
    shuffle.shuffle(mixed)
    mixed.sort(key=lambda row: row.name)
    first, second = Objects(), Objects()
    one = write_tree(rows, first.store, of_number, of_number)
    assert write_tree(mixed, second.store, of_number, of_number) == one
    assert first == second


def test_a_tree_names_the_owners_of_its_entries_and_no_others() -> None:
    objects = Objects()
    row = plain_row(b"name")
    owned = row._replace(
        stat=row.stat[:4] + (7).to_bytes(4, "little") + (8).to_bytes(4, "little") + row.stat[12:]
    )
    tree = write_tree([owned], objects.store, of_number, of_number)
    entry = Directory(tree, objects.read).entry(0)
    assert (entry.uid, entry.gid, entry.user, entry.group) == (7, 8, "owner-7", "owner-8")
