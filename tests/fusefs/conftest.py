"""Mounts of the sample in processes of their own, ended in every case."""

import contextlib
import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.support.imbfs import MARK, ROOT

MNT_DETACH = 2


class Driver:
    """A mounted sample. `at` is its root."""

    def __init__(self, process: subprocess.Popen[bytes], at: Path, log: Path) -> None:
        self.process = process
        self.at = at
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def ended(self, seconds: float = 10) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(seconds)

    def end(self) -> None:
        lazily_unmount(self.at)
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        lazily_unmount(self.at)


def lazily_unmount(path: Path) -> None:
    while os.fsencode(path) in mount_points():
        assert ctypes.CDLL(None).umount2(os.fsencode(path), MNT_DETACH) == 0


def mount_points() -> list[bytes]:
    """Where mounts are; paths of the tests hold nothing that would be escaped."""
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_bytes().splitlines()]


def wait_until(condition: Callable[[], object], what: str, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.01)


def environment(mark: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", MARK: mark}


def run_driver(mark: str, *arguments: str | Path, output: IO[bytes], **extra: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fusefs.driver", *map(str, arguments)],
        env={**environment(mark), **extra},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=output,
    )


Mounter = Callable[..., Driver]


@contextlib.contextmanager
def drivers(directory: Path, mark: str) -> Iterator[Mounter]:
    """Gives a function that mounts; at the end all of its mounts are ended."""
    with contextlib.ExitStack() as stack:

        def mount(kind: str = "plain", *options: str, how: str = "serve", **extra: str) -> Driver:
            at = Path(tempfile.mkdtemp(prefix="mount-", dir=directory))
            log = at.with_name(at.name + ".log")
            with log.open("wb") as output:
                process = run_driver(mark, how, kind, at, *options, output=output, **extra)
            driver = Driver(process, at, log)
            stack.callback(driver.end)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n", log.read_text()
            return driver

        yield mount


@pytest.fixture
def mount(tmp_path: Path, mark: str) -> Iterator[Mounter]:
    with drivers(tmp_path, mark) as mounter:
        yield mounter


@pytest.fixture(scope="package")
def driver(mark: str) -> Iterator[Driver]:
    """One mount for all tests that leave it as it is. Others can reach it too."""
    with tempfile.TemporaryDirectory(prefix="imbfs-test-") as directory:
        Path(directory).chmod(0o755)
        with drivers(Path(directory), mark) as mounter:
            driver = mounter("whole", "allow_other")
            driver.at.parent.chmod(0o755)
            yield driver
