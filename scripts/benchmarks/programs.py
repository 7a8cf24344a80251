"""The programs measured: how each backs up, restores and mounts. A `home` holds one repository of one."""

import compileall
import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks import caches, meter
from scripts.benchmarks.report import DISK, IMBFS
from scripts.benchmarks.stage import (
    Command,
    Stage,
    StepFailed,
    end_processes,
    processes_marked,
    reap,
    unmount,
)

ROOT = Path(__file__).resolve().parent.parent.parent
MOUNT_PATIENCE = 600.0


@dataclass(frozen=True)
class Mounted:
    """A mount that answers: where the tree's top is in it, who serves it, and what it took to get there."""

    top: Path
    pids: tuple[int, ...]
    seconds: float = 0.0
    cpu: float = 0.0


class Program:
    """One program, by what its commands are. Those that it does not have are None."""

    name: str
    #: Stays until it is unmounted; the others return once the mount answers.
    foreground = False

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)

    def environment(self, home: Path) -> dict[str, str]:
        return {}

    def call(self, home: Path, *args: str | Path, cwd: Path | None = None) -> Command:
        return Command([*self.command, *args], cwd, self.environment(home))

    def version(self) -> str:
        return told(self.call(Path("/nonexistent"), "--version"))

    def init(self, home: Path) -> Command | None:
        raise NotImplementedError

    def backup(self, home: Path, tree: Path) -> Command | None:
        """One more snapshot of the tree, with the tree's top as the snapshot's."""
        raise NotImplementedError

    def restore(self, home: Path, target: Path) -> Command | None:
        raise NotImplementedError

    def mount(self, home: Path, mountpoint: Path) -> Command:
        raise NotImplementedError

    def top(self, mountpoint: Path) -> Path:
        return mountpoint

    def repository_size(self, home: Path) -> int:
        return allocated(home / "repository")

    def derived_size(self, home: Path) -> int:
        """What of it, or beside it, could be made anew: indexes and caches."""
        return allocated(home / "cache")


class Imbfs(Program):
    name = IMBFS

    def environment(self, home: Path) -> dict[str, str]:
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        module_path = {"PYTHONPATH": os.pathsep.join(filter(None, paths))} if "-m" in self.command else {}
        return {
            **homes(home),
            **module_path,
            "IMBFS_REPOSITORY": str(home / "repository"),
            # Empty is unset: what is measured is a program that keeps its modules compiled.
            "PYTHONDONTWRITEBYTECODE": "",
        }

    def init(self, home: Path) -> Command:
        return self.call(home, "init", "--quiet")

    def backup(self, home: Path, tree: Path) -> Command:
        return self.call(home, "backup", "--quiet", tree)

    def restore(self, home: Path, target: Path) -> Command:
        return self.call(home, "restore", "--quiet", "latest", "--target", target)

    def mount(self, home: Path, mountpoint: Path) -> Command:
        return self.call(home, "mount", "latest", mountpoint)

    def derived_size(self, home: Path) -> int:
        return allocated(home / "cache") + sum(map(allocated, (home / "repository").glob("index.lmdb*")))


class Restic(Program):
    name = "restic"
    foreground = True

    def environment(self, home: Path) -> dict[str, str]:
        return {
            "RESTIC_REPOSITORY": str(home / "repository"),
            "RESTIC_CACHE_DIR": str(home / "cache"),
            "RESTIC_PASSWORD": "benchmark",
        }

    def version(self) -> str:
        return told(self.call(Path("/nonexistent"), "version"))

    def init(self, home: Path) -> Command:
        return self.call(home, "init", "--quiet")

    def backup(self, home: Path, tree: Path) -> Command:
        return self.call(home, "backup", "--quiet", ".", cwd=tree)

    def restore(self, home: Path, target: Path) -> Command:
        return self.call(home, "restore", "--quiet", "latest", "--target", target)

    def mount(self, home: Path, mountpoint: Path) -> Command:
        return self.call(home, "mount", mountpoint)

    def top(self, mountpoint: Path) -> Path:
        return mountpoint / "snapshots/latest"


class Borg(Program):
    name = "borg"

    def environment(self, home: Path) -> dict[str, str]:
        return {
            "BORG_REPO": str(home / "repository"),
            "BORG_BASE_DIR": str(home / "cache"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }

    def init(self, home: Path) -> Command:
        return self.call(home, "init", "--encryption", "none")

    def backup(self, home: Path, tree: Path) -> Command:
        return self.call(home, "create", f"::{time.time_ns()}", ".", cwd=tree)

    def restore(self, home: Path, target: Path) -> Command:
        return self.call(home, "extract", f"::{self._latest(home)}", cwd=target)

    def mount(self, home: Path, mountpoint: Path) -> Command:
        return self.call(home, "mount", f"::{self._latest(home)}", mountpoint)

    def _latest(self, home: Path) -> str:
        return told(self.call(home, "list", "--last", "1", "--short"), whole=True)


class Squashfuse(Program):
    """The C reference: a compressed image has no history, so only its mount is measured."""

    name = "squashfuse_ll"

    def version(self) -> str:
        return told(self.call(Path("/nonexistent"), "--help"))

    def init(self, home: Path) -> Command:
        return Command(["mkdir", home / "repository"])

    def backup(self, home: Path, tree: Path) -> Command:
        packing = ["-comp", "zstd", "-Xcompression-level", "3", "-quiet", "-no-progress", "-noappend"]
        return Command(["mksquashfs", tree, home / "repository/image", *packing])

    def restore(self, home: Path, target: Path) -> None:
        return None

    def mount(self, home: Path, mountpoint: Path) -> Command:
        return self.call(home, home / "repository/image", mountpoint)


class Reference(Program):
    """What the machine can do: the source in place of a mount, plain tools in place of a backup."""

    name = DISK

    def __init__(self, tree: Path, archive: Path | None = None) -> None:
        super().__init__([])
        self.tree, self.archive = tree, archive

    def init(self, home: Path) -> Command:
        return Command(["mkdir", home / "repository"])

    def backup(self, home: Path, tree: Path) -> Command:
        packed = home / "repository/packed.tar.zst"
        line = 'tar c . | zstd -3 -T2 -q -f -o "$0"'
        return Command(["bash", "-o", "pipefail", "-c", line, packed], tree)

    def unchanged(self, tree: Path) -> Command:
        return Command(["find", ".", "-printf", "%s %m\\n"], tree)

    def restore(self, home: Path, target: Path) -> Command | None:
        return Command(["tar", "xpf", self.archive], target) if self.archive else None


def told(command: Command, *, whole: bool = False) -> str:
    """What a program says for itself: the first number with dots in it, or all of its output."""
    done = subprocess.run(
        [os.fspath(part) for part in command.args],
        env=os.environ | command.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if whole else subprocess.STDOUT,
        text=True,
        check=False,
    )
    number = re.search(r"\d+(\.\w+)+", done.stdout)
    return done.stdout.strip() if whole else number[0] if number else "?"


def homes(home: Path) -> dict[str, str]:
    """Nothing of the user's own settings, and nothing left in their places."""
    kinds = ("CACHE", "CONFIG", "DATA", "STATE")
    return {"HOME": str(home), **{f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in kinds}}


def allocated(path: Path) -> int:
    """What a file, or all files below a directory, take on the disk."""
    if not path.is_dir():
        return path.lstat().st_blocks * 512 if path.exists() else 0
    return sum(
        os.lstat(os.path.join(directory, name)).st_blocks * 512
        for directory, _, names in os.walk(path)
        for name in names
    )


# Which programs there are.


def imbfs_command(given: str | None) -> list[str]:
    """This checkout's, by the Python that has what it needs."""
    if given:
        return [given]
    if importlib.util.find_spec("pyfuse3"):
        # As an installed one is, so that no measured run has it to do.
        for package in ("backup", "fusefs"):
            compileall.compile_dir(ROOT / package, quiet=2)
        return [sys.executable, "-m", "backup.cli.main"]
    installed = ROOT / ".venv/bin/imbfs"
    return [str(installed if installed.exists() else "imbfs")]


def present(wanted: Sequence[str], places: dict[str, str | None]) -> list[Program]:
    """imbfs and those of its peers that are wanted and installed."""
    found: list[Program] = [Imbfs(imbfs_command(places.get(IMBFS)))]
    for kind in (Restic, Borg, Squashfuse):
        path = shutil.which(places.get(kind.name) or kind.name)
        lacks_maker = kind is Squashfuse and not shutil.which("mksquashfs")
        if kind.name in wanted and path and not lacks_maker:
            found.append(kind([path]))
        elif kind.name in wanted:
            print(f"left out: {kind.name} (not on PATH; --{kind.name} tells where it is)", file=sys.stderr)
    return found


# Mounting.


@contextlib.contextmanager
def mounted(stage: Stage, program: Program, home: Path) -> Iterator[Mounted]:
    """Mount, list the top as a user would at once, and unmount and end the driver in every case."""
    if isinstance(program, Reference):
        yield Mounted(program.tree, ())
        return
    mountpoint = stage.mountpoint()
    mark = f"{stage.mark}/{mountpoint.name}"
    command = program.mount(home, mountpoint)
    top = program.top(mountpoint)
    patience = 1.0
    try:
        began = time.perf_counter()
        cpu = _start_mount(stage, program, command, mountpoint)
        stage.run(Command(["ls", top]))
        seconds = time.perf_counter() - began
        pids = tuple(processes_marked(mark))
        yield Mounted(top, pids, seconds, cpu + meter.cpu_seconds(pids))
        patience = 20.0  # writing its caches back is a driver's right
    finally:
        unmount(mountpoint, patience)
        end_processes(mark, patience)
        mountpoint.rmdir()


def _start_mount(stage: Stage, program: Program, command: Command, mountpoint: Path) -> float:
    """Returns when the mount answers; the CPU seconds of what started it and is gone."""
    process = stage.start(command, mark=mountpoint.name)
    if not program.foreground:
        cpu = reap(process)
        stage.finish(process, command)
        return cpu
    end = time.perf_counter() + MOUNT_PATIENCE
    while not os.path.ismount(mountpoint):
        if process.poll() is not None or time.perf_counter() > end:
            process.kill()
            stage.finish(process, command)
            raise StepFailed(f"{program.name} ended without a mount")
        time.sleep(0.001)
    return 0.0


def make_cold(program: Program, home: Path, whole: bool) -> None:
    """Nothing of what the program is about to read is in memory; the program itself may be."""
    if whole:
        caches.drop_all()
    else:
        caches.drop_files(program.tree if isinstance(program, Reference) else home)


def require(condition: bool, reason: str) -> None:
    if not condition:
        raise StepFailed(reason)


def cpu_of(mount: Mounted) -> float | None:
    return meter.cpu_seconds(mount.pids) if mount.pids else None
