"""The verbs, with what is usual already filled in."""

import os
import socket
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from backup.library.environment import user_name
from backup.library.monitor import Monitor
from backup.library.paths import Pathlike
from backup.library.repositories import find_snapshot
from backup.model.retention import GroupBy, Policy
from backup.model.selector import parse_selector
from backup.ops import check as checking
from backup.ops import forget as forgetting
from backup.ops import prune as pruning
from backup.ops import restore as restoring
from backup.ops.backup import BackupOptions, BackupResult, backup, repository_identity
from backup.ops.restoring.contract import Overwrite, Predicate, RestoreOptions, RestoreSummary
from backup.ops.restoring.reader import RepositoryReader
from backup.repository import Repository
from backup.repository.reading import Reading
from backup.snapshots.manifest import Snapshot
from backup.snapshots.paths import find_entry
from backup.source.patterns import PatternList, option_pattern
from backup.source.rules import Rules

#: A source is told by its host and paths.
BY_SOURCE = frozenset[GroupBy]({"host", "paths"})


def run_backup(
    repository: Repository,
    paths: Iterable[Pathlike],
    *,
    exclude: Iterable[str] = (),
    rules: Rules | None = None,
    tags: Sequence[str] = (),
    description: str = "",
    time: datetime | None = None,
    host: str | None = None,
    user: str | None = None,
    read_all: bool = False,
    dry_run: bool = False,
    skip_unchanged: bool = False,
    workers: int | None = None,
    monitor: Monitor | None = None,
) -> BackupResult:
    """Backs up the paths as one snapshot.

    `exclude` are patterns in the language of gitignore; for more, give `rules`. `time`, with zone, is now
    where it is not given; `host` and `user` are this one's. `workers` processes are forked to read: give 0
    in a process with threads. What cannot be read is told to `monitor` and counted in `statistics.errors`.
    Raises `UsageError`, `CannotStore`, another `ImbfsError`; OSError where the top directory cannot be read.
    """
    if rules is None:
        rules = Rules(patterns=tuple(option_pattern(text, "exclude") for text in exclude))
    options = BackupOptions(
        time=time or datetime.now(UTC).astimezone(),
        host=socket.gethostname() if host is None else host,
        user=user_name() if user is None else user,
        tags=list(tags),
        description=description,
        read_all=read_all,
        dry_run=dry_run,
        skip_unchanged=skip_unchanged,
        rules=rules,
        workers=workers,
    )
    return backup(repository, [os.fsencode(path) for path in paths], options, monitor or Monitor())


def restore(
    repository: Repository,
    snapshot: Snapshot | str,
    target: Pathlike,
    path: Pathlike = b"",
    *,
    overwrite: Overwrite = "if-changed",
    delete: bool = False,
    dry_run: bool = False,
    verify: bool = False,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    numeric_owner: bool = False,
    monitor: Monitor | None = None,
) -> RestoreSummary:
    """Puts what the snapshot has at `path` (by default all of it) into the directory `target`.

    What cannot be put back is told to `monitor` and counted in `errors`; the rest goes on. Raises `NotFound`,
    `Damaged`, `ImbfsError` where `target` is no directory, or in the repository.
    """
    into = os.fsencode(os.path.abspath(os.fsencode(target)))
    repository.require_outside(into)
    options = RestoreOptions(
        overwrite=overwrite,
        delete=delete,
        dry_run=dry_run,
        verify=verify,
        include=_predicate(include, "include"),
        exclude=_predicate(exclude, "exclude"),
        numeric_owner=numeric_owner,
        protected=frozenset({repository_identity(repository)}),
    )
    with Reading(repository, "restore") as reading:
        found = find_snapshot(repository, snapshot) if isinstance(snapshot, str) else snapshot
        reading.show([found])
        entry, _ = find_entry(found, os.fsencode(path), repository.tree)
        return restoring.restore(RepositoryReader(repository), entry, into, options, monitor or Monitor())


def forget(
    repository: Repository, snapshots: Iterable[Snapshot | str], *, allow_last: bool = False
) -> forgetting.Plan:
    """Drops these snapshots, or those that the selectors name; what they held stays until it is pruned.

    Raises `NotFound`; `ImbfsError` where one is the last of its source, unless `allow_last`; `CannotStore`.
    """
    now = datetime.now(UTC).astimezone()
    names = [each if isinstance(each, str) else each.id for each in snapshots]
    selectors = [parse_selector(name, now) for name in names]
    plan = forgetting.plan_by_name(repository, selectors, BY_SOURCE, lambda _: True, allow_last)
    forgetting.forget(repository, plan.forgotten)
    return plan


def forget_by_policy(
    repository: Repository, policy: Policy, *, dry_run: bool = False, allow_last: bool = False
) -> forgetting.Plan:
    """Drops what the policy does not keep of each source. The plan has each decision, with its reasons."""
    plan = forgetting.plan_by_policy(repository, policy, BY_SOURCE, lambda _: True, allow_last)
    if not dry_run:
        forgetting.forget(repository, plan.forgotten)
    return plan


def prune(
    repository: Repository,
    *,
    max_unused: float = 0.05,
    dry_run: bool = False,
    monitor: Monitor | None = None,
) -> pruning.PruneSummary:
    """Frees what neither a snapshot nor a token of the content store reaches. Waits for nobody.

    Raises `RepositoryBusy` where another prune runs; `Damaged`, before anything is changed; `CannotStore`.
    """
    return pruning.prune(repository, pruning.PruneOptions(max_unused, dry_run), monitor or Monitor())


def check(
    repository: Repository, *, read_data: bool = False, monitor: Monitor | None = None
) -> checking.Report:
    """Looks at the structure of all, and with `read_data` at every byte. The report holds all damage."""
    return checking.check(repository, read_data, monitor or Monitor())


def _predicate(patterns: Iterable[str], name: str) -> Predicate | None:
    found = [option_pattern(text, name) for text in patterns]
    return PatternList(found).fits if found else None
