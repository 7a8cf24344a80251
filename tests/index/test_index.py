"""The index: what it says of places, what it does with a file that is not as it left it."""

import ctypes
import mmap
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.index import Index
from backup.index.location import index_paths
from backup.model.ids import ObjectId, PackId, SegmentId, SnapshotId
from backup.objects.block import compress
from backup.objects.pack import BlockRecord, PackRecord, Place
from tests.objects.samples import few, name

OURS = "ab" * 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.lmdb"


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    opened = Index(path, OURS, print)
    yield opened
    opened.close()


def reopened(index: Index, identity: str = OURS) -> Index:
    index.close()
    return Index(index.path, identity, print)


def pack_of(label: str, objects: int = 3) -> PackRecord:
    """Objects of one length in one block; their names tell the pack."""
    members = tuple((name(f"{label} {number}".encode()), 10) for number in range(objects))
    block = BlockRecord(8, 100, 10 * objects + 4 * objects, 1, 0, members)
    return PackRecord(PackId(name(label.encode())), 500, (block,))


def segment(label: str) -> SegmentId:
    return SegmentId(name(b"segment " + label.encode()))


def object_in(label: str, number: int = 0) -> ObjectId:
    return name(f"{label} {number}".encode())


def test_an_object_is_where_its_segment_says(index: Index) -> None:
    pack = pack_of("a")
    index.add_segment(segment("a"), [pack])
    assert index.place(object_in("a", 2)) == Place(pack.id, 8, 100, 42, 1, 20, 10)
    assert index.place(object_in("b")) is None


def test_many_asked_for_at_once_are_where_each_alone_is(index: Index) -> None:
    index.add_segment(segment("a"), [pack_of("a")])
    wanted = [object_in("a", number) for number in range(3)]
    assert index.places([*wanted, object_in("b")]) == {each: index.place(each) for each in wanted}


def test_all_that_was_added_is_there_after_it_is_opened_again(index: Index) -> None:
    index.add_segment(segment("a"), [pack_of("a"), pack_of("b")], [(name(b"tree"), b"tree")])
    again = reopened(index)
    assert again.segments() == {segment("a")}
    assert again.packs() == {pack_of("a").id, pack_of("b").id}
    assert set(again.objects()) == {object_in(label, number) for label in "ab" for number in range(3)}
    assert again.tree(name(b"tree")) == b"tree"
    again.close()


def test_many_objects_asked_for_at_once_are_where_each_of_them_is(index: Index) -> None:
    index.add_segment(segment("a"), [pack_of("a"), pack_of("b")])
    asked = [object_in(label, number) for label in "ab" for number in range(3)]
    assert index.places([*asked, object_in("c")]) == {each: index.place(each) for each in asked}


def test_the_newest_place_of_an_object_is_the_one_that_counts(index: Index) -> None:
    first = pack_of("a")
    second = first._replace(id=PackId(name(b"another pack")))
    index.add_segment(segment("first"), [first])
    index.add_segment(segment("second"), [second])
    place = index.place(object_in("a"))
    assert place is not None
    assert place.pack == second.id


def test_only_segments_that_are_new_are_still_to_be_added(index: Index) -> None:
    index.add_segment(segment("a"), [pack_of("a")])
    assert index.begin_sync({segment("a"), segment("b")}) == [segment("b")]
    assert index.place(object_in("a")) is not None


def sync(index: Index, standing: dict[str, list[PackRecord]]) -> None:
    """As a repository does it that has these segments."""
    segments = {segment(label): packs for label, packs in standing.items()}
    for new in index.begin_sync(set(segments)):
        index.add_segment(new, segments[new])
    index.end_sync(set(segments), lambda: [pack for packs in segments.values() for pack in packs])


def test_what_only_a_vanished_segment_told_is_dropped_with_its_trees(index: Index) -> None:
    for label in "ab":
        trees = [(object_in(label), b"tree")]
        index.add_segment(segment(label), [pack_of(label)], trees)
    sync(index, {"b": [pack_of("b")]})
    assert (index.place(object_in("a")), index.tree(object_in("a"))) == (None, None)
    assert index.packs() == {pack_of("b").id}
    assert (index.place(object_in("b")), index.tree(object_in("b"))) != (None, None)


def test_a_pack_that_another_segment_lists_now_keeps_its_places(index: Index) -> None:
    """As when prune has put one segment in the place of many."""
    sync(index, {"a": [pack_of("a"), pack_of("b")], "b": [pack_of("c")]})
    sync(index, {"c": [pack_of("a"), pack_of("c")]})
    assert index.packs() == {pack_of("a").id, pack_of("c").id}
    assert index.place(object_in("a")) is not None
    assert index.place(object_in("b")) is None
    assert index.place(object_in("c")) is not None


def test_of_two_packs_with_an_object_the_one_that_stays_gives_its_place(index: Index) -> None:
    first = pack_of("a")
    second = first._replace(id=PackId(name(b"another pack")))
    sync(index, {"a": [first], "b": [second]})
    sync(index, {"a": [first]})
    place = index.place(object_in("a"))
    assert place is not None
    assert place.pack == first.id


def test_a_place_found_after_segments_vanished_names_the_right_pack(index: Index) -> None:
    """A pack's number may be remembered: it must not name another pack afterwards."""
    sync(index, {label: [pack_of(label)] for label in "abc"})
    assert index.place(object_in("a")) is not None
    sync(index, {label: [pack_of(label)] for label in "cd"})
    for label in "cd":
        place = index.place(object_in(label))
        assert place is not None
        assert place.pack == pack_of(label).id


def test_what_is_cleared_is_gone_but_the_snapshots_seen_are_not(index: Index) -> None:
    index.add_segment(segment("a"), [pack_of("a")], [(name(b"tree"), b"tree")])
    index.note_snapshots([SnapshotId("cd" * 32)])
    index.clear()
    assert (index.segments(), index.packs(), list(index.objects())) == (set(), set(), [])
    assert index.tree(name(b"tree")) is None
    assert index.known_snapshots() == {"cd" * 32}


def test_a_recreated_index_knows_nothing(index: Index) -> None:
    index.add_segment(segment("a"), [pack_of("a")])
    index.note_snapshots([SnapshotId("cd" * 32)])
    index.recreate()
    assert (index.segments(), index.known_snapshots()) == (set(), set())


def test_a_place_found_after_the_index_was_recreated_names_the_right_pack(index: Index) -> None:
    index.add_segment(segment("a"), [pack_of("a")])
    assert index.place(object_in("a")) is not None
    index.recreate()
    index.add_segment(segment("b"), [pack_of("b")])
    place = index.place(object_in("b"))
    assert place is not None
    assert place.pack == pack_of("b").id


def test_another_repositorys_index_is_emptied(index: Index) -> None:
    index.add_segment(segment("a"), [pack_of("a")])
    other = reopened(index, "cd" * 16)
    assert other.segments() == set()
    assert other.place(object_in("a")) is None
    other.close()


def test_trees_can_be_added_ahead_of_their_packs(index: Index) -> None:
    index.add_trees([(name(b"b"), b"second"), (name(b"a"), b"first")])
    index.add_trees([(name(b"a"), b"first")])
    assert (index.tree(name(b"a")), index.tree(name(b"c"))) == (b"first", None)


def test_a_tree_takes_less_room_than_its_plain_bytes(index: Index) -> None:
    trees = [(name(b"%d" % number), b"%d " % number * 5_000) for number in range(100)]
    index.add_trees(trees)
    assert [index.tree(tree) for tree, _ in trees] == [plain for _, plain in trees]
    assert index.status().bytes < sum(len(plain) for _, plain in trees) / 2


@pytest.mark.parametrize("value", [b"", b"no frame", compress(b"tree")[:-1]], ids=["empty", "other", "cut"])
def test_a_tree_that_does_not_decode_is_not_there(index: Index, value: bytes) -> None:
    def put(txn: "lmdb.Transaction[bytes]", tables: dict[str, "lmdb._Database"]) -> None:
        txn.put(name(b"tree"), value, db=tables["trees"])

    index._file.write(put)
    assert index.tree(name(b"tree")) is None


def test_the_status_counts_its_rows(index: Index) -> None:
    index.add_segment(segment("a"), [pack_of("a", 5), pack_of("b", 2)], [(name(b"tree"), b"tree")])
    status = index.status()
    assert (status.objects, status.packs, status.segments, status.trees) == (7, 2, 1, 1)
    assert 0 < status.bytes < 1 << 20


# Files that are not as they were left


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(8 * 4096)


def cut_inside_the_first_page(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    path.write_bytes(b"not a database\n" * 1000)


def without_its_first_pages(path: Path) -> None:
    path.write_bytes(bytes(8192) + path.read_bytes()[8192:])


def without_its_lock(path: Path) -> None:
    Path(f"{path}-lock").unlink()


HARMS = [cut, cut_inside_the_first_page, emptied, overwritten, without_its_first_pages]


@pytest.mark.parametrize("harm", HARMS)
def test_a_file_that_lmdb_cannot_trust_is_made_anew(index: Index, harm: Callable[[Path], None]) -> None:
    index.add_segment(segment("a"), [pack_of("a", 3000)])
    index.close()
    harm(index.path)
    again = Index(index.path, OURS, print)
    assert again.begin_sync({segment("a")}) == [segment("a")]
    again.add_segment(segment("a"), [pack_of("a", 3000)])
    assert again.place(object_in("a", 2999)) is not None
    again.close()


def test_a_lost_lock_file_loses_nothing(index: Index) -> None:
    index.add_segment(segment("a"), [pack_of("a")])
    index.close()
    without_its_lock(index.path)
    again = Index(index.path, OURS, print)
    assert again.segments() == {segment("a")}
    again.close()


def test_a_sound_file_is_not_made_anew(index: Index) -> None:
    for number in range(20):
        index.add_segment(segment(str(number)), [pack_of(str(number), 200)])
        index = reopened(index)
        assert len(index.segments()) == number + 1
    index.close()


def put(path: Path, table: bytes, key: bytes, value: bytes) -> None:
    """A row that no version of ours wrote."""
    with lmdb.open(str(path), subdir=False, max_dbs=6, map_size=1 << 30) as env, env.begin(write=True) as txn:
        txn.put(key, value, db=env.open_db(table, txn))


@pytest.mark.parametrize("value", [b"", b"short", bytes(24), bytes(26), bytes(4000)])
def test_a_place_of_another_size_is_no_place(index: Index, value: bytes) -> None:
    index.add_segment(segment("a"), [pack_of("a")])
    index.close()
    put(index.path, b"objects", object_in("a"), value)
    again = Index(index.path, OURS, print)
    assert again.place(object_in("a")) is None
    assert again.place(object_in("a", 1)) is not None
    again.close()


def test_a_place_in_a_pack_that_the_index_does_not_know_is_no_place(index: Index) -> None:
    index.add_segment(segment("a"), [pack_of("a")])
    index.close()
    put(index.path, b"objects", object_in("a"), (77).to_bytes(4, "little") + bytes(21))
    again = Index(index.path, OURS, print)
    assert again.place(object_in("a")) is None
    again.close()


@few
@given(
    st.lists(st.sets(st.integers(0, 6), min_size=1), min_size=1, max_size=4), st.sampled_from([1, 2, 1000])
)
def test_whatever_segments_come_and_go_places_are_those_of_the_standing_ones(
    tmp_path_factory: pytest.TempPathFactory, history: list[set[int]], step: int
) -> None:
    """However many objects are taken in at a time."""
    with mock.patch("backup.index.index.STEP", step):
        come_and_go(tmp_path_factory, history)


def come_and_go(tmp_path_factory: pytest.TempPathFactory, history: list[set[int]]) -> None:
    index = Index(tmp_path_factory.mktemp("index") / "index.lmdb", OURS, print)
    for standing in history:
        sync(index, {str(number): [pack_of(str(number))] for number in standing})
        for number in range(7):
            place = index.place(object_in(str(number)))
            assert (place.pack if place else None) == (
                pack_of(str(number)).id if number in standing else None
            )
    index.close()


class Killed(BaseException):
    pass


def kill_after(index: Index, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    left = iter(range(writes))
    write = index._file.write

    def count(work: Callable[..., None]) -> None:
        if next(left, None) is None:
            raise Killed
        write(work)

    monkeypatch.setattr(index._file, "write", count)


@pytest.mark.parametrize("writes", range(6))
def test_a_segment_that_was_taken_in_by_half_is_taken_in_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    monkeypatch.setattr("backup.index.index.STEP", 3)
    index = Index(path, OURS, print)
    old = pack_of("a", 1)
    index.add_segment(segment("old"), [old])
    kill_after(index, monkeypatch, writes)
    both = [pack_of("a", 5)._replace(id=PackId(name(b"another"))), pack_of("b", 6)]
    with pytest.raises(Killed):
        index.add_segment(segment("new"), both)
    index.close()
    again = Index(path, OURS, print)
    assert again.begin_sync({segment("old"), segment("new")}) == [segment("new")]
    found = again.place(object_in("a"))
    assert found is not None
    assert found.pack == old.id
    assert again.place(object_in("b")) is None
    assert again.packs() == {old.id}
    again.add_segment(segment("new"), both)
    places = {number: again.place(object_in("b", number)) for number in range(6)}
    assert {place and place.pack for place in places.values()} == {both[1].id}
    assert again.packs() == {old.id, both[0].id, both[1].id}
    again.close()


def test_a_pack_that_two_processes_take_in_at_once_has_its_places(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup.index.index.STEP", 3)
    pack = pack_of("a", 8)
    write, writes = index._file.write, 0

    def with_a_neighbour(work: Callable[..., None]) -> None:
        nonlocal writes
        writes += 1
        write(work)
        if writes == 3:
            index.add_segment(segment("theirs"), [pack])

    monkeypatch.setattr(index._file, "write", with_a_neighbour)
    index.add_segment(segment("ours"), [pack])
    assert all(index.place(object_in("a", number)) for number in range(8))
    assert index.status().packs == 1
    assert index.segments() == {segment("ours"), segment("theirs")}


# Where it lives


def kept_in(path: Path) -> list[Path]:
    """The places for an index, without the repository's and the cache's directories."""
    told: list[str] = []
    found = index_paths(path, OURS, path / "cache", told.append)
    return [place.relative_to(path) for place in found]


IN_CACHE = Path("cache") / "imbfs" / OURS / "index.lmdb"


def test_the_index_of_a_local_repository_lives_in_it(tmp_path: Path) -> None:
    assert kept_in(tmp_path) == [Path("index.lmdb"), IN_CACHE]


@pytest.mark.parametrize("name", ["index.lmdb", "index.lmdb-lock"])
def test_where_the_repository_holds_something_else_in_its_place_the_cache_is_used(
    tmp_path: Path, name: str
) -> None:
    place = tmp_path / name
    place.symlink_to("elsewhere")
    assert kept_in(tmp_path) == [IN_CACHE]
    place.unlink()
    place.mkdir()
    assert kept_in(tmp_path) == [IN_CACHE]
    place.rmdir()
    os.mkfifo(place)
    assert kept_in(tmp_path) == [IN_CACHE]


def test_a_directory_that_everybody_may_write_holds_no_index(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert kept_in(tmp_path) == [IN_CACHE]


def kept_by_the_kernel(path: Path) -> float:
    """The part of a file's pages that are in memory: see mincore(2)."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as view:
        pages = (ctypes.c_ubyte * -(-len(view) // mmap.PAGESIZE))()
        start = ctypes.addressof(ctypes.c_char.from_buffer(view))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(len(view)), pages) == 0
        return sum(page & 1 for page in pages) / len(pages)


def test_the_file_can_be_read_ahead_before_anything_is_looked_up(index: Index) -> None:
    trees = [(name(bytes([number])), os.urandom(200_000)) for number in range(100)]
    index.add_trees(trees)
    index.close()
    with index.path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    opened = reopened(index)
    opened.preload()
    wait_until = time.monotonic() + 10
    # What lies behind the last page is a hole, of 9 MB.
    while kept_by_the_kernel(index.path) < 20 / 30 and time.monotonic() < wait_until:
        time.sleep(0.01)
    assert kept_by_the_kernel(index.path) > 20 / 30
    opened.close()
    opened.preload()


#: Has the index open, and tells of a tree and of a snapshot's note after it was told to go on.
NEIGHBOUR = """
import sys
from pathlib import Path
from backup.index import Index
index = Index(Path(sys.argv[1]), sys.argv[2], print)
tree = bytes.fromhex(sys.argv[3])
print(index.tree(tree), flush=True)
input()
before = index.replaced
index.begin_sync(set())
print(index.tree(tree), index.replaced - before, index.status().bytes < 2 << 20)
"""


def test_where_most_of_a_large_index_is_free_it_gets_smaller_under_its_neighbours(index: Index) -> None:
    large = [(object_in("a", number), random.Random(number).randbytes(4 << 20)) for number in range(5)]
    index.add_segment(segment("a"), [pack_of("a", 5)], large)
    index.add_segment(segment("b"), [pack_of("b")], [(object_in("b"), b"tree")])
    index.shrink()
    assert index.status().bytes > 20 << 20, "what is in use stays"
    arguments = [sys.executable, "-c", NEIGHBOUR, str(index.path), OURS, object_in("b").hex()]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as neighbour:
        assert neighbour.stdout is not None
        assert neighbour.stdout.readline() == "b'tree'\n"
        sync(index, {"b": [pack_of("b")]})
        index.shrink()
        assert index.status().bytes < 2 << 20
        assert index.tree(object_in("b")) == b"tree"
        told, _ = neighbour.communicate("go on\n", timeout=60)
    assert told == "b'tree' 1 True\n"
    assert sorted(path.name for path in index.path.parent.iterdir()) == ["index.lmdb", "index.lmdb-lock"]
