"""Writing: in an order that no crash can harm, each object once, and nothing that was written is lost."""

from pathlib import Path
from typing import Any

import pytest

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, SegmentId, SnapshotId
from backup.objects.pack import PackRecord
from backup.repository import Repository, Writer
from tests.repository.stored import MIB, Opened, SpyStorage, noise, snapshot_of


def stored(opened: Opened, *data: bytes) -> list[ObjectId]:
    writer = Writer(opened.repository)
    names = [writer.store(piece) for piece in data]
    writer.finish()
    return names


def test_each_file_is_durable_before_anything_names_it(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    repository = opened.repository
    monkeypatch.setattr(repository, "storage", SpyStorage(repository.path, steps.append))
    spy_on_the_index(repository, steps, monkeypatch)
    snapshot_of(Writer(repository), repository, [noise(1), noise(2), b"small"])
    assert steps == ["packs"] * 4 + ["index", "add_segment", "snapshots", "note_snapshots"]


def spy_on_the_index(repository: Repository, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("add_segment", "note_snapshots"):
        whole = getattr(repository.index, method)

        def tell(*arguments: Any, method: str = method, whole: Any = whole) -> None:
            steps.append(method)
            whole(*arguments)

        monkeypatch.setattr(repository.index, method, tell)


def test_a_segment_never_names_a_pack_that_is_not_there(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = opened.repository
    add = repository.index.add_segment

    def check(segment: SegmentId, packs: list[PackRecord], trees: Any = ()) -> None:
        standing = dict(repository.inventory.packs())
        assert {pack.id: pack.size for pack in packs}.items() <= standing.items()
        assert (repository.path / "index" / segment.hex()).exists()
        add(segment, packs, trees)

    monkeypatch.setattr(repository.index, "add_segment", check)
    monkeypatch.setattr("backup.repository.segments.SEGMENT_PACKS", 1)
    snapshot_of(Writer(repository), repository, [noise(label) for label in range(5)])
    assert len(opened.files("index")) > 2


def test_an_object_is_stored_once_however_often_it_comes(opened: Opened) -> None:
    """Parity row 1: content stored once, under its hash."""
    first = Writer(opened.repository)
    names = {first.store(noise(1)) for _ in range(3)}
    first.finish()
    assert len(names) == 1
    assert first.bytes_added == MIB
    again = Writer(opened.reopen())
    again.store(noise(1))
    again.finish()
    assert (again.bytes_added, again.bytes_stored) == (0, 0)
    assert len(opened.files("packs")) == 1


def test_what_was_stored_is_read_back_by_another_process(opened: Opened) -> None:
    data = [noise(1), b"small", b"other"]
    names = stored(opened, *data)
    opened.reopen()
    assert [opened.read(name) for name in names] == data


def test_a_run_that_wrote_nothing_leaves_no_file(opened: Opened) -> None:
    writer = Writer(opened.repository)
    writer.finish()
    assert opened.files("packs") + opened.files("index") + opened.files("tmp") == []


def test_packs_that_a_killed_run_left_unlisted_are_read_all_the_same(opened: Opened) -> None:
    (name,) = stored(opened, noise(1))
    for segment in opened.files("index"):
        segment.unlink()
    opened.reopen()
    assert opened.read(name) == noise(1)


def test_packs_that_a_killed_run_left_unlisted_are_adopted_by_the_next_and_not_stored_again(
    opened: Opened,
) -> None:
    """It would make a run that is killed again and again grow the repository each time."""
    stored(opened, noise(1))
    for segment in opened.files("index"):
        segment.unlink()
    writer = Writer(opened.reopen())
    name = writer.store(noise(1))
    assert writer.bytes_added == 0
    writer.finish()
    assert len(opened.files("packs")) == 1
    assert len(opened.files("index")) == 1
    assert opened.repository.index.place(name) is not None


def test_a_run_that_only_adopts_lists_what_it_adopted(opened: Opened) -> None:
    (name,) = stored(opened, noise(1))
    opened.files("index")[0].unlink()
    Writer(opened.reopen()).finish()
    assert opened.reopen().index.place(name) is not None
    assert len(opened.files("index")) == 1


def test_a_damaged_segment_is_told_and_what_it_listed_is_read_from_the_packs(opened: Opened) -> None:
    (name,) = stored(opened, noise(1))
    (segment,) = opened.files("index")
    segment.chmod(0o600)
    segment.write_bytes(b"imbsegm\x01")
    (opened.path / "index.lmdb").unlink()
    opened.notices.clear()
    opened.reopen()
    assert opened.read(name) == noise(1)
    assert any("index segment" in notice for notice in opened.notices)


def test_an_object_of_a_pack_that_is_gone_is_stored_again(opened: Opened) -> None:
    (name,) = stored(opened, noise(1))
    opened.files("packs")[0].unlink()
    repository = opened.reopen()
    assert repository.lookup.lacks_something()
    with pytest.raises(Damaged):
        opened.read(name)
    stored(opened, noise(1))
    opened.reopen()
    assert opened.read(name) == noise(1)


def test_a_run_given_up_leaves_no_temporary_file_and_keeps_finished_packs(opened: Opened) -> None:
    writer = Writer(opened.repository)
    finished = writer.store(noise(1))
    writer.store(b"waiting")
    writer.discard()
    assert opened.files("tmp") == []
    opened.reopen()
    assert opened.read(finished) == noise(1)
    assert len(opened.files("packs")) == 1


def test_temporary_files_of_others_count_for_nothing(opened: Opened) -> None:
    (name,) = stored(opened, b"data")
    (opened.path / "tmp" / "half-written").write_bytes(b"imbpack\x01 and no more")
    opened.reopen()
    assert opened.read(name) == b"data"


def test_files_of_other_names_are_left_alone(opened: Opened) -> None:
    """An editor's copy, or what a file manager leaves behind."""
    (name,) = stored(opened, b"data")
    (pack,) = opened.files("packs")
    strange = [
        opened.path / "index" / "README",
        pack.parent / f"{pack.name}~",
        pack.parent / (" " * 64),
        opened.path / "index" / ("g" * 64),
    ]
    for path in strange:
        path.write_bytes(b"not ours")
    opened.notices.clear()
    opened.reopen()
    assert opened.read(name) == b"data"
    assert opened.notices == []
    stored(opened, b"more")
    assert all(path.read_bytes() == b"not ours" for path in strange)


# The index is derived


def snapshot_in(opened: Opened) -> SnapshotId:
    writer = Writer(opened.repository)
    return snapshot_of(writer, opened.repository, [noise(1), b"small"]).id


@pytest.mark.parametrize("also_segments", [False, True])
def test_a_deleted_index_is_made_anew_with_its_trees(opened: Opened, also_segments: bool) -> None:
    snapshot_id = snapshot_in(opened)
    before = opened.repository.index.status()
    opened.close()
    Path(opened.path / "index.lmdb").unlink()
    if also_segments:
        opened.files("index")[0].unlink()
    repository = opened.open()
    if not also_segments:
        assert repository.index.status()[1:5] == before[1:5]
    (snapshot,) = repository.snapshots()
    assert snapshot.id == snapshot_id
    entry = repository.root(snapshot).entry(0)
    assert entry.tree is not None
    assert len(repository.directory(entry.tree)) == 0


def test_a_tree_that_the_index_has_wrong_is_read_from_its_pack(opened: Opened) -> None:
    snapshot_in(opened)
    (snapshot,) = opened.repository.snapshots()
    right = bytes(opened.repository.tree(snapshot.root))
    opened.repository.index.add_trees([(snapshot.root, right[:-1] + b"!")])
    assert bytes(opened.repository.tree(snapshot.root)) == right


def test_what_another_process_writes_is_found_without_opening_again(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount goes on while a backup runs; here the other process has an index of its own."""
    monkeypatch.setattr("backup.repository.repository.index_paths", lambda *_: [opened.cache / "other.lmdb"])
    other = Opened(opened.path, opened.cache)
    (name,) = stored(other, noise(1))
    other.close()
    monkeypatch.setattr("backup.repository.lookup.RESYNC_SECONDS", 0.0)
    assert opened.repository.index.place(name) is None
    assert opened.read(name) == noise(1)
    assert opened.repository.index.place(name) is not None


def test_a_manifest_that_vanishes_is_noticed(opened: Opened) -> None:
    snapshot_id = snapshot_in(opened)
    opened.files("snapshots")[0].unlink()
    opened.notices.clear()
    assert opened.reopen().snapshots() == []
    assert any(snapshot_id[:12] in notice and "vanished" in notice for notice in opened.notices)
