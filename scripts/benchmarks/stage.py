"""Where a benchmark runs: every process and every mount is ended with it, whatever happens."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from scripts.benchmarks.meter import MemoryWatch, family

MARK = "IMBFS_BENCH"
READER = Path(__file__).with_name("reader.py")
RAM = Path("/dev/shm")
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StepFailed(Exception):
    """A program did not do what it was to be measured at."""


@dataclass(frozen=True)
class Command:
    args: Sequence[str | Path]
    cwd: Path | None = None
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """What a command took. CPU: its own and that of all it has waited for."""

    wall: float
    cpu: float
    memory: dict[str, int]


def shell(line: str, cwd: Path) -> Command:
    return Command(["bash", "-o", "pipefail", "-c", line], cwd)


class Stage:
    """A working directory with all that runs and is mounted from it. Used in a `with`."""

    def __init__(self, parent: Path) -> None:
        name = f"imbfs-bench-{os.getpid()}-{secrets.token_hex(4)}"
        self.mark = name
        self.work = parent / name
        self.ram = RAM / name
        self._count = 0

    def __enter__(self) -> "Stage":
        self.work.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Nothing may stop the clearing up.
        before = {number: signal.signal(number, signal.SIG_IGN) for number in END_SIGNALS}
        for mountpoint in mounts_below(self.work):
            unmount(mountpoint, patience=1)
        end_processes(self.mark, patience=2)
        for directory in (self.work, self.ram):
            shutil.rmtree(directory, ignore_errors=True)
        for number, handler in before.items():
            signal.signal(number, handler)

    # Commands.

    def run(self, command: Command) -> None:
        """Run to its end, unmeasured."""
        self.finish(self.start(command), command)

    def time(self, command: Command, output: Path | None = None) -> float:
        began = time.perf_counter()
        process = self.start(command, output)
        process.wait()
        wall = time.perf_counter() - began
        self.finish(process, command)
        return wall

    def measure(self, command: Command, output: Path | None = None) -> Usage:
        began = time.perf_counter()
        process = self.start(command, output)
        with MemoryWatch(lambda: family([process.pid]), "pss") as watch:
            cpu = reap(process)
            wall = time.perf_counter() - began
        self.finish(process, command)
        return Usage(wall, cpu, watch.highest)

    def start(
        self, command: Command, output: Path | None = None, *, mark: str = "", talk: bool = False
    ) -> "subprocess.Popen[str]":
        """`mark` finds the process again, also when it goes into background; `talk` opens pipes to it."""
        self._count += 1
        out = None if output is None else output.open("wb")
        pipe_or = subprocess.PIPE if talk else subprocess.DEVNULL
        try:
            with (self.work / "errors").open("wb") as errors:
                return subprocess.Popen(
                    [os.fspath(part) for part in command.args],
                    cwd=command.cwd,
                    env=os.environ | command.env | {MARK: f"{self.mark}/{mark}"},
                    stdin=pipe_or,
                    stdout=out or pipe_or,
                    stderr=errors,
                    text=True,
                    start_new_session=True,
                )
        except OSError as error:
            raise StepFailed(f"{command.args[0]}: {error.strerror}") from error
        finally:
            if out:
                out.close()

    def finish(self, process: "subprocess.Popen[str]", command: Command) -> None:
        """Wait for it; StepFailed with what it said, when it ends in another way."""
        if process.wait():
            errors = (self.work / "errors").read_text(errors="backslashreplace").strip()
            told = " ".join(map(str, command.args))
            raise StepFailed(f"`{told}` ended with {process.returncode}: {errors[-1000:]}")

    # Readers.

    def readers(self, jobs: list[dict[str, Any]]) -> tuple[float, list[dict[str, Any]]]:
        """Do the jobs at once, one process each; the seconds from the first's start to the last's end."""
        command = Command([sys.executable, "-S", READER])
        started = [self.start(command, talk=True) for _ in jobs]
        for process, job in zip(started, jobs, strict=True):
            _tell(process, json.dumps(job))
        for process in started:
            _hear(process)
        for process in started:
            _tell(process, "go")
        done = [json.loads(_hear(process) or "null") for process in started]
        for process in started:
            process.communicate()
        if None in done:
            raise StepFailed(f"a reader failed: {(self.work / 'errors').read_text()[-500:]}")
        return max(one["ended"] for one in done) - min(one["began"] for one in done), done

    # Places.

    def mountpoint(self) -> Path:
        self._count += 1
        path = self.work / f"mount-{self._count}"
        path.mkdir()
        return path

    @contextlib.contextmanager
    def target(self, parent: Path) -> Iterator[Path]:
        """A new directory to copy into, gone afterwards."""
        self._count += 1
        path = parent / f"target-{self._count}"
        path.mkdir(parents=True)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def ram_for(self, size: int) -> Path | None:
        """Where to copy that much into memory; None where there is no room."""
        if "/dev/shm tmpfs" not in Path("/proc/self/mounts").read_text():
            return None
        state = os.statvfs(RAM)
        free = min(state.f_bavail * state.f_frsize, _free_memory())
        return self.ram if size * 1.3 < free else None


def reap(process: "subprocess.Popen[str]") -> float:
    """Wait for its end; the CPU seconds of it and of all that it waited for."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def _tell(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(line + "\n")
        process.stdin.flush()


def _hear(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _free_memory() -> int:
    found = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    return int(found[1]) * 1024 if found else 0


# Mounts and processes, as the kernel lists them.


def mounts_below(directory: Path) -> list[Path]:
    """Mount points in this directory, the last one made first."""
    found = []
    for line in Path("/proc/self/mounts").read_bytes().splitlines():
        place = re.sub(rb"\\(\d{3})", lambda match: bytes([int(match[1], 8)]), line.split(b" ")[1])
        path = Path(os.fsdecode(place))
        if path.is_relative_to(directory):
            found.append(path)
    return found[::-1]


def unmount(mountpoint: Path, patience: float = 10) -> None:
    """As any user would; at the end of patience, whoever still uses it."""
    plain = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
    end = time.monotonic() + patience
    while mountpoint in mounts_below(mountpoint):
        late = time.monotonic() > end
        lazy = (["-l"] if os.geteuid() == 0 else ["-z"]) if late else []
        done = subprocess.run([*plain, *lazy, mountpoint], capture_output=True, check=False)
        if late:
            return
        if done.returncode:
            time.sleep(0.05)


def processes_marked(mark: str) -> list[int]:
    """Every process that was started with this mark, and what it started in turn."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "environ").read_bytes().split(b"\0")
            if any(word == wanted or word.startswith(wanted + b"/") for word in words):
                found.append(int(process.name))
    return found


def end_processes(mark: str, patience: float = 20) -> None:
    """Wait for them to end by themselves, then ask, then kill."""
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        for pid in processes_marked(mark) if number else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number or 0)
        end = time.monotonic() + (patience if number is None else 5)
        while time.monotonic() < end:
            if not processes_marked(mark):
                return
            time.sleep(0.01)
