"""Restoring through worker processes: the same comes back, whoever writes it and whatever goes wrong."""

import os
import signal
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.objects.pack import pack_key
from backup.ops.backup import BackupOptions, backup
from backup.ops.restore import RestoreOptions, RestoreSummary, restore
from backup.ops.restoring.crew import Crew
from backup.ops.restoring.filling import Filling
from backup.ops.restoring.plain import PlainFile
from backup.ops.restoring.reader import RepositoryReader
from backup.snapshots.paths import find_entry
from tests.repository.stored import MIB, Opened, Silent, make, noise
from tests.support.compare import differences
from tests.support.everything import remove_tree
from tests.support.in_memory import Watcher, leftovers
from tests.support.small import make_old

ACCESS_ACL = bytes.fromhex(
    "02000000 01000700ffffffff 02000600e8030000 04000400ffffffff 10000600ffffffff 20000000ffffffff"
)

#: Enough to fill several batches.
FILES = 700


def build(root: Path) -> Path:
    """Many small files, some of special modes; large ones, holes, links, attributes, and deep directories."""
    for number in range(FILES):
        path = root / f"directory-{number % 37}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(number, number * 13))
        path.chmod((0o644, 0o600, 0o444, 0o4755, 0o2755, 0)[number % 6])
    (root / "large").write_bytes(noise(1, 5 * MIB))
    with (root / "holes").open("wb") as file:
        file.seek(3 * MIB)
        file.write(noise(2, 5_000))
        file.truncate(9 * MIB)
    (root / "attributes").write_bytes(b"x")
    os.setxattr(root / "attributes", "user.colour", b"blue")
    (root / "with-acl").write_bytes(b"y")
    os.setxattr(root / "with-acl", "system.posix_acl_access", ACCESS_ACL)
    for number in range(5):
        os.link(root / "large", root / f"directory-{number}" / "link")
    os.symlink("large", root / "symlink")
    deep = root
    for level in range(90):
        deep = deep / "below"
        deep.mkdir()
        (deep / "file").write_bytes(noise(level, 3_000))
    make_old(root)
    (root / "directory-3").chmod(0o555)
    return root


@pytest.fixture(scope="module")
def source(real_disk: Path) -> Iterator[Path]:
    root = real_disk / f"restored-by-workers-{os.getpid()}"
    yield build(root)
    remove_tree(root)


@pytest.fixture
def target(real_disk: Path, tmp_path: Path) -> Iterator[Path]:
    path = real_disk / f"target-of-{tmp_path.name}"
    yield path
    if path.is_dir():
        remove_tree(path)


@pytest.fixture(scope="module")
def opened(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    opened = make(tmp_path_factory.mktemp("workers") / "repository")
    save(opened, source)
    yield opened
    opened.close()


def save(opened: Opened, source: Path) -> None:
    options = BackupOptions(datetime.now(UTC), "host", "user", workers=0)
    backup(opened.repository, [os.fsencode(source)], options, Silent())


def put_back(
    opened: Opened, target: Path, crew: Crew, options: RestoreOptions | None = None
) -> tuple[RestoreSummary, Watcher]:
    (snapshot,) = opened.repository.snapshots()
    entry, _ = find_entry(snapshot, b"", opened.repository.tree)
    watcher = Watcher()
    reader = RepositoryReader(opened.repository)
    return restore(reader, entry, bytes(target), options or RestoreOptions(), watcher, crew=crew), watcher


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_the_number_of_workers_changes_nothing_that_comes_back(
    opened: Opened, source: Path, target: Path, workers: int
) -> None:
    with Crew(opened.repository, workers) as crew:
        summary, watcher = put_back(opened, target, crew)
    assert differences(source, target, holes=True) == []
    assert (summary.errors, summary.links, watcher.problems) == (0, 1, [])
    assert summary.files == FILES + 90 + 4 + 5
    assert watcher.seen[-1][0] == summary.files + summary.links


def test_what_dead_workers_had_is_written_all_the_same(opened: Opened, source: Path, target: Path) -> None:
    with Crew(opened.repository, 2) as crew:
        for member in crew._members.values():
            os.kill(member.pid, signal.SIGKILL)
        summary, _ = put_back(opened, target, crew)
    assert differences(source, target, holes=True) == []
    assert summary.errors == 0


def test_a_worker_that_dies_on_the_way_costs_nothing(
    opened: Opened, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = Crew.submit

    def submit_and_kill(crew: Crew, *arguments: object) -> None:
        submit(crew, *arguments)  # type: ignore[arg-type]
        if len(crew._members) == 2:
            os.kill(next(iter(crew._members.values())).pid, signal.SIGKILL)

    monkeypatch.setattr(Crew, "submit", submit_and_kill)
    with Crew(opened.repository, 2) as crew:
        summary, _ = put_back(opened, target, crew)
    assert differences(source, target, holes=True) == []
    assert summary.errors == 0


def test_a_damaged_chunk_costs_its_files_and_is_named(tmp_path: Path, source: Path, target: Path) -> None:
    with_damage = make(tmp_path / "repository")
    save(with_damage, source)
    repository = with_damage.repository
    (snapshot,) = repository.snapshots()
    entry, _ = find_entry(snapshot, b"directory-5/file-5", repository.tree)
    chunk = entry.extents[0].chunk
    assert chunk is not None
    place = repository.reader.place(chunk)
    pack = Path(repository.path) / pack_key(place.pack)
    pack.chmod(0o600)
    with pack.open("r+b") as file:
        file.seek(place.block_offset + place.block_size // 2)
        file.write(bytes(64))
    with Crew(repository, 2) as crew:
        summary, watcher = put_back(with_damage, target, crew)
    with_damage.close()
    told = {os.fsdecode(path) for path, _ in watcher.problems}
    missing = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and not (target / path.relative_to(source)).exists()
    }
    assert missing == told
    assert 0 < len(told) == summary.errors < FILES // 2
    for path in target.rglob("file-*"):
        assert path.read_bytes() == (source / path.relative_to(target)).read_bytes()
    assert leftovers(target) == []


def test_files_that_would_get_an_acl_from_their_directory_do_not(
    opened: Opened, source: Path, target: Path
) -> None:
    default_acl = bytes.fromhex(
        "02000000 01000700ffffffff 02000700e8030000 04000500ffffffff 10000700ffffffff 20000500ffffffff"
    )
    target.parent.mkdir(exist_ok=True)
    target.mkdir()
    os.setxattr(target, "system.posix_acl_default", default_acl)
    with Crew(opened.repository, 2) as crew:
        put_back(opened, target, crew)
    assert differences(source, target, holes=True) == []


def test_what_stands_already_is_left_and_the_rest_is_written(
    opened: Opened, source: Path, target: Path
) -> None:
    with Crew(opened.repository, 2) as crew:
        put_back(opened, target, crew)
    remove_tree(target / "directory-7")
    (target / "directory-8" / "file-8").unlink()
    kept = (target / "large").stat()
    with Crew(opened.repository, 2) as crew:
        summary, _ = put_back(opened, target, crew)
    assert differences(source, target, holes=True) == []
    assert (target / "large").stat().st_ino == kept.st_ino
    assert summary.files < 30


def test_a_file_is_never_seen_under_its_name_before_it_is_whole(
    opened: Opened, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every write, what has a name in the target has all of its bytes and its mode."""
    pwrite = os.pwrite
    seen: list[str] = []

    def look(fd: int, data: bytes, offset: int) -> int:
        if len(seen) < 20 or b"large" in os.fsencode(os.readlink(f"/proc/self/fd/{fd}")):
            for directory, _, files in os.walk(target / "directory-1"):
                for name in files:
                    path = Path(directory, name)
                    twin = source / path.relative_to(target)
                    if path.name.startswith("file-"):
                        seen.append(name)
                        assert path.stat().st_size == twin.stat().st_size
                        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(twin.stat().st_mode)
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", look)
    with Crew(opened.repository, 0) as crew:
        put_back(opened, target, crew)
    assert seen


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The names of all files that were given to workers."""
    names: list[bytes] = []
    submit = Crew.submit

    def noting(crew: Crew, files: list[PlainFile], *arguments: object) -> None:
        names.extend(file[1] for file in files)
        submit(crew, files, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Crew, "submit", noting)
    return names


def test_workers_write_new_files_into_directories_that_are_there(
    opened: Opened, source: Path, target: Path, handed_over: list[bytes]
) -> None:
    for number in range(37):
        (target / f"directory-{number}").mkdir(parents=True)
    (target / "directory-5" / "file-5").write_bytes(b"another")
    (target / "directory-5" / "unknown").write_bytes(b"of no snapshot")
    with Crew(opened.repository, 2) as crew:
        summary, _ = put_back(opened, target, crew, RestoreOptions(delete=True))
    assert differences(source, target, holes=True) == []
    assert (summary.deleted, summary.errors) == (1, 0)
    assert len(handed_over) >= FILES - 1
    assert b"file-5" not in handed_over


def test_what_is_excluded_is_not_given_to_workers(
    opened: Opened, source: Path, target: Path, handed_over: list[bytes]
) -> None:
    options = RestoreOptions(exclude=lambda path, is_dir: path.endswith(b"7") and not is_dir)
    with Crew(opened.repository, 2) as crew:
        put_back(opened, target, crew, options)
    assert len(handed_over) > FILES // 2
    assert not [name for name in handed_over if name.endswith(b"7")]
    assert not list(target.rglob("file-*7"))
    assert (target / "directory-1" / "file-1").exists()


def test_workers_give_files_their_attributes(
    opened: Opened, source: Path, target: Path, handed_over: list[bytes]
) -> None:
    with Crew(opened.repository, 2) as crew:
        put_back(opened, target, crew)
    assert b"attributes" in handed_over
    assert os.getxattr(target / "attributes", "user.colour") == b"blue"
    acl = "system.posix_acl_access"
    assert os.getxattr(target / "with-acl", acl) == os.getxattr(source / "with-acl", acl)
    assert differences(source, target, holes=True) == []


def test_workers_leave_nothing_to_be_written_again(
    opened: Opened, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails in a worker is done again by the main process, and would only be slow."""
    again: list[object] = []
    monkeypatch.setattr(Filling, "_redo", lambda *what: again.append(what))
    with Crew(opened.repository, 2) as crew:
        put_back(opened, target, crew)
    assert again == []
    assert differences(source, target, holes=True) == []
