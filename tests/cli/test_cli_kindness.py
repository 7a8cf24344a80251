"""A backup that is kind to others: `--limit-rate`, `--low-priority` and `--workers`."""

import os
import time
from pathlib import Path

import pytest

from tests.support.check import WRONG_USE, assert_clear_error
from tests.support.everything import MIB, noise
from tests.support.imbfs import Imbfs, wait_until


@pytest.fixture
def source(imbfs: Imbfs, tmp_path: Path) -> Path:
    imbfs.run("init")
    source = tmp_path / "source"
    source.mkdir()
    for number in range(6):
        (source / f"file-{number}").write_bytes(noise(MIB // 2, number))
    return source


def test_a_rate_is_not_exceeded(imbfs: Imbfs, source: Path) -> None:
    started = time.monotonic()
    summary = imbfs.backup(source, "--limit-rate", "1.5M")
    # Of 3 MiB, a second's worth goes at once.
    assert time.monotonic() - started >= 1
    assert summary["bytes_read"] == 3 * MIB


def test_what_is_unchanged_is_not_held_up(imbfs: Imbfs, source: Path) -> None:
    imbfs.backup(source)
    started = time.monotonic()
    summary = imbfs.backup(source, "--limit-rate", "1K/s")
    assert summary["files_unchanged"] == 6
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("workers", ["0", "2"])
def test_low_priority_is_that_of_idle_time_in_all_processes(imbfs: Imbfs, source: Path, workers: str) -> None:
    command = ("backup", "--low-priority", "--workers", workers, "--limit-rate", "1K", source)
    with imbfs.start(*command) as running:
        pid = running.process.pid
        wait_until(lambda: os.sched_getscheduler(pid) == os.SCHED_IDLE, "low priority")
        wait_until(lambda: len(children(pid)) == int(workers), "workers")
        assert {os.sched_getscheduler(child) for child in children(pid)} <= {os.SCHED_IDLE}


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(
    "option",
    [
        ("--limit-rate", "fast"),
        ("--limit-rate", "0"),
        ("--limit-rate", "-5M"),
        ("--limit-rate", "100"),
        ("--workers", "257"),
        ("--workers", "-1"),
        ("--workers", "two"),
    ],
    ids=" ".join,
)
def test_a_value_that_cannot_be_is_refused(imbfs: Imbfs, source: Path, option: tuple[str, str]) -> None:
    result = imbfs.run("backup", *option, source, check=False)
    assert_clear_error(result, WRONG_USE, option[0])
