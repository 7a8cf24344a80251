"""`scripts/bench scale`: how the cost of a backup grows with files and with snapshots. Prints tables."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from scripts.benchmarks.data import Sizes, make_tree
from scripts.benchmarks.meter import MemoryWatch, family

ROOT = Path(__file__).resolve().parents[2]


class Cost(NamedTuple):
    """Seconds on the clock, CPU seconds of all processes, and the peak of their memory together in bytes."""

    wall: float
    cpu: float
    memory: int

    def __str__(self) -> str:
        return f"{self.wall:.2f} s | {self.cpu:.2f} s | {self.memory / 1e6:.0f} MB"


def scale(data: Path, files: Iterable[int], snapshots: Iterable[int]) -> None:
    """Trees are made, and kept, in `data`; repositories too, and removed."""
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scale-", dir=data) as work:
        _by_files(data, Path(work), files)
        _by_snapshots(Path(work), snapshots)


def _by_files(data: Path, work: Path, counts: Iterable[int]) -> None:
    print("| files | first: wall | CPU | memory | nothing changed: wall | CPU | memory | packs | index |")
    print("|---|---|---|---|---|---|---|---|---|")
    for count in counts:
        tree = make_tree("small", replace(Sizes(), small=count), data)
        shape = work / "one-directory"
        for path in (tree.path, _flat(tree.path, shape)):
            repository = work / "repository"
            _imbfs(repository, "init")
            first, same = (_imbfs(repository, "backup", path) for _ in range(2))
            packs, index = _size(repository / "packs"), _size(repository / "index.lmdb")
            name = f"{count:,}" + (", in one directory" if path == shape else "")
            print(f"| {name} | {first} | {same} | {packs / 1e6:.1f} MB | {index / 1e6:.1f} MB |", flush=True)
            shutil.rmtree(repository)
        shutil.rmtree(shape)


def _flat(tree: Path, target: Path) -> Path:
    """All files of a tree as links in one directory: so they take no room, and have several names."""
    target.mkdir()
    for directory, _, names in os.walk(tree):
        for name in names:
            os.link(os.path.join(directory, name), target / name)
    return target


def _by_snapshots(work: Path, counts: Iterable[int]) -> None:
    print("\n| snapshots | one more: wall | CPU | memory | `snapshots`: wall | CPU | memory | index |")
    print("|---|---|---|---|---|---|---|---|")
    source, repository, made = work / "source", work / "repository", 0
    for number in range(1000):
        path = source / f"{number % 30}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n" * 200)
    _imbfs(repository, "init")
    for count in counts:
        while made < count:
            made += 1
            (source / f"{made % 30}" / f"file-{made % 1000}").write_text(f"changed {made}\n" * 200)
            cost = _imbfs(repository, "backup", source)
        listing = _imbfs(repository, "snapshots")
        index = _size(repository / "index.lmdb")
        print(f"| {count:,} | {cost} | {listing} | {index / 1e6:.1f} MB |", flush=True)


def _imbfs(repository: Path, *arguments: str | Path) -> Cost:
    command = [sys.executable, "-m", "backup.cli.main", "--quiet", "--repo", repository, *arguments]
    started = time.monotonic()
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    with MemoryWatch(lambda: family([process.pid]), "pss") as watch:
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    wall = time.monotonic() - started
    return Cost(wall, usage.ru_utime + usage.ru_stime, watch.highest["peak"])


def _size(path: Path) -> int:
    """Bytes that it takes on the disk."""
    return sum(each.stat().st_blocks * 512 for each in [path, *path.rglob("*")])
