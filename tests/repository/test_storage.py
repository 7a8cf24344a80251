"""Storages: whole files under keys, replaced in one step, in memory as on disk."""

from pathlib import Path

import pytest

from backup.storage import LocalStorage, MemoryStorage, Storage


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return LocalStorage(tmp_path) if request.param == "local" else MemoryStorage()


def test_a_file_is_read_whole_or_in_part(storage: Storage) -> None:
    storage.put("packs/ab/one", b"0123456789")
    assert storage.read("packs/ab/one") == b"0123456789"
    assert storage.read("packs/ab/one", 3, 4) == b"3456"
    assert storage.read("packs/ab/one", 8) == b"89"
    assert storage.read("packs/ab/one", 8, 100) == b"89"
    assert storage.read("packs/ab/one", 20, 5) == b""
    assert storage.size("packs/ab/one") == 10


def test_a_file_that_is_written_again_is_read_as_it_is_now(storage: Storage) -> None:
    """A manifest gets other labels: who has read it before must see them."""
    storage.put("snapshots/id", b"before")
    assert storage.read("snapshots/id") == b"before"
    storage.put("snapshots/id", b"now")
    assert storage.read("snapshots/id") == b"now"


def test_a_file_that_another_process_writes_again_is_read_as_it_is_now(tmp_path: Path) -> None:
    ours, theirs = LocalStorage(tmp_path), LocalStorage(tmp_path)
    theirs.put("snapshots/id", b"before")
    assert ours.read("snapshots/id") == b"before"
    theirs.put("snapshots/id", b"now")
    assert ours.read("snapshots/id") == b"now"


def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    for action in (storage.read, storage.size, storage.delete):
        with pytest.raises(FileNotFoundError):
            action("packs/none")


def test_a_deleted_file_is_gone(storage: Storage) -> None:
    storage.put("index/one", b"data")
    storage.read("index/one")
    storage.delete("index/one")
    with pytest.raises(FileNotFoundError):
        storage.read("index/one")
    assert list(storage.list("index")) == []


def test_a_listing_holds_every_file_below_with_its_size(storage: Storage) -> None:
    for key, size in {"packs/ab/one": 1, "packs/cd/two": 2, "index/three": 3}.items():
        storage.put(key, bytes(size))
    assert sorted(storage.list("packs")) == [("packs/ab/one", 1), ("packs/cd/two", 2)]
    assert list(storage.list("nowhere")) == []


def test_a_staged_file_is_seen_by_nobody_before_it_is_published(storage: Storage) -> None:
    staged = storage.stage()
    staged.append(b"one ")
    staged.append(memoryview(b"two"))
    assert list(storage.list("packs")) == []
    staged.publish("packs/ab/file")
    assert storage.read("packs/ab/file") == b"one two"


def test_a_discarded_file_leaves_nothing(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    staged = storage.stage()
    staged.append(b"data")
    staged.discard()
    staged.discard()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_files_are_read_only_and_for_their_owner(tmp_path: Path) -> None:
    LocalStorage(tmp_path).put("packs/ab/one", b"data")
    assert (tmp_path / "packs/ab/one").stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "packs/ab").stat().st_mode & 0o777 == 0o700


def test_a_symlink_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "id").symlink_to("../secret")
    with pytest.raises(OSError, match="symbolic links"):
        LocalStorage(tmp_path).read("snapshots/id")


def test_a_closed_storage_has_no_file_open(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("packs/ab/one", b"one")
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert storage.read("packs/ab/one", 0, 3) == b"one"
    storage.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_many_files_are_read_with_few_of_them_open(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    for number in range(100):
        storage.put(f"packs/ab/{number}", b"%d" % number)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(100):
        assert storage.read(f"packs/ab/{number}") == b"%d" % number
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 70
