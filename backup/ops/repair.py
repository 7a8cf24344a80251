"""Repairing: whatever can be made whole again is, and what cannot is named."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from backup.model.errors import ImbfsError, RepositoryBusy
from backup.model.ids import ObjectId
from backup.ops.checking.report import Monitor
from backup.ops.repairing.execute import carry_out
from backup.ops.repairing.plan import Plan
from backup.ops.repairing.planning import make_plan
from backup.repository import Repository
from backup.repository.config import KEY, encode_config
from backup.repository.layout import QUARANTINE
from backup.repository.leases import living_leases, take_lease
from backup.repository.recovery import find_config
from backup.repository.repository import Notice
from backup.repository.writer import storing


@dataclass(frozen=True)
class RepairResult:
    """`gone`: objects of the plan whose bytes could not be read again when it was carried out."""

    plan: Plan
    gone: set[ObjectId]

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, and no snapshot lost."""
        return not (self.plan.missing or self.gone or self.plan.vanished or self.plan.lost)


def repair(
    path: Path,
    cache: Path,
    notice: Notice,
    monitor: Monitor,
    *,
    other: Repository | None = None,
    sources: Iterable[bytes] = (),
    discard: bool = False,
    dry_run: bool = False,
) -> RepairResult:
    """Repairs the repository at `path`; `cache` is the user's cache directory.

    Nothing is deleted but segments that new ones stand for; and with `discard`, where all is whole, what
    earlier repairs moved aside. Raises `NoRepository`; `Damaged` where the
    settings are lost; `CannotStore`; `ImbfsError` where `other` has another hash.
    """
    config, wrong = find_config(path)
    if other is not None and other.config.hash != config.hash:
        raise ImbfsError(
            f"{other.path} names objects by {other.config.hash}, and this repository by {config.hash}:"
            " nothing of one can be found in the other"
        )
    with Repository(path, config, cache, notice) as repository:
        if not dry_run:
            repository.require_writable()
        with nullcontext() if dry_run else _no_prune(repository):
            repository.lookup.examine(repository.name)
            plan = make_plan(repository, other, sources, monitor)
            plan.config = wrong
            result = RepairResult(plan, set())
            if discard and result.whole:
                plan.discarded = list(repository.storage.list(QUARANTINE))
            if dry_run:
                return result
            if wrong:
                _put_config(repository)
            return _carried_out(repository, plan, monitor)


def _carried_out(repository: Repository, plan: Plan, monitor: Monitor) -> RepairResult:
    result = RepairResult(plan, carry_out(repository, plan, monitor))
    if not result.whole:
        plan.discarded = []
    with storing():
        for key, _ in plan.discarded:
            with suppress(FileNotFoundError):
                repository.storage.delete(key)
    return result


@contextmanager
def _no_prune(repository: Repository) -> Iterator[None]:
    """Inside, no pack is deleted: what is listed anew has to stand. Raises `RepositoryBusy`."""
    with storing():
        lease = take_lease(repository.storage, "writer", "repair")
    with lease:
        for other in living_leases(repository.storage, lease.time()).values():
            if other.kind == "prune":
                raise RepositoryBusy(f"{other.who()} is running: repair after it")
        yield


def _put_config(repository: Repository) -> None:
    storage = repository.storage
    with suppress(FileNotFoundError):
        storage.move(KEY, f"{QUARANTINE}/{KEY}")
    storage.put(KEY, encode_config(repository.config))
