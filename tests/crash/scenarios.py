"""Commands that write, each with a repository that gives it something to do."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from backup.cli.commands import COMMANDS
from backup.ops.storing.batch import MAX_DIRECTORIES
from tests.support.everything import noise
from tests.support.in_process import InProcess
from tests.support.small import make_old


class Scenario(NamedTuple):
    """`prepare` makes the repository as it is before; `command` gives the arguments of what is crashed."""

    prepare: Callable[[InProcess, Path], None]
    command: Callable[[InProcess, Path], list[str | Path]]
    #: What the command may take away: all other snapshots must stay, byte for byte.
    removes: Callable[[InProcess], set[str]] = lambda imbfs: set()
    #: What is damaged before: until the command has completed, a check says so.
    damaged: bool = False


def build_source(root: Path) -> Path:
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "one").write_bytes(b"one")
    (root / "large").write_bytes(noise(300_000, 0))
    (root / "empty").touch()
    os.symlink("large", root / "symlink")
    os.link(root / "large", root / "sub" / "link")
    make_old(root)
    return root


def two_snapshots(imbfs: InProcess, source: Path) -> None:
    imbfs.run("init", "--pack-size", "1048576")
    back_up(imbfs, source)
    change(source, 1)
    back_up(imbfs, source)


def back_up(imbfs: InProcess, source: Path) -> None:
    # Without workers: forks would take most of the time.
    imbfs.run("backup", "--workers", "0", source)


def empty(imbfs: InProcess, source: Path) -> None:
    imbfs.run("init")


def change(source: Path, number: int) -> None:
    (source / f"new {number}").write_bytes(noise(30_000, number))
    (source / "sub" / "one").write_bytes(b"changed %d" % number)
    make_old(source)


def changed_since(imbfs: InProcess, source: Path) -> None:
    """What is to be stored fills more than a pack."""
    two_snapshots(imbfs, source)
    (source / "large").write_bytes(noise(1_100_000, 3))
    change(source, 2)


def changed_widely(imbfs: InProcess, source: Path) -> None:
    """What is new lies in more directories than a batch takes: workers begin with the first full one."""
    two_snapshots(imbfs, source)
    for number in range(2 * MAX_DIRECTORIES + 1):
        (source / f"directory {number}").mkdir()
        (source / f"directory {number}" / "file").write_bytes(noise(1000, number))
    make_old(source)


def killed_before(imbfs: InProcess, source: Path) -> None:
    """A third backup was killed before it wrote its segment."""
    changed_since(imbfs, source)
    parts = [imbfs.repository / part for part in ("index", "snapshots")]
    before = {path for part in parts for path in part.iterdir()}
    index = next(imbfs.cache.rglob("index.lmdb"))
    kept = index.read_bytes()
    back_up(imbfs, source)
    for path in {path for part in parts for path in part.iterdir()} - before:
        path.unlink()
    index.write_bytes(kept)


def ids(imbfs: InProcess) -> list[str]:
    return [snapshot["id"] for snapshot in imbfs.run("--json", "snapshots").json()]


def forgotten(imbfs: InProcess, source: Path) -> None:
    """The oldest of three snapshots is gone, with much that only it needed."""
    changed_since(imbfs, source)
    (source / "large").write_bytes(noise(200_000, 4))
    back_up(imbfs, source)
    imbfs.run("forget", ids(imbfs)[0])


def damaged(imbfs: InProcess, source: Path) -> None:
    """A segment and the index are damaged, and no pack is."""
    two_snapshots(imbfs, source)
    segment = next((imbfs.repository / "index").iterdir())
    segment.chmod(0o600)
    segment.write_bytes(b"damaged")


SCENARIOS = {
    "backup": Scenario(changed_since, lambda imbfs, source: ["backup", "--workers", "0", source]),
    "backup-with-workers": Scenario(
        changed_widely, lambda imbfs, source: ["backup", "--workers", "2", source]
    ),
    "first-backup": Scenario(empty, lambda imbfs, source: ["backup", "--workers", "0", source]),
    "backup-after-a-kill": Scenario(
        killed_before, lambda imbfs, source: ["backup", "--workers", "0", source]
    ),
    "forget": Scenario(
        two_snapshots,
        lambda imbfs, source: ["forget", "--keep-last", "1"],
        lambda imbfs: set(ids(imbfs)[:1]),
    ),
    "tag": Scenario(two_snapshots, lambda imbfs, source: ["tag", "latest", "--add", "kept"]),
    "rewrite": Scenario(
        two_snapshots,
        lambda imbfs, source: ["rewrite", "latest", "--exclude", "one"],
    ),
    "prune": Scenario(forgotten, lambda imbfs, source: ["prune", "--max-unused", "0"]),
    "repair": Scenario(damaged, lambda imbfs, source: ["repair"], damaged=True),
    "index-rebuild": Scenario(killed_before, lambda imbfs, source: ["index", "rebuild"]),
}

#: Those that this imbfs has.
PRESENT = [name for name in SCENARIOS if name.split("-")[0] in (*COMMANDS, "first")]
