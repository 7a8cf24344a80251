"""A backup ended in the middle leaves a sound repository, and the next one works."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.check import DONE, INTERRUPTED, assert_no_traceback
from tests.support.compare import differences
from tests.support.everything import MIB, noise
from tests.support.imbfs import Imbfs, Result, wait_until

FILES = 24
SIZE = 6 * MIB


@pytest.fixture(scope="module")
def large_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough to be caught in the middle of: 150 MB that does not compress."""
    source = tmp_path_factory.mktemp("large") / "source"
    source.mkdir()
    for number in range(FILES):
        (source / f"file-{number:02}").write_bytes(noise(SIZE, number))
    return source


def files_in(imbfs: Imbfs) -> list[Path]:
    return [path for path in imbfs.repository.rglob("*") if path.is_file()]


def stored_files(imbfs: Imbfs) -> int:
    return sum(path.is_file() for path in (imbfs.repository / "packs").rglob("*"))


MOMENTS: dict[str, Callable[[Imbfs], bool]] = {
    "at-the-first-write": lambda imbfs: stored_files(imbfs) > 0,
    "after-some-packs": lambda imbfs: stored_files(imbfs) > 3,
}


def end_in_the_middle(imbfs: Imbfs, source: Path, moment: str, number: signal.Signals) -> Result:
    with imbfs.start("backup", source) as running:
        reached = MOMENTS[moment]
        wait_until(lambda: reached(imbfs) or running.process.poll() is not None, moment)
        assert running.process.poll() is None, f"the backup was done before the signal: {running.result()}"
        running.send(number)
        return running.result()


def assert_sound_and_useful(imbfs: Imbfs, source: Path) -> None:
    assert imbfs.snapshots() == []
    assert imbfs.run("check", "--read-data").code == DONE
    imbfs.run("backup", source)
    assert imbfs.run("check", "--read-data").code == DONE
    imbfs.run("restore", "latest", "--target", imbfs.directory / "back")
    assert differences(source, imbfs.directory / "back") == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_is_exit_130_and_the_repository_stays_sound(
    imbfs: Imbfs, large_source: Path, moment: str
) -> None:
    imbfs.run("init")
    result = end_in_the_middle(imbfs, large_source, moment, signal.SIGINT)
    assert result.code == INTERRUPTED, result
    assert_no_traceback(result)
    assert_sound_and_useful(imbfs, large_source)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda n: n.name)
def test_the_repository_survives_a_signal(imbfs: Imbfs, large_source: Path, number: signal.Signals) -> None:
    imbfs.run("init")
    result = end_in_the_middle(imbfs, large_source, "after-some-packs", number)
    assert result.code != DONE
    assert_no_traceback(result)
    assert_sound_and_useful(imbfs, large_source)


@pytest.mark.parametrize("milliseconds", [0, 40, 110, 190, 300])
def test_ctrl_c_between_any_two_steps_is_130_and_leaves_nothing_unsound(
    imbfs: Imbfs, large_source: Path, milliseconds: int
) -> None:
    imbfs.run("init")
    made = len(files_in(imbfs))
    with imbfs.start("backup", large_source) as running:
        wait_until(lambda: len(files_in(imbfs)) > made, "the first byte in the repository")
        time.sleep(milliseconds / 1000)
        running.send(signal.SIGINT)
        result = running.result()
    assert result.code == INTERRUPTED or b"snapshot" in result.stderr, result
    assert_no_traceback(result)
    assert imbfs.run("check", "--read-data").code == DONE


def test_ctrl_c_leaves_no_temporary_files(imbfs: Imbfs, large_source: Path) -> None:
    imbfs.run("init")
    end_in_the_middle(imbfs, large_source, "at-the-first-write", signal.SIGINT)
    assert [path for path in files_in(imbfs) if "tmp" in path.parts[-2:]] == []


def test_what_an_interrupted_backup_stored_is_not_stored_again(imbfs: Imbfs, large_source: Path) -> None:
    imbfs.run("init")
    end_in_the_middle(imbfs, large_source, "after-some-packs", signal.SIGINT)
    summary = imbfs.backup(large_source)
    assert summary["bytes_added"] < FILES * SIZE


def test_ctrl_c_during_a_restore_leaves_no_half_file_under_its_name(
    imbfs: Imbfs, large_source: Path, tmp_path: Path
) -> None:
    imbfs.run("init")
    imbfs.run("backup", large_source)
    back = tmp_path / "back"
    with imbfs.start("restore", "latest", "--target", back) as running:
        wait_until(lambda: back.exists() and len(list(back.iterdir())) > 2, "the first files")
        running.send(signal.SIGINT)
        result = running.result()
    assert result.code in (DONE, INTERRUPTED), result
    assert_no_traceback(result)
    for path in back.glob("file-*"):
        assert path.stat().st_size == SIZE
        assert path.read_bytes() == (large_source / path.name).read_bytes()


def test_a_backup_killed_at_four_fifths_stores_no_more_than_a_quarter_anew(
    imbfs: Imbfs, large_source: Path
) -> None:
    whole = FILES * SIZE

    def stored() -> int:
        packs = (imbfs.repository / "packs").rglob("*")
        return sum(path.stat().st_size for path in packs if path.is_file())

    imbfs.run("init", "--pack-size", "4M")
    with imbfs.start("backup", "--workers", "1", large_source) as running:
        wait_until(lambda: stored() > 0.8 * whole or running.process.poll() is not None, "four fifths")
        assert running.process.poll() is None, "the backup was done before the signal"
        running.send(signal.SIGKILL)
        running.result()
    summary = imbfs.backup(large_source)
    assert summary["bytes_read"] == whole
    assert 0 < summary["bytes_stored"] <= whole / 4
