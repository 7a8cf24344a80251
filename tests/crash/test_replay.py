"""Every crash of every command that writes: what is left is sound, and the command run again completes.

The command runs on a file system that records what it does. From the record, every state is built that a kill
or a power cut may have left (`tests/support/recording.py`), and looked at.
"""

import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from backup.cli.commands import COMMANDS
from tests.support.contents import Contents, contents
from tests.support.everything import noise
from tests.support.faulty_fs import FaultyFs
from tests.support.in_process import InProcess
from tests.support.recording import Record, Tree, read_tree
from tests.support.small import make_old

#: How the index stands beside a repository after a crash: it is derived, and may be any of these.
INDEXES = ("absent", "older", "newer")


class Scenario(NamedTuple):
    """`prepare` makes the repository as it is before; `command` gives the arguments of what is crashed."""

    prepare: Callable[[InProcess, Path], None]
    command: Callable[[InProcess, Path], list[str | Path]]
    #: What the command may take away: all other snapshots must stay, byte for byte.
    removes: Callable[[InProcess], set[str]] = lambda imbfs: set()


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
    "repair": Scenario(damaged, lambda imbfs, source: ["repair"]),
    "index-rebuild": Scenario(killed_before, lambda imbfs, source: ["index", "rebuild"]),
}


class Crash(NamedTuple):
    """One scenario, recorded. `indexes` holds the index before and after the command."""

    record: Record
    command: list[str | Path]
    before: dict[str, Contents]
    removes: set[str]
    indexes: Path
    place: Path


@pytest.fixture(params=[name for name in SCENARIOS if name.split("-")[0] in (*COMMANDS, "first")])
def crash(request: pytest.FixtureRequest, in_memory: Path, mark: str) -> Crash:
    scenario = SCENARIOS[request.param]
    source = build_source(in_memory / "source")
    with FaultyFs(in_memory / "backing", in_memory / "disk", mark) as disk:
        imbfs = InProcess(disk.mountpoint / "repository", in_memory / "home")
        scenario.prepare(imbfs, source)
        keep_index(imbfs, in_memory / "indexes" / "older")
        command, removes = scenario.command(imbfs, source), scenario.removes(imbfs)
        before = contents(imbfs.repository, imbfs.cache)
        tree = read_tree(disk.backing)
        disk.take()
        imbfs.run(*command)
        record = Record(tree, disk.take())
        keep_index(imbfs, in_memory / "indexes" / "newer")
        assert dict(record.after.walk()) == dict(read_tree(disk.backing).walk())
        # As the end of a process would: what it had open on this file system is closed.
        gc.collect()
    return Crash(record, command, before, removes, in_memory / "indexes", in_memory / "again")


def keep_index(imbfs: InProcess, to: Path) -> None:
    """On the file system of ours, as on every one that LMDB must not be mapped on, it is in the cache."""
    to.parent.mkdir(exist_ok=True)
    for index in imbfs.cache.rglob("index.lmdb"):
        shutil.copy(index, to)


def distinct_states(record: Record) -> Iterator[tuple[str, Tree]]:
    seen: set[bytes] = set()
    for length in range(len(record) + 1):
        for how, tree in record.states(length):
            digest = tree.digest()
            if digest not in seen:
                seen.add(digest)
                yield f"after {length} steps, {how}", tree


def test_every_crash_leaves_a_sound_repository(crash: Crash) -> None:
    for number, (how, tree) in enumerate(distinct_states(crash.record)):
        index = INDEXES[number % len(INDEXES)]
        try:
            look_at(crash, tree, index)
        except BaseException as error:
            raise AssertionError(f"{how}, index {index}: {error}") from error


def look_at(crash: Crash, tree: Tree, index: str) -> None:
    shutil.rmtree(crash.place, ignore_errors=True)
    tree.write(crash.place)
    imbfs = InProcess(crash.place / "repository", crash.place / "home")
    if index != "absent" and (crash.indexes / index).exists():
        shutil.copy(crash.indexes / index, imbfs.repository / "index.lmdb")
    assert_sound(imbfs, crash, index)
    imbfs.run(*crash.command)
    assert_sound(imbfs, crash, index)


def assert_sound(imbfs: InProcess, crash: Crash, index: str) -> None:
    checked = imbfs.run("--json", "check", "--read-data", check=False)
    report = json.loads(checked.stdout)
    damage = [found for found in report["damage"] if not expected(found, index, crash.removes)]
    assert not damage, damage
    now = contents(imbfs.repository, imbfs.cache)
    for snapshot, held in crash.before.items():
        assert snapshot in now or snapshot in crash.removes, f"snapshot {snapshot} is lost"
        assert snapshot not in now or now[snapshot] == held, f"snapshot {snapshot} has changed"


def expected(damage: dict[str, Any], index: str, removes: set[str]) -> bool:
    """What an index that is ahead of the disk, or behind it, has seen of snapshots that are not there."""
    vanished = "its manifest has vanished" in damage["text"]
    return vanished and (
        index == "newer" or damage["what"].removeprefix("snapshot ") in {gone[:12] for gone in removes}
    )


def test_every_crash_of_init_leaves_nothing_that_init_cannot_finish(in_memory: Path, mark: str) -> None:
    with FaultyFs(in_memory / "backing", in_memory / "disk", mark) as disk:
        InProcess(disk.mountpoint / "repository", in_memory / "home").run("init")
        record = Record(Tree(), disk.take())
    for how, tree in distinct_states(record):
        tree.write(in_memory / "again")
        imbfs = InProcess(in_memory / "again" / "repository", in_memory / "again" / "home")
        begun = imbfs.run("snapshots", check=False)
        assert begun.code in (0, 10, 12), f"{how}: {begun}"
        if begun.code:
            imbfs.run("init")
        assert imbfs.run("check", "--read-data", check=False).code == 0, how


def test_a_directory_that_a_killed_backup_made_is_made_durable_by_the_next(
    in_memory: Path, mark: str
) -> None:
    source = build_source(in_memory / "source")
    with FaultyFs(in_memory / "backing", in_memory / "disk", mark) as disk:
        imbfs = InProcess(disk.mountpoint / "repository", in_memory / "home")
        imbfs.run("init")
        tree = read_tree(disk.backing)
        disk.take()
        for number in range(256):
            # As it is between mkdir and fsync of the directory above.
            (imbfs.repository / "packs" / f"{number:02x}").mkdir()
        back_up(imbfs, source)
        record = Record(tree, disk.take())
    (lost,) = [tree for how, tree in record.states(len(record)) if how == "all lost"]
    lost.write(in_memory / "again")
    again = InProcess(in_memory / "again" / "repository", in_memory / "again" / "home")
    assert again.run("check", "--read-data", check=False).code == 0
    assert len(ids(again)) == 1
