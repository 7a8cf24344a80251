"""Checking: is everything there that the snapshots need, and is it what its name says?"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from backup.model.ids import PackId
from backup.ops.checking.leftovers import find_leftovers
from backup.ops.checking.packs import check_packs
from backup.ops.checking.parity import check_parity
from backup.ops.checking.report import Damage, Monitor, Report
from backup.ops.checking.snapshots import check_snapshots
from backup.ops.checking.subset import Part, ReadLog, Share, choose
from backup.repository import Repository
from backup.repository.condemned import condemned_notes
from backup.repository.leases import take_writer_lease

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
    with _lease(repository):
        return _check(repository, read_data, monitor, subset, log, clock)


def _lease(repository: Repository) -> AbstractContextManager[object]:
    """A writer's: a check relies on every pack that stands and is not condemned, needed or not."""
    try:
        lease = take_writer_lease(repository.storage, "check")
    except OSError:
        # Read-only, or full.
        return nullcontext()
    lease.keep_alive()
    return lease


def _check(
    repository: Repository,
    read_data: bool,
    monitor: Monitor,
    subset: Part | Share | None,
    log: Path | None,
    clock: Callable[[], float],
) -> Report:
    report = Report()
    repository.lookup.sync()
    condemned = frozenset[PackId]().union(*condemned_notes(repository.storage).values())
    stored = {pack: size for pack, size in repository.inventory.packs() if pack not in condemned}
    history = ReadLog(log)
    to_read = choose(stored, subset, history.times) if read_data else []
    try:
        check_packs(repository, condemned, to_read, report, monitor, lambda pack: history.note(pack, clock()))
    finally:
        # Of a check that is stopped as well: the next one goes on from there.
        if read_data:
            history.save(stored, repository.notice)
    check_parity(repository, to_read, report)
    check_snapshots(repository, report, monitor)
    report.notes += find_leftovers(repository)
    return report
