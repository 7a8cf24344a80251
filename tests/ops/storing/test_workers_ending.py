"""Workers and the main process end together, however one of them ends; what was stored is kept."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.check import DONE, FAILED, INTERRUPTED, assert_no_traceback
from tests.support.compare import differences
from tests.support.everything import MIB, noise
from tests.support.imbfs import Imbfs, Running, wait_until

FILES = 24
SIZE = 6 * MIB


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough to be caught in the middle of."""
    source = tmp_path_factory.mktemp("ending") / "source"
    source.mkdir()
    for number in range(FILES):
        (source / f"file-{number:02}").write_bytes(noise(SIZE, number))
    return source


def workers_of(running: Running) -> list[int]:
    try:
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(pid) for pid in children.split()]


def packs(imbfs: Imbfs) -> int:
    return sum(path.is_file() for path in (imbfs.repository / "packs").rglob("*"))


def in_the_middle(imbfs: Imbfs, running: Running) -> list[int]:
    wait_until(lambda: packs(imbfs) > 0 or running.process.poll() is not None, "the first pack")
    workers = workers_of(running)
    assert len(workers) == 2, running.result()
    return workers


def assert_the_rest_is_stored(imbfs: Imbfs, source: Path, most: int) -> None:
    assert imbfs.run("check", "--read-data").code == DONE
    assert imbfs.backup(source)["bytes_added"] <= most
    assert imbfs.run("check", "--read-data").code == DONE
    imbfs.run("restore", "latest", "--target", imbfs.directory / "back")
    assert differences(source, imbfs.directory / "back") == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda n: n.name)
def test_a_worker_that_dies_ends_the_backup_with_one_line(
    imbfs: Imbfs, source: Path, number: signal.Signals
) -> None:
    imbfs.run("init")
    with imbfs.start("backup", "--workers", "2", source) as running:
        os.kill(in_the_middle(imbfs, running)[0], number)
        result = running.result()
    assert result.code == FAILED, result
    assert_no_traceback(result)
    assert number.name in result.errors
    assert len(result.errors.splitlines()) == 1
    assert imbfs.snapshots() == []
    assert_the_rest_is_stored(imbfs, source, FILES * SIZE)


def test_no_worker_outlives_a_main_process_that_is_killed(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    with imbfs.start("backup", "--workers", "2", source) as running:
        workers = in_the_middle(imbfs, running)
        running.process.kill()
        running.process.wait()
        wait_until(lambda: not any(map(alive, workers)), "the end of the workers")
    assert_the_rest_is_stored(imbfs, source, FILES * SIZE)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_stopping_keeps_what_was_stored(imbfs: Imbfs, source: Path, number: signal.Signals) -> None:
    """The whole group gets the signal, as from a terminal."""
    imbfs.run("init")
    with imbfs.start("backup", "--workers", "2", source) as running:
        wait_until(lambda: packs(imbfs) >= 4 or running.process.poll() is not None, "four packs")
        running.send(number)
        result = running.result()
    assert result.code == INTERRUPTED, result
    assert_no_traceback(result)
    assert not list((imbfs.repository / "tmp").iterdir())
    assert_the_rest_is_stored(imbfs, source, FILES * SIZE - 60 * MIB)
