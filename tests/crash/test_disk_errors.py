"""A disk that is full, fails or may not be written, at every step of every command that writes.

The command ends in one clear line, nothing that was stored before is lost, and on a disk that is well
again the command completes.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.crash.scenarios import PRESENT, SCENARIOS, build_source
from tests.support.check import DAMAGED, DONE, FAILED, assert_no_traceback
from tests.support.contents import Contents, contents
from tests.support.faulty_fs import FaultyFs
from tests.support.in_process import InProcess
from tests.support.steps import SPACE, WRITING, Fault, Step

#: What is made to fail, from one such operation on; `times` 0: until the disk is well again.
FAULTS = {
    "no-space": Fault(SPACE, errno.ENOSPC),
    "no-space-in-the-middle-of-a-write": Fault(("write",), errno.ENOSPC, short=True),
    "read-only-from-then-on": Fault(WRITING, errno.EROFS),
    "one-operation-fails": Fault((*WRITING, "fsync", "fsyncdir"), errno.EIO, times=1),
}
#: Operations that are made to fail in each case; with IMBFS_THOROUGH in the environment, all of them.
MOST = 1 << 30 if "IMBFS_THOROUGH" in os.environ else 3
#: The others write as one of these does.
COMMANDS = [
    name for name in PRESENT if name not in ("first-backup", "backup-after-a-kill", "backup-with-workers")
]


class Case(NamedTuple):
    """A repository on the faulty disk, put back before each try."""

    disk: FaultyFs
    imbfs: InProcess
    command: list[str | Path]
    before: dict[str, Contents]
    removes: set[str]
    damaged: bool
    copy: Path

    def put_back(self) -> None:
        self.disk.fail()
        for path in (self.disk.backing / "repository", self.imbfs.cache):
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(self.copy / path.name, path, symlinks=True)


@pytest.fixture(params=COMMANDS)
def case(request: pytest.FixtureRequest, in_memory: Path, mark: str) -> Iterator[Case]:
    scenario = SCENARIOS[request.param]
    source = build_source(in_memory / "source")
    with FaultyFs(in_memory / "backing", in_memory / "disk", mark) as disk:
        imbfs = InProcess(disk.mountpoint / "repository", in_memory / "home")
        scenario.prepare(imbfs, source)
        before = contents(imbfs.repository, imbfs.cache)
        command, removes = scenario.command(imbfs, source), scenario.removes(imbfs)
        copy = in_memory / "copy"
        shutil.copytree(disk.backing / "repository", copy / "repository")
        imbfs.cache.mkdir(exist_ok=True, parents=True)
        shutil.copytree(imbfs.cache, copy / "cache")
        yield Case(disk, imbfs, command, before, removes, scenario.damaged, copy)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_at_any_step_loses_nothing(case: Case, fault: str) -> None:
    numbers = worth_failing(case, FAULTS[fault])
    if not numbers:
        pytest.skip("this command does no such thing")
    step = -(-len(numbers) // MOST)
    for nth in numbers[::step]:
        case.put_back()
        case.disk.fail(FAULTS[fault]._replace(nth=nth))
        result = case.imbfs.run(*case.command, check=False)
        assert_no_traceback(result)
        where = f"{fault}, operation {nth}: {result}"
        assert case.disk.hits(), where
        # What prune cannot copy may stay: then that is told.
        full = FAULTS[fault].number == errno.ENOSPC
        assert result.code == FAILED or not full or "no space" in result.errors.lower(), where
        assert result.code in (FAILED, DONE), where
        if result.code == FAILED:
            # What is damaged may be told in a line of its own.
            assert len(result.errors.splitlines()) <= 1 + case.damaged, where
        case.disk.fail()
        assert_nothing_lost(case, where)
        case.imbfs.run(*case.command)
        assert case.imbfs.run("check", "--read-data", check=False).code == DONE, where


def worth_failing(case: Case, fault: Fault) -> list[int]:
    """Which of a clean run's operations are made to fail: all but writes between a file's first and last."""
    case.put_back()
    case.disk.take()
    case.imbfs.run(*case.command)
    steps = [step for step in case.disk.take() if step.operation in fault.operations]
    return [
        number
        for number, step in enumerate(steps, 1)
        if step.operation != "write" or any(step.file != other.file for other in neighbours(steps, number))
    ]


def neighbours(steps: list[Step], number: int) -> list[Step]:
    """The steps before and after; an end of the list is a neighbour like no other."""
    around = [Step("", ""), *steps, Step("", "")]
    return [around[number - 1], around[number + 1]]


def assert_nothing_lost(case: Case, where: str) -> None:
    checked = case.imbfs.run("check", "--read-data", check=False)
    assert checked.code == DONE or (case.damaged and checked.code == DAMAGED), f"{where}, then {checked}"
    now = contents(case.imbfs.repository, case.imbfs.cache)
    for snapshot, held in case.before.items():
        assert snapshot in now or snapshot in case.removes, f"{where}: snapshot {snapshot} is lost"
        assert snapshot not in now or now[snapshot] == held, f"{where}: snapshot {snapshot} has changed"
