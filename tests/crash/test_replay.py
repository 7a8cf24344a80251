"""Every crash of every command that writes: what is left is sound, and the command run again completes.

The command runs on a file system that records what it does. From the record, every state is built that a kill
or a power cut may have left (`tests/support/recording.py`), and looked at.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.crash.scenarios import PRESENT, SCENARIOS, back_up, build_source, ids
from tests.support.contents import Contents, contents, reachable_objects, stored_objects
from tests.support.faulty_fs import FaultyFs
from tests.support.in_process import InProcess
from tests.support.recording import Record, Tree, read_tree

#: How the index stands beside a repository after a crash: it is derived, and may be any of these.
INDEXES = ("absent", "older", "newer")
#: Of the states in which one step alone was lost, kept or cut, one of so many is looked at; with
#: IMBFS_THOROUGH in the environment, all of them.
SAMPLED = 1 if "IMBFS_THOROUGH" in os.environ else 5
#: One state of so many is pruned afterwards.
PRUNED = 4


class Crash(NamedTuple):
    """One scenario, recorded. `indexes` holds the index before and after the command."""

    record: Record
    command: list[str | Path]
    before: dict[str, Contents]
    removes: set[str]
    damaged: bool
    indexes: Path
    place: Path


@pytest.fixture(params=PRESENT)
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
    return Crash(
        record, command, before, removes, scenario.damaged, in_memory / "indexes", in_memory / "again"
    )


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
    """Parity row 48: a crash needs nothing but a rerun."""
    for number, (how, tree) in enumerate(distinct_states(crash.record)):
        if " step " in how and number % SAMPLED:
            continue
        index = INDEXES[number % len(INDEXES)]
        try:
            imbfs = look_at(crash, tree, index)
            if number % PRUNED == 0:
                assert_prune_leaves_what_is_needed(imbfs)
        except BaseException as error:
            raise AssertionError(f"{how}, index {index}: {error}") from error


def look_at(crash: Crash, tree: Tree, index: str) -> InProcess:
    """Gives the repository on which the command was run again."""
    shutil.rmtree(crash.place, ignore_errors=True)
    tree.write(crash.place)
    end_processes(crash.place / "repository")
    imbfs = InProcess(crash.place / "repository", crash.place / "home")
    if index != "absent" and (crash.indexes / index).exists():
        shutil.copy(crash.indexes / index, imbfs.repository / "index.lmdb")
    assert_sound(imbfs, crash, index, damaged=crash.damaged)
    imbfs.run(*crash.command)
    assert_sound(imbfs, crash, index)
    return imbfs


def end_processes(repository: Path) -> None:
    """The processes that hold leases have ended: in truth they are this one."""
    for lease in repository.glob("leases/*"):
        # One that a power cut took the bytes of tells nothing.
        with suppress(ValueError):
            held = json.loads(lease.read_bytes())
            held["process"]["start"] = 0
            lease.chmod(0o600)
            lease.write_bytes(json.dumps(held).encode())


def assert_prune_leaves_what_is_needed(imbfs: InProcess) -> None:
    # Beside an index that is ahead of the disk, nothing is deleted until the lost snapshot is given up.
    if imbfs.run("prune", "--max-unused", "0", check=False).code:
        imbfs.run("repair", check=False)
    # What a lease may have stood for is condemned first.
    for _ in range(2):
        imbfs.run("prune", "--max-unused", "0")
    needed = reachable_objects(imbfs.repository, imbfs.cache)
    assert stored_objects(imbfs.repository, imbfs.cache) == needed


def assert_sound(imbfs: InProcess, crash: Crash, index: str, *, damaged: bool = False) -> None:
    checked = imbfs.run("--json", "check", "--read-data", check=False)
    report = json.loads(checked.stdout)
    damage = [found for found in report["damage"] if not expected(found, index, crash.removes)]
    assert damaged or not damage, damage
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
