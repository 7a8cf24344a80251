"""A directory of very many names: its tree is made while it is walked, and a little change makes little."""

import os
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.model.ids import ObjectId
from backup.objects.pack import pack_key
from backup.ops.backup import BackupOptions, backup
from backup.ops.storing.frame import Frame
from backup.repository import Repository, Writer
from backup.snapshots.directory import Directory
from backup.snapshots.tree import Row
from tests.repository.stored import Opened, Silent, make
from tests.support.small import make_old

NAMES = 20_000
#: What a name takes in a tree, in bytes.
EACH = 130


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty files, and one in a hundred with content of its own."""
    source = tmp_path_factory.mktemp("many") / "source"
    source.mkdir()
    for number in range(NAMES):
        with (source / f"name-{number:06}").open("wb") as file:
            if number % 100 == 0:
                file.write(b"%d" % number)
    make_old(source)
    return source


def run(opened: Opened, source: Path, workers: int = 0) -> Directory:
    """Backs up; returns the directory as the snapshot has it."""
    options = BackupOptions(datetime.now(UTC), "host", "user", workers=workers)
    repository = opened.repository
    result = backup(repository, [os.fsencode(source)], options, Silent())
    assert result.statistics.errors == 0
    (snapshot,) = repository.snapshots(lambda snapshot: snapshot.id == result.snapshot)
    tree = repository.root(snapshot).entry(0).tree
    assert tree is not None
    return repository.directory(tree)


def stored_trees(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the trees that are handed over to be stored, from now on."""
    sizes: list[int] = []
    store_tree = Writer.store_tree

    def note(self: Writer, data: bytes) -> object:
        sizes.append(len(data))
        return store_tree(self, data)

    monkeypatch.setattr(Writer, "store_tree", note)
    return sizes


@pytest.mark.parametrize("change", ["new first", "new", "new last", "gone", "changed"])
def test_a_little_change_makes_few_pages_and_the_same_tree_as_a_first_backup(
    tmp_path: Path, many: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    opened, other = make(tmp_path / "one"), make(tmp_path / "other")
    run(opened, many)
    path = many / {"new first": "a", "new last": "z"}.get(change, "name-012345")
    if change.startswith("new"):
        path = path.with_name(path.name + "-and-more")
        path.write_bytes(b"new")
    elif change == "gone":
        path.unlink()
    else:
        path.write_bytes(b"changed")
    try:
        sizes = stored_trees(monkeypatch)
        again = run(opened, many)
        made = sum(sizes)
        assert 10_000 < made < EACH * NAMES / 1.5
        assert again.page_ids == run(other, many).page_ids
    finally:
        if change.startswith("new"):
            path.unlink()
        else:
            path.write_bytes(b"")
            os.utime(path, (1, 1))
        opened.close()
        other.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_of_a_large_directory_do_not_wait_for_its_end(
    tmp_path: Path, many: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    most = 0
    complete = Frame.complete

    def note(self: Frame, end: int) -> bool:
        nonlocal most
        most = max(most, sum(isinstance(row, Row) for row in self.rows))
        return complete(self, end)

    opened = make(tmp_path)
    monkeypatch.setattr(Frame, "complete", note)
    assert len(run(opened, many, workers)) == NAMES
    assert most < NAMES / 2
    opened.close()


def test_an_unchanged_large_directory_is_named_again(
    tmp_path: Path, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = make(tmp_path)
    first = run(opened, many)
    sizes = stored_trees(monkeypatch)
    assert run(opened, many).page_ids == first.page_ids
    assert len(sizes) <= 1  # the root, whose own times may be in doubt
    opened.close()


def test_lost_pages_of_a_large_directory_are_stored_again(tmp_path: Path, many: Path) -> None:
    opened = make(tmp_path)
    first = run(opened, many)
    _lose_pages(opened.repository, first)
    opened.reopen()
    again = run(opened, many)
    assert again.page_ids == first.page_ids
    assert len(list(again.entries())) == NAMES
    opened.close()


def _lose_pages(repository: Repository, directory: Directory) -> None:
    random.seed(0)
    place = repository.lookup.place(random.choice(directory.page_ids))
    assert place is not None
    name = place.pack.hex()
    (repository.path / "packs" / name[:2] / name).unlink()


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_directory_with_a_damaged_page_is_read_anew_and_the_next_snapshot_is_whole(
    tmp_path: Path, many: Path, which: int
) -> None:
    opened = make(tmp_path)
    pages = run(opened, many).page_ids
    assert len(pages) > 2
    damage_object(opened, pages[which])
    monitor = Silent()
    options = BackupOptions(datetime.now(UTC), "host", "user", workers=0)
    with opened.reopen() as repository:
        result = backup(repository, [os.fsencode(many)], options, monitor)
        assert result.statistics.errors == 0
        told = [text for text in monitor.notices if "is read anew" in text]
        assert len(told) == 1
        assert str(many) in told[0]
    with opened.reopen() as repository:
        (snapshot,) = repository.snapshots(lambda snapshot: snapshot.id == result.snapshot)
        tree = repository.root(snapshot).entry(0).tree
        assert tree is not None
        assert len(list(repository.directory(tree).entries())) == NAMES


def damage_object(opened: Opened, name: ObjectId) -> None:
    """With its whole block; the index, that has trees as well, goes."""
    place = opened.repository.index.place(name)
    assert place is not None
    index = opened.repository.index.path
    opened.close()
    path = opened.path / pack_key(place.pack)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(place.block_offset)
        file.write(bytes(place.block_size))
    index.unlink()
