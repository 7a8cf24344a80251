"""Pages and branches: what a writer puts in comes out, and what no writer makes is refused."""

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.entry import Entry
from backup.model.errors import Damaged
from backup.model.ids import NO_OBJECT, ObjectId
from backup.snapshots.directory import Directory, decode_entry
from backup.snapshots.tree import (
    HEADER,
    NAME_END,
    NS,
    REF,
    STAT,
    Branch,
    Page,
    Row,
    decode_xattrs,
    encode_branch,
    encode_extra,
    encode_owners,
    encode_page,
    encode_stat,
    extra_fields,
    is_branch,
)
from tests.objects.samples import codec, damaged, name, names, never_but_our_own
from tests.snapshots.rows import Objects, directories, file_names, plain_row, u32, xattrs

owner_names = st.dictionaries(u32, st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=4)
HOSTILE = [b"", b".", b"..", b"a/b", b"/", b"/etc", b"../x", b"nul\0", b"n" * 256]


def entries_of(page: Page) -> list[Entry]:
    return [decode_entry(page, position, Objects().read) for position in range(len(page))]


@codec
@given(directories(), owner_names, owner_names)
def test_a_page_gives_back_its_rows_and_owners(
    rows: list[Row], users: dict[int, str], groups: dict[int, str]
) -> None:
    page = Page(encode_page(rows, encode_owners(users, groups)))
    assert [page.row(position) for position in range(len(page))] == rows
    known = [{number: text for number, text in owners.items() if text} for owners in (users, groups)]
    assert list(page.owner_names) == known


@codec
@given(directories(), file_names)
def test_every_name_is_found_at_its_position_and_no_other_is(rows: list[Row], other: bytes) -> None:
    page = Page(encode_page(rows, b""))
    assert [page.find(row.name) for row in rows] == list(range(len(rows)))
    assert page.find(other) == next((at for at, row in enumerate(rows) if row.name == other), -1)


@codec
@given(directories())
def test_an_entry_has_all_that_its_row_had(rows: list[Row]) -> None:
    for row, entry in zip(rows, entries_of(Page(encode_page(rows, b""))), strict=True):
        mode, uid, gid, nlink, size, m_s, c_s, m_ns, c_ns, ino, rdev = STAT.unpack(row.stat)
        assert (entry.name, entry.mode, entry.uid, entry.gid) == (row.name, mode, uid, gid)
        assert (entry.nlink, entry.size, entry.ino, entry.rdev) == (nlink, size, ino, rdev)
        assert (entry.mtime_ns, entry.ctime_ns) == (m_s * NS + m_ns, c_s * NS + c_ns)
        assert (entry.volume, entry.flags) == (row.volume, row.flags)
        assert encode_extra(entry.target, entry.xattrs) == row.extra


@pytest.mark.parametrize("ns", [0, 1, -1, -999_999_999, 2**31 * NS + 5, 4_300_000_000 * NS, -(10**9) * NS])
def test_times_before_1970_and_after_2106_keep_their_nanoseconds(tmp_path: Path, ns: int) -> None:
    os.utime(tmp_path, ns=(ns, ns))
    status = tmp_path.lstat()
    rows = [Row(b"name", encode_stat(status), NO_OBJECT, b"", 0, 0)]
    (entry,) = entries_of(Page(encode_page(rows, b"")))
    assert (entry.mtime_ns, entry.ino, entry.mode) == (status.st_mtime_ns, status.st_ino, status.st_mode)


@codec
@given(st.data(), directories())
def test_a_damaged_page_ends_in_damaged_or_in_entries(data: st.DataObject, rows: list[Row]) -> None:
    plain = data.draw(damaged(encode_page(rows, encode_owners({0: "root"}, {7: "seven"}))))

    def all_of_it() -> None:
        page = Page(plain)
        entries = entries_of(page)
        assert [entry.kind for entry in entries]
        assert [page.row(position) for position in range(len(page))]
        found = [entry.name for entry in entries]
        assert found == sorted(set(found))
        assert not {b"", b".", b".."} & set(found)

    never_but_our_own(all_of_it) if rows else never_but_our_own(lambda: Page(plain))


@codec
@given(st.data(), directories())
def test_any_cut_of_a_page_is_damaged(data: st.DataObject, rows: list[Row]) -> None:
    plain = encode_page(rows, b"")
    with pytest.raises(Damaged):
        Page(plain[: data.draw(st.integers(0, len(plain) - 1))])
    with pytest.raises(Damaged):
        Page(plain + b"\0")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_name_that_no_directory_can_hold_is_refused(hostile: bytes) -> None:
    for rows in ([hostile], [b"!", hostile], sorted([hostile, b"zz"])):
        with pytest.raises(Damaged):
            Page(encode_page([plain_row(row_name) for row_name in rows], b""))
        with pytest.raises(Damaged):
            Branch(encode_branch([(row_name, name(row_name), 1) for row_name in rows]))


@pytest.mark.parametrize("order", [[b"b", b"a"], [b"a", b"a"], [b"a", b"c", b"b"]])
def test_names_out_of_order_or_twice_are_refused(order: list[bytes]) -> None:
    with pytest.raises(Damaged):
        Page(encode_page([plain_row(row_name) for row_name in order], b""))
    with pytest.raises(Damaged):
        Branch(encode_branch([(row_name, name(row_name), 1) for row_name in order]))


def test_only_a_root_is_named_dot_and_it_is_alone() -> None:
    root = encode_page([plain_row(b".")], b"")
    assert Page(root, root=True).names == [b"."]
    for rows in ([b"a"], [], [b".", b"a"], [b".."]):
        with pytest.raises(Damaged):
            Page(encode_page([plain_row(row_name) for row_name in rows], b""), root=True)


@pytest.mark.parametrize("mode", [0, 0o644, 0o030000, 0o170000, 2**32 - 1])
def test_an_entry_of_no_known_kind_is_damaged(mode: int) -> None:
    page = Page(encode_page([plain_row(b"name", mode)], b""))
    with pytest.raises(Damaged):
        decode_entry(page, 0, Objects().read)


@pytest.mark.parametrize("size", [2**63, 2**64 - 1])
def test_a_file_larger_than_any_file_system_holds_is_damaged(size: int) -> None:
    record = STAT.pack(0o100644, 0, 0, 1, size, 0, 0, 0, 0, 1, 0)
    page = Page(encode_page([plain_row(b"name", stat=record, object=name(b"chunk"))], b""))
    with pytest.raises(Damaged):
        decode_entry(page, 0, Objects().read)


def test_a_time_with_more_nanoseconds_than_a_second_has_is_damaged() -> None:
    for m_ns, c_ns in ((NS, 0), (0, 2**32 - 1)):
        record = STAT.pack(0o010644, 0, 0, 1, 0, 2**63 - 1, 0, m_ns, c_ns, 1, 0)
        page = Page(encode_page([plain_row(b"name", stat=record)], b""))
        with pytest.raises(Damaged):
            decode_entry(page, 0, Objects().read)


@pytest.mark.parametrize(("start", "length"), [(0, 2), (1, 1), (2**32 - 1, 1), (0, 2**32 - 1), (2, 0)])
def test_an_extra_outside_of_the_extras_is_damaged(start: int, length: int) -> None:
    plain = bytearray(encode_page([plain_row(b"name", extra=b"x")], b""))
    struct.pack_into("<II", plain, HEADER.size + STAT.size + 32, start, length)
    with pytest.raises(Damaged):
        decode_entry(Page(bytes(plain)), 0, Objects().read)


def test_counts_beyond_the_bytes_are_damaged_and_cost_no_memory() -> None:
    for kind in (0, 1):
        for count in (1, 1 << 20, 2**32 - 1):
            with pytest.raises(Damaged):
                (Branch if kind else Page)(HEADER.pack(b"ITRE", kind, count, 0, 0, 0))


def test_a_page_is_laid_out_as_the_format_says() -> None:
    row = plain_row(b"name", extra=b"extra", volume=5, flags=6, object=name(b"chunk"))
    ref = name(b"chunk") + struct.pack("<IIII", 0, 5, 5, 6)
    head = b"ITRE" + bytes(4) + struct.pack("<IIII", 1, 4, 5, 2)
    assert encode_page([row], b"ow") == head + row.stat + ref + struct.pack("<I", 4) + b"nameextraow"
    assert (HEADER.size, STAT.size, REF.size, NAME_END.size) == (24, 64, 48, 4)


# Extras, xattrs, owners


@codec
@given(st.binary(max_size=50), xattrs, st.one_of(st.none(), names))
def test_an_extra_gives_back_its_parts(
    target: bytes, attributes: tuple[tuple[bytes, bytes], ...], whole: ObjectId | None
) -> None:
    fields = dict(extra_fields(encode_extra(target, attributes, b"", whole)))
    assert bytes(fields.get(1, b"")) == target
    assert decode_xattrs(fields.get(2, memoryview(b""))) == attributes
    assert bytes(fields.get(5, b"")) == (whole or b"")


@codec
@given(st.data(), st.binary(max_size=50), xattrs)
def test_a_damaged_extra_ends_in_damaged_or_in_parts(
    data: st.DataObject, target: bytes, attributes: tuple[tuple[bytes, bytes], ...]
) -> None:
    extra = data.draw(damaged(encode_extra(target, attributes)))
    never_but_our_own(lambda: [decode_xattrs(value) for _, value in extra_fields(extra)])


def test_a_part_that_a_reader_does_not_know_is_passed_over() -> None:
    unknown = struct.pack("<BI", 200, 3) + b"new"
    row = plain_row(b"name", 0o120777, extra=encode_extra(b"target", ()) + unknown)
    assert entries_of(Page(encode_page([row], b"")))[0].target == b"target"


@pytest.mark.parametrize("text", ["root", "zażółć", "caf\udce9", "x" * 300])
def test_owners_of_any_spelling_come_back(text: str) -> None:
    page = Page(encode_page([], encode_owners({2**32 - 1: text}, {0: text})))
    assert page.owner_names == ({2**32 - 1: text[:255]}, {0: text[:255]})


# Branches


@codec
@given(st.lists(file_names, unique=True).map(sorted), st.data())
def test_a_branch_gives_back_its_pages(first_names: list[bytes], data: st.DataObject) -> None:
    counts = [data.draw(st.integers(1, 9)) for _ in first_names]
    ids = [name(first) for first in first_names]
    plain = encode_branch(list(zip(first_names, ids, counts, strict=True)))
    branch = Branch(plain)
    assert is_branch(plain)
    assert (branch.first_names, branch.pages) == (first_names, ids)
    assert branch.totals == [sum(counts[: at + 1]) for at in range(len(counts))]
    never_but_our_own(lambda: Branch(data.draw(damaged(plain))))


def directory_of(objects: Objects, *pages: tuple[bytes, list[bytes], int]) -> Directory:
    """A branch's directory: for each page the first name and the count that are stated, and its names."""
    children = []
    for first, members, count in pages:
        plain = encode_page([plain_row(member) for member in members], b"")
        children.append((first, objects.store(plain), count))
    return Directory(objects.store(encode_branch(children)), objects.read)


def test_a_branch_whose_pages_are_not_as_stated_is_damaged() -> None:
    for first, members, count in [(b"a", [b"b"], 1), (b"a", [b"a"], 2), (b"a", [b"a", b"b"], 1)]:
        with pytest.raises(Damaged):
            list(directory_of(Objects(), (first, members, count)).entries())


@pytest.mark.parametrize("second", [b"d", b"e"])
def test_a_name_of_one_page_may_not_lie_in_the_next_ones_range(second: bytes) -> None:
    """Else a directory could hold a name twice: a symlink first, then what is written through it."""
    directory = directory_of(Objects(), (b"a", [b"a", b"e"], 2), (second, [second], 1))
    with pytest.raises(Damaged):
        list(directory.entries())


def test_a_branch_below_a_branch_is_damaged() -> None:
    objects = Objects()
    page = objects.store(encode_page([plain_row(b"a")], b""))
    inner = objects.store(encode_branch([(b"a", page, 1)]))
    with pytest.raises(Damaged):
        list(Directory(objects.store(encode_branch([(b"a", inner, 1)])), objects.read).entries())


def test_a_missing_page_is_damage_where_it_is_read_and_not_before() -> None:
    objects = Objects()
    directory = directory_of(objects, (b"a", [b"a"], 1), (b"b", [b"b"], 1))
    del objects[directory.page_ids[1]]
    assert directory.entry(directory.find(b"a")).name == b"a"
    with pytest.raises(Damaged):
        directory.find(b"b")
