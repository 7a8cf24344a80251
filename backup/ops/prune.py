"""Pruning: what no snapshot reaches is deleted, while backups and mounts go on.

`docs/design.md`, "Neighbours".
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from backup.model.errors import CannotStore, Damaged, RepositoryBusy, is_full
from backup.model.ids import PackId, SnapshotId
from backup.ops.pruning.monitor import Monitor
from backup.ops.pruning.need import Holders, Need
from backup.ops.pruning.plan import Plan, make_plan
from backup.ops.pruning.repack import Repack
from backup.ops.pruning.survey import Survey
from backup.ops.pruning.sweep import Sweep
from backup.repository import Repository
from backup.repository.condemned import condemn, condemned_notes
from backup.repository.forgotten import remove_old_tombstones
from backup.repository.leases import HeldLease, Lease, living_leases, remove_dead_leases, take_lease
from backup.repository.reserve import keep_reserve, with_reserve
from backup.repository.segments import write_segments
from backup.repository.strays import remove_strays
from backup.repository.writer import storing

__all__ = ["Monitor", "Plan", "PruneOptions", "PruneSummary", "prune"]

#: Clocks of hosts may differ by so much before packs that a running backup wrote are condemned too early:
#: they are rescued at the end then. Seconds.
CLOCKS = 3600
#: Packs to a note, so that on a full disk the reserve is large enough for one.
CONDEMNED_AT_ONCE = 1024


@dataclass(frozen=True)
class PruneOptions:
    """`max_unused`: the share (0.05: 5 %) of what stays that may be unused.

    `without`: in a dry run, snapshots that count as forgotten already.
    """

    max_unused: float = 0.05
    dry_run: bool = False
    without: frozenset[SnapshotId] = frozenset()


@dataclass(frozen=True)
class PruneSummary:
    """Sizes in bytes. `packs_waiting` are condemned and still there: `waiting_for` says for whom.

    After a dry run it tells what would be.
    """

    plan: Plan
    packs_removed: int
    packs_waiting: int
    bytes_waiting: int
    waiting_for: list[str]
    chunks_missing: int
    seconds: float


def prune(repository: Repository, options: PruneOptions, monitor: Monitor) -> PruneSummary:
    """Deletes what no snapshot reaches, and nothing that a running backup, mount or restore needs.

    Waits for nobody: what another process may still use is condemned, and deleted by a later prune.
    Raises `RepositoryBusy` where another prune runs; `Damaged`, before anything is changed, where a
    manifest has vanished, or a snapshot or a tree cannot be read; `CannotStore`.
    """
    started = time.monotonic()
    if options.dry_run:
        leases = living_leases(repository.storage, time.time_ns())
        pruning = _Pruning(repository, options, monitor, list(leases.values()))
        monitor.plan(pruning.plan)
        return pruning.summary(time.monotonic() - started)
    with storing(), _only_prune(repository) as (lease, living):
        pruning = _Pruning(repository, options, monitor, list(living.values()))
        monitor.plan(pruning.plan)
        pruning.execute(lease)
        remove_old_tombstones(repository.storage, lease.time())
        keep_reserve(repository.storage)
    summary = pruning.summary(time.monotonic() - started)
    # All the names have been in memory for long enough.
    del pruning
    repository.lookup.sync()
    repository.index.shrink()
    return summary


@contextmanager
def _only_prune(repository: Repository) -> Iterator[tuple[HeldLease, dict[str, Lease]]]:
    """Two that begin at once may both give up: neither waits."""
    storage = repository.storage
    with with_reserve(storage, lambda: take_lease(storage, "prune", "prune")) as lease:
        living = remove_dead_leases(storage, lease.time())
        for name, other in living.items():
            if other.kind == "prune" and name != lease.id:
                raise RepositoryBusy(f"another prune is running: {other.who()}")
        remove_strays(storage, lease.time())
        yield lease, living


def _refuse_vanished(repository: Repository) -> None:
    """That a disk lost a manifest is no reason to delete what its snapshot needs. Raises `Damaged`."""
    vanished = sorted(repository.missing_snapshots())
    if vanished:
        more = f" and {len(vanished) - 1} more" if len(vanished) > 1 else ""
        raise Damaged(
            f"the manifest of snapshot {vanished[0][:12]}{more} has vanished, and nobody forgot it: nothing"
            " was pruned. Bring it back from a copy of the repository, or give it up with `imbfs forget ID`"
        )


class _Pruning:
    """What was found, what is planned, what was done."""

    def __init__(
        self, repository: Repository, options: PruneOptions, monitor: Monitor, living: list[Lease]
    ) -> None:
        self._repository = repository
        self._monitor = monitor
        _refuse_vanished(repository)
        self._condemned = frozenset().union(*condemned_notes(repository.storage).values())
        self._survey = Survey(repository, monitor)
        self._need = Need(repository, self._survey, monitor)
        try:
            self._need.add_snapshots(options.without if options.dry_run else frozenset())
            self._need.add_leases(living)
        except Damaged as error:
            raise Damaged(
                f"{error}: nothing was pruned, because what is there may heal it; `imbfs check` tells more"
            ) from error
        self._young = _young(repository, living)
        self._holders = Holders(self._survey, self._condemned)
        self.plan = make_plan(
            self._holders.uses(self._young), options.max_unused, repository.config.pack_size
        )
        self._sweep: Sweep | None = None

    def execute(self, lease: HeldLease) -> None:
        self._sweep = Sweep(self._repository, self._survey, self._need, lease)
        # First what needs the least space.
        self._sweep.run()
        self._remove([pack.id for pack in self.plan.unused])
        if self.plan.copied:
            self._remove(self._repack())
        self._list_unlisted()

    def _remove(self, packs: list[PackId]) -> None:
        assert self._sweep is not None
        for start in range(0, len(packs), CONDEMNED_AT_ONCE):
            some = packs[start : start + CONDEMNED_AT_ONCE]
            with_reserve(self._repository.storage, partial(condemn, self._repository.storage, some))
            self._sweep.run()

    def _repack(self) -> list[PackId]:
        going = frozenset(pack.id for pack in self.plan.going)
        repack = Repack(self._repository, self._survey, self._holders, going | self._condemned, self._monitor)
        try:
            return repack.run(self.plan.copied)
        except (OSError, CannotStore) as error:
            if not is_full(error):
                raise
            self._monitor.notice(
                "there is no space to repack packs: those used in part, and small ones, stay"
            )
            return []

    def _list_unlisted(self) -> None:
        """Packs that a killed backup left, and that a snapshot needs all the same."""
        needed = {pack.id for pack in self.plan.kept if pack.used_objects} - self._young
        unlisted = {pack.id for pack in self._survey.packs if not pack.listed} & needed
        if unlisted:
            packs = self._repository.lookup.unlisted_packs()
            write_segments(self._repository, [pack for pack in packs if pack.id in unlisted])

    def summary(self, seconds: float) -> PruneSummary:
        sweep = self._sweep
        left = sweep.left if sweep else set()
        return PruneSummary(
            plan=self.plan,
            packs_removed=len(sweep.deleted) if sweep else 0,
            packs_waiting=len(left),
            bytes_waiting=sum(pack.size for pack in self._survey.packs if pack.id in left),
            waiting_for=sorted({lease.who() for lease in sweep.waiting.values()}) if sweep else [],
            chunks_missing=len(self._need.missing),
            seconds=round(seconds, 3),
        )


def _young(repository: Repository, living: list[Lease]) -> frozenset[PackId]:
    """Packs that a backup may have written which still runs."""
    begun = [lease.begun() for lease in living if lease.kind == "writer"]
    if not begun:
        return frozenset()
    return frozenset(repository.inventory.packs_since(int((min(begun) - CLOCKS) * 1e9)))
