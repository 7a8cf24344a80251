"""The real command, run as a second process in an environment of its own."""

import base64
import contextlib
import functools
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
#: Marks in the environment every process that the tests start, and what those start in turn.
MARK = "IMBFS_TEST_RUN"
_numbers = itertools.count()
#: An ordinary user for tests that root runs: "nobody" on all distributions that have one.
ORDINARY_USER = 65534
#: Longer than any command of the tests takes; what takes longer hangs.
TIMEOUT = 120.0

Argument = str | bytes | Path


class Result(NamedTuple):
    code: int
    stdout: bytes
    stderr: bytes

    def json(self) -> Any:
        """The document on stdout; of a long operation, its last line: the summary."""
        try:
            return json.loads(self.stdout)
        except json.JSONDecodeError:
            return json.loads(self.stdout.splitlines()[-1])

    @property
    def text(self) -> str:
        return self.stdout.decode()

    @property
    def errors(self) -> str:
        return self.stderr.decode(errors="backslashreplace")

    def __str__(self) -> str:
        return f"exit {self.code}\nstdout: {self.stdout[-2000:]!r}\nstderr:\n{self.errors[-4000:]}"


class CommandFailed(AssertionError):
    """A command that a test needs to succeed did not."""


class Running:
    """A command under way, in a process group of its own. Used in a `with`, which ends the group."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def send(self, number: signal.Signals) -> None:
        """To the command and its helpers, as a terminal does it for Ctrl-C."""
        os.killpg(self.process.pid, number)

    def result(self, timeout: float = TIMEOUT) -> Result:
        stdout, stderr = self.process.communicate(timeout=timeout)
        return Result(self.process.returncode, stdout, stderr)


class Imbfs:
    """An imbfs with a repository of its own, and homes that nothing else uses."""

    def __init__(self, directory: Path, mark: str) -> None:
        self.directory = directory
        self.repository = directory / "repository"
        #: Tells its processes from those of others in the same run.
        self.mark = f"{mark}/{next(_numbers)}"

    def run(
        self,
        *args: Argument,
        input: bytes | None = None,
        check: bool = True,
        user: int | None = None,
        env: Mapping[str, str] | None = None,
        repository: bool = True,
    ) -> Result:
        """Run one command to its end. `check`: any exit code but 0 fails the test.

        `user` runs it with the rights of that user, and of the group of that number; without
        `repository` no `--repo` is given.
        """
        where: list[Argument] = ["--repo", self.repository] if repository else []
        running = self._start([*where, *args], user, env or {})
        try:
            stdout, stderr = running.process.communicate(input, timeout=TIMEOUT)
        except BaseException:
            running.end()
            raise
        result = Result(running.process.returncode, stdout, stderr)
        if check and result.code != 0:
            raise CommandFailed(f"imbfs {' '.join(map(str, args))}: {result}")
        return result

    def start(self, *args: Argument, env: Mapping[str, str] | None = None) -> Running:
        """Start a command and leave it running: for tests that interrupt or kill it."""
        return self._start(["--repo", self.repository, *args], None, env or {})

    def _start(self, args: list[Argument], user: int | None, env: Mapping[str, str]) -> Running:
        process = subprocess.Popen(
            [*command_of(user), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.directory,
            env={**self.environment(user), **env},
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        return Running(process)

    def home(self, user: int | None = None) -> Path:
        """The user's home, made at first use."""
        path = self.directory / ("home" if user is None else f"home-{user}")
        path.mkdir(exist_ok=True)
        if user is not None:
            os.chown(path, user, user)
        return path

    def environment(self, user: int | None = None) -> dict[str, str]:
        """Everything that a command sees of the environment: nothing of the real user's."""
        home = self.home(user)
        places = {"DATA": ".local/share", "CACHE": ".cache", "CONFIG": ".config", "STATE": ".local/state"}
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": _module_path(),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "HOME": str(home),
            "TMPDIR": str(home),
            **{f"XDG_{kind}_HOME": str(home / place) for kind, place in places.items()},
            MARK: self.mark,
        }

    # What most tests need.

    def backup(self, *args: Argument, check: bool = True) -> dict[str, Any]:
        """Back up and return the summary."""
        summary = self.run("--json", "backup", *args, check=check).json()
        assert isinstance(summary, dict)
        return summary

    def snapshots(self) -> list[dict[str, Any]]:
        listed = self.run("--json", "snapshots").json()
        assert isinstance(listed, list)
        return listed

    def ls(self, selector: Argument, *options: str) -> dict[bytes, dict[str, Any]]:
        """What `ls --json` tells of each path."""
        return {name(entry["path"]): entry for entry in self.run("--json", "ls", selector, *options).json()}

    @contextlib.contextmanager
    def mounted(self, snapshot: str | None = None, *options: str, user: int | None = None) -> Iterator[Path]:
        """Mount in a fresh directory and unmount in every case. A mount left over fails the test."""
        mountpoint = Path(tempfile.mkdtemp(prefix="mount-", dir=self.directory))
        if user is not None:
            os.chown(mountpoint, user, user)
        selector: list[Argument] = [] if snapshot is None else [snapshot]
        try:
            self.run("mount", *options, *selector, mountpoint, user=user)
            assert mountpoint in mounts_below(self.directory), "mount ended with 0 and nothing is mounted"
            yield mountpoint
        finally:
            leftover = self._unmount(mountpoint, user)
        assert leftover is None, leftover
        mountpoint.rmdir()

    def _unmount(self, mountpoint: Path, user: int | None) -> str | None:
        """What was wrong with unmounting; None when all went well."""
        if mountpoint not in mounts_below(self.directory):
            return "the mount went away by itself"
        result = self.run("umount", mountpoint, check=False, user=user)
        if mountpoint not in mounts_below(self.directory):
            return None if result.code == 0 else f"unmounted, but {result}"
        subprocess.run(["umount", "--lazy", mountpoint], check=True)
        return f"imbfs umount left the mount, a lazy umount removed it: {result}"


def command_of(user: int | None = None) -> list[str]:
    """The command line that runs imbfs for this user."""
    python = sys.executable if user is None else python_for(user)
    assert python is not None, f"user {user} can run no Python that has what imbfs needs"
    return [python, "-m", "backup.cli.main"]


def _module_path() -> str:
    return os.pathsep.join([str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])


@functools.cache
def python_for(user: int) -> str | None:
    """A Python that this user can run imbfs with: ours may lie in a home that is closed to others."""
    for python in (sys.executable, "/usr/bin/python3", f"/usr/bin/python3.{sys.version_info[1]}"):
        with contextlib.suppress(OSError):
            result = subprocess.run(
                [python, "-c", "import lmdb, blake3, zstandard, backup.cli.main"],
                cwd="/",
                env={"PYTHONPATH": _module_path()},
                user=user,
                group=user,
                extra_groups=[],
                capture_output=True,
            )
            if result.returncode == 0:
                return python
    return None


def name(value: str | dict[str, str]) -> bytes:
    """A name or path as JSON gives it, in bytes."""
    return value.encode() if isinstance(value, str) else base64.b64decode(value["b64"], validate=True)


def mounts_below(directory: Path) -> list[Path]:
    """All mount points in `directory`, as the kernel lists them: also of a driver that is dead."""
    found = []
    for line in Path("/proc/self/mounts").read_bytes().splitlines():
        place = re.sub(rb"\\(\d{3})", lambda match: bytes([int(match[1], 8)]), line.split(b" ")[1])
        if Path(os.fsdecode(place)).is_relative_to(directory):
            found.append(Path(os.fsdecode(place)))
    return found


def processes_marked(mark: str) -> dict[int, str]:
    """Process id and command line of every process that carries this mark, or one below it."""
    wanted = f"{MARK}={mark}/".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            marks = (process / "environ").read_bytes().split(b"\0")
            if any((text + b"/").startswith(wanted) for text in marks):
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait for something that another process does; fail when it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"after {seconds} seconds not yet: {what}"
        time.sleep(0.005)
