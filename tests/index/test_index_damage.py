"""A damaged index is an empty one, whoever has it open: nothing is asked, nothing is lost."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backup.index import Index
from backup.ops.check import check
from backup.repository import Repository
from backup.snapshots.directory import Directory
from tests.index.test_index import OURS, object_in, pack_of, segment
from tests.repository.stored import Opened, Silent, back_up, make, noise

ROOT = Path(__file__).resolve().parents[2]
FLIPS = 60


@pytest.fixture
def saved(tmp_path: Path) -> Opened:
    """Two snapshots of some hundred files."""
    source = tmp_path / "source"
    for number in range(300):
        path = source / f"directory {number % 9}" / f"file {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(number, 50 + number))
    opened = make(tmp_path)
    back_up(opened.repository, source)
    (source / "another").write_bytes(noise(7, 2 << 20))
    back_up(opened.repository, source)
    opened.close()
    return opened


def in_child(work: Callable[[], None]) -> int:
    """Runs it in a process of its own, that a signal may kill; gives its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def read_everything(opened: Opened) -> None:
    """Raises unless every tree and every file of every snapshot is there."""
    with Repository.open(opened.path, opened.cache, lambda _: None) as repository:
        snapshots = repository.snapshots()
        assert len(snapshots) == 2
        for snapshot in snapshots:
            waiting = [repository.root(snapshot)]
            while waiting:
                for entry in waiting.pop().entries():
                    if entry.tree is not None:
                        waiting.append(Directory(entry.tree, repository.tree))
                    for extent in entry.extents:
                        assert extent.chunk is None or repository.reader.read(extent.chunk)


def look_for_damage(opened: Opened) -> None:
    """Raises where check finds any but the index's own."""
    with Repository.open(opened.path, opened.cache, lambda _: None) as repository:
        report = check(repository, False, Silent())
        assert {damage.what for damage in report.damage} <= {"index"}


@pytest.mark.parametrize("look", [read_everything, look_for_damage])
def test_any_bit_of_the_index_may_be_wrong_and_everything_is_still_there(
    saved: Opened, look: Callable[[Opened], None]
) -> None:
    index, chance = saved.path / "index.lmdb", random.Random(5)
    sound = index.read_bytes()
    pages = len(sound.rstrip(b"\0")) // 4096 + 1
    for _ in range(FLIPS):
        harmed = bytearray(sound)
        for _ in range(chance.choice([1, 2])):
            within = chance.randrange(120) if chance.random() < 0.7 else chance.randrange(4096)
            harmed[chance.randrange(pages) * 4096 + within] ^= 1 << chance.randrange(8)
        index.unlink()
        index.write_bytes(harmed)
        assert in_child(lambda: look(saved)) == 0


def test_check_tells_of_a_damaged_index_and_makes_it_anew(saved: Opened) -> None:
    index = saved.path / "index.lmdb"
    # In free pages as well: which copy counts is LMDB's to know.
    index.write_bytes(index.read_bytes().replace(b"another", b"anothes"))
    with saved.open() as repository:
        report = check(repository, False, Silent())
        assert [damage.what for damage in report.damage] == ["index"]
        assert len(saved.notices) == 1
        assert check(repository, False, Silent()).damage[1:] == []
    with saved.open() as repository:
        assert check(repository, True, Silent()).damage == []


def test_a_backup_over_a_damaged_index_stores_nothing_twice(saved: Opened, tmp_path: Path) -> None:
    index = saved.path / "index.lmdb"
    for page in range(2, 30):
        data = bytearray(index.read_bytes())
        data[page * 4096 + 10 : page * 4096 + 14] = b"\xff\xff\xff\xff"
        index.write_bytes(data)
        with saved.open() as repository:
            assert back_up(repository, tmp_path / "source").statistics.bytes_added == 0
        if saved.notices:
            return
    pytest.fail("no damage was met")


def harm(path: Path) -> None:
    """Each page but the first two, in place: other processes have the file open."""
    with path.open("r+b") as file:
        for page in range(2, 40):
            file.seek(page * 4096 + 8)
            file.write(b"\xff" * 12)


OTHER_PROCESS = """
import sys
from pathlib import Path
from backup.index import Index
from tests.index.test_index import OURS, pack_of, segment

index = Index(Path(sys.argv[1]), OURS, print)
index.recreate()
index.add_segment(segment("b"), [pack_of("b")])
"""


def test_an_index_is_replaced_under_those_who_have_it_open(tmp_path: Path) -> None:
    told: list[str] = []
    index = Index(tmp_path / "index.lmdb", OURS, told.append)
    index.add_segment(segment("a"), [pack_of("a", 2000)])
    subprocess.run([sys.executable, "-c", OTHER_PROCESS, index.path], check=True, cwd=ROOT)
    assert index.place(object_in("a", 1999)) is not None
    assert index.begin_sync({segment("a"), segment("b")}) == [segment("a")]
    assert index.place(object_in("b")) is not None
    assert (index.replaced, told) == (1, [])
    index.close()


def test_damage_that_is_met_while_reading_leaves_an_empty_index(tmp_path: Path) -> None:
    told: list[str] = []
    index = Index(tmp_path / "index.lmdb", OURS, told.append)
    index.add_segment(segment("a"), [pack_of("a", 2000)])
    harm(tmp_path / "index.lmdb")
    assert index.place(object_in("a")) is None
    assert (index.replaced, len(told)) == (1, 1)
    assert index.begin_sync({segment("a")}) == [segment("a")]
    index.add_segment(segment("a"), [pack_of("a", 2000)])
    assert index.place(object_in("a")) is not None
    index.close()
    again = Index(tmp_path / "index.lmdb", OURS, told.append)
    assert again.segments() == {segment("a")}
    again.close()


def test_several_processes_may_find_the_damage_at_once(tmp_path: Path) -> None:
    path = tmp_path / "index.lmdb"
    index = Index(path, OURS, print)
    index.add_segment(segment("a"), [pack_of("a", 2000)])
    index.close()
    harm(path)

    def use(label: str) -> None:
        own = Index(path, OURS, lambda _: None)
        own.place(object_in("a"))
        for number in range(20):
            own.add_segment(segment(f"{label} {number}"), [pack_of(f"{label} {number}", 50)])
        own.close()

    children = []
    for label in "bcde":
        child = os.fork()
        if child == 0:
            try:
                use(label)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    again = Index(path, OURS, print)
    assert again.problems() == []
    again.close()


def test_a_link_in_the_place_of_the_lock_is_not_followed(saved: Opened, tmp_path: Path) -> None:
    (saved.path / "index.lmdb-lock").unlink()
    (saved.path / "index.lmdb-lock").symlink_to(tmp_path / "elsewhere")
    read_everything(saved)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("kind", ["directory", "fifo", "link"])
def test_what_stands_in_the_place_of_the_index_is_left_alone_and_told(saved: Opened, kind: str) -> None:
    place = saved.path / "index.lmdb"
    place.unlink()
    if kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/null")
    read_everything(saved)
    with saved.open():
        assert any("not a regular file" in notice for notice in saved.notices)
    assert (saved.cache / "imbfs").is_dir()
    shutil.rmtree(saved.cache)
