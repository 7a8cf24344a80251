"""Checking: is everything there that the snapshots need, and is it what its name says?"""

import time
from collections.abc import Callable
from pathlib import Path

from backup.ops.checking.leftovers import find_leftovers
from backup.ops.checking.packs import check_packs
from backup.ops.checking.parity import check_parity
from backup.ops.checking.report import Damage, Monitor, Report
from backup.ops.checking.snapshots import check_snapshots
from backup.ops.checking.subset import Part, ReadLog, Share, choose
from backup.repository import Repository

__all__ = ["Damage", "Monitor", "Part", "Report", "Share", "check"]


def check(
    repository: Repository,
    read_data: bool,
    monitor: Monitor,
    subset: Part | Share | None = None,
    log: Path | None = None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Looks at the structure of all, and with `read_data` at every byte of all packs, or of a `subset`.

    `log` is a file that remembers when each pack was read and found sound. Goes on after every piece of
    damage: the report holds it all.
    """
    report = Report()
    stored = dict(repository.stored_packs())
    history = ReadLog(log)
    to_read = choose(stored, subset, history.times) if read_data else []
    try:
        check_packs(repository, to_read, report, monitor, lambda pack: history.note(pack, clock()))
    finally:
        # Of a check that is stopped as well: the next one goes on from there.
        if read_data:
            history.save(stored, repository.notice)
    check_parity(repository, to_read, report)
    check_snapshots(repository, report, monitor)
    report.notes += find_leftovers(repository)
    return report
