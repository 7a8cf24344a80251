"""Reading through worker processes: the same is stored, whoever reads and whatever goes wrong with a file."""

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.model.entry import FLAG_CHANGING
from backup.ops.backup import BackupOptions, BackupResult, backup
from backup.ops.storing import batch, readers, worker
from backup.ops.storing.part import encode_in_place
from backup.ops.storing.reader import BatchReader
from backup.source.descent import Identity, open_file
from tests.repository.stored import MIB, Opened, Silent, make, noise
from tests.support.everything import text
from tests.support.small import make_old

#: Enough to fill several batches.
FILES = 400


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small and large files, some equal, some linked, with holes, and paths too long to be opened by."""
    root = tmp_path_factory.mktemp("workers") / "source"
    for number in range(FILES):
        path = root / f"directory-{number % 37}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text(20_000)[number:] if number % 7 else noise(number % 3, 9_000))
    (root / "large").write_bytes(noise(1, 9 * MIB) + text(7 * MIB))
    (root / "medium").write_bytes(text(3 * MIB))
    for number in range(5):
        os.link(root / "medium", root / f"directory-{number}" / "link")
    with (root / "holes").open("wb") as file:
        for number in range(30):
            file.seek(number * MIB)
            file.write(noise(number, 5_000))
    os.symlink("large", root / "symlink")
    make_old(root)
    deep_files(root)
    return root


def deep_files(root: Path) -> None:
    fd = os.open(root, os.O_RDONLY)
    for level in range(120):
        os.mkdir("n" * 50, dir_fd=fd)
        below = os.open("n" * 50, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        with os.fdopen(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd), "wb") as file:
            file.write(noise(level, 30_000))
    os.close(fd)


def run(opened: Opened, source: Path, workers: int, monitor: Silent | None = None) -> BackupResult:
    options = BackupOptions(datetime.now(UTC), "host", "user", workers=workers)
    return backup(opened.repository, [os.fsencode(source)], options, monitor or Silent())


def stored(tmp_path: Path, source: Path, workers: int) -> tuple[list[str], object]:
    opened = make(tmp_path / f"with-{workers}")
    run(opened, source, workers)
    (snapshot,) = opened.repository.snapshots()
    names = [path.name for part in ("packs", "index") for path in opened.files(part)]
    opened.close()
    return names, snapshot.root


def test_the_number_of_workers_changes_no_byte_of_what_is_stored(tmp_path: Path, source: Path) -> None:
    """Parity row 21: parallel workers, dry run."""
    alone = stored(tmp_path, source, 0)
    assert len(alone[0]) > 5
    assert [stored(tmp_path, source, workers) for workers in (1, 2, 4)] == [alone] * 3


@pytest.fixture
def narrow_sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of the least size that the kernel gives; whoever waits for the other one then is not waited for."""
    make_pair = socket.socketpair

    def narrow() -> tuple[socket.socket, socket.socket]:
        pair = make_pair()
        for end in pair:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        return pair

    def too_long(*_: object) -> None:
        raise TimeoutError("the processes wait for each other")

    monkeypatch.setattr(socket, "socketpair", narrow)
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("narrow_sockets")
def test_messages_longer_than_a_socket_holds_block_nobody(tmp_path: Path) -> None:
    """Both ways at once: names to a worker, what it read of many small files from it."""
    source = tmp_path / "source"
    for number in range(2000):
        path = source / str(number % 20) / f"{number}-{'n' * 200}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    opened = make(tmp_path)
    assert run(opened, source, 2).statistics.files == 2000
    opened.close()


def test_a_small_backup_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "Crew", None)
    opened = make(tmp_path)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(b"small")
    assert run(opened, tmp_path / "source", 2).statistics.files == 1
    opened.close()


@pytest.fixture
def batches_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file a full batch: so even small trees go through workers."""
    monkeypatch.setattr(batch, "MAX_FILES", 1)


@pytest.mark.usefixtures("batches_of_one")
def test_one_large_file_is_read_by_one_worker_and_compressed_by_others_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "large").write_bytes(text(40 * MIB))

    def noted(kind: str, function: Callable[..., object]) -> Callable[..., object]:
        def note(*args: object) -> object:
            with (tmp_path / kind).open("a") as file:
                file.write(f"{os.getpid()}\n")
            return function(*args)

        return note

    monkeypatch.setattr(f"{worker.__name__}.encode_in_place", noted("encoders", encode_in_place))
    monkeypatch.setattr(BatchReader, "read", noted("readers", BatchReader.read))
    opened = make(tmp_path)
    run(opened, tmp_path / "source", workers=2)
    opened.close()
    readers = (tmp_path / "readers").read_text().split()
    encoders = (tmp_path / "encoders").read_text().split()
    assert len(readers) == 1
    # The first part is claimed when nobody compresses: it does not go to the one who is to read on.
    assert set(encoders) - set(readers)


def test_a_file_that_vanishes_is_a_notice_and_its_other_name_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a program leaves it that writes under one name, links, and removes the first."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "a-temporary").write_bytes(b"content")
    os.link(source / "a-temporary", source / "b-final")
    (source / "gone").write_bytes(b"gone")
    submit = readers.Readers.submit

    def remove_first(self: readers.Readers, full: batch.Batch) -> None:
        for name in ("a-temporary", "gone"):
            (source / name).unlink(missing_ok=True)
        submit(self, full)

    monkeypatch.setattr(readers.Readers, "submit", remove_first)
    opened, monitor = make(tmp_path), Silent()
    result = run(opened, source, 2, monitor)
    assert monitor.problems == []
    assert len(monitor.notices) == 2
    assert names_and_content(opened) == {b"b-final": b"content"}
    assert result.statistics.errors == 0
    opened.close()


def names_and_content(opened: Opened) -> dict[bytes, bytes]:
    (snapshot,) = opened.repository.snapshots()
    tree = opened.repository.root(snapshot).entry(0).tree
    assert tree is not None
    return {
        entry.name: b"".join(opened.read(extent.chunk) for extent in entry.extents if extent.chunk)
        for entry in opened.repository.directory(tree).entries()
    }


@pytest.mark.usefixtures("batches_of_one")
def test_a_file_that_cannot_be_read_is_a_problem_with_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("bad", "good"):
        (source / name).write_bytes(name.encode())

    def fail(dir_fd: int, name: bytes, expected: Identity) -> tuple[int, os.stat_result]:
        if name == b"bad":
            raise OSError(errno.EIO, "Input/output error")
        return open_file(dir_fd, name, expected)

    monkeypatch.setattr("backup.ops.storing.files.open_file", fail)
    opened, monitor = make(tmp_path), Silent()
    assert run(opened, source, 2, monitor).statistics.errors == 1
    assert monitor.problems == [(os.fsencode(source / "bad"), "Input/output error: left out")]
    assert names_and_content(opened) == {b"good": b"good"}
    opened.close()


@pytest.mark.usefixtures("batches_of_one")
def test_a_file_that_keeps_changing_is_stored_and_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    path = source / "log"
    path.write_bytes(b"one")
    times = iter(range(1, 100))

    def touch(fd: int) -> tuple[()]:
        if os.readlink(f"/proc/self/fd/{fd}") == str(path):
            os.utime(fd, (next(times), 0))
        return ()

    monkeypatch.setattr("backup.ops.storing.files.xattrs_of", touch)
    opened, monitor = make(tmp_path), Silent()
    run(opened, source, 2, monitor)
    (snapshot,) = opened.repository.snapshots()
    tree = opened.repository.root(snapshot).entry(0).tree
    assert tree is not None
    (entry,) = opened.repository.directory(tree).entries()
    assert entry.flags == FLAG_CHANGING
    assert len(monitor.notices) == 1
    opened.close()
