"""Backing up: the live tree as a new snapshot."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import msgspec

from backup import __version__
from backup.model.errors import ImbfsError, Stopped
from backup.model.ids import ObjectId, SnapshotId
from backup.model.text import to_name
from backup.ops.guarding.alarms import NOTHING_IMMUTABLE, Alarm, Immutable
from backup.ops.guarding.keep import check_places, keep_immutable
from backup.ops.parents import continues, find_parent, find_same, is_of
from backup.ops.storing.dry_writer import DryWriter, TreeKeeper
from backup.ops.storing.intake import Intake
from backup.ops.storing.lookahead import Lookahead
from backup.ops.storing.monitor import Counts, Monitor
from backup.ops.storing.pace import Pace, PacedMonitor
from backup.ops.storing.readers import Readers
from backup.ops.storing.recorded import record
from backup.ops.storing.sources import Sources, plan_sources
from backup.ops.storing.unchanged import Settings
from backup.ops.storing.walk import Reading, Walk
from backup.ops.why import Reasons
from backup.repository import Repository, Writer
from backup.snapshots.manifest import FORMAT, Body, Labels, Snapshot, Statistics
from backup.snapshots.names import Names
from backup.source.descent import Identity
from backup.source.rules import NO_RULES, Rules
from backup.source.seals import Seals

#: With more, the walk has not enough for them to do.
MOST_USEFUL_WORKERS = 32
#: With fewer files, a fork costs more than a second process saves.
WORTH_LOOKING_AHEAD = 5000


@dataclass(frozen=True)
class BackupOptions:
    """`time` is the snapshot's, with zone; `host` and `user` are who makes it."""

    time: datetime
    host: str
    user: str
    tags: list[str] = field(default_factory=list)
    description: str = ""
    read_all: bool = False
    dry_run: bool = False
    skip_unchanged: bool = False
    rules: Rules = NO_RULES
    #: A source at or below a named place goes on with its history where that lies elsewhere now.
    names: Names = field(default_factory=dict)
    ignore_ctime: bool = False
    ignore_inode: bool = False
    accept_unmounted: bool = False
    #: What stays as the parent has it.
    immutable: Immutable = NOTHING_IMMUTABLE
    #: Paths that are not looked at: they are as the parent has them.
    locked: frozenset[bytes] = frozenset()
    #: Processes that read and compress; with 0 it is done in this one. None: one for each CPU, up to 32.
    workers: int | None = None
    #: Bytes a second that are read at most, on average.
    limit_rate: int | None = None
    #: Where this user seals files. `seal`: those that are read get one, those that moved are known by theirs.
    seals: Seals | None = None
    seal: bool = False


@dataclass(frozen=True)
class BackupResult:
    """`snapshot` is None after a dry run, or when nothing changed and none was wanted.

    `written` are the files that came into the repository, by their keys: all that a copy of it lacks.
    `alarms`: what changed below `top` although it is immutable; the snapshot has it as it was.
    """

    snapshot: SnapshotId | None
    parent: SnapshotId | None
    statistics: Statistics
    unchanged: bool
    written: Sequence[str] = ()
    top: bytes = b"/"
    alarms: Sequence[Alarm] = ()


def backup(
    repository: Repository,
    paths: Iterable[bytes],
    options: BackupOptions,
    monitor: Monitor,
    clock: Callable[[], int] = time.time_ns,
    accept: Callable[[ObjectId], None] = lambda root: None,
) -> BackupResult:
    """Stores the paths as one snapshot.

    `accept` is given the root that the snapshot is to have, and may raise: then there is none.

    What cannot be read is told to `monitor` and counted in `statistics.errors`; the rest goes on.
    The monitor may raise `Stopped`: what was stored so far is kept for the next run then.
    Raises `UsageError` for paths that cannot be; `ImbfsError` where nothing can be backed up, or the
    repository cannot be written; OSError where the top directory cannot be read.
    """
    # Before anything is looked up: what is found stored from now on stays.
    writer: Writer | DryWriter
    if options.dry_run:
        # What is immutable is compared with the trees that there would be.
        writer = TreeKeeper(repository) if options.immutable else DryWriter(repository)
    else:
        writer = Writer(repository)
    try:
        return _backup(repository, writer, list(paths), options, monitor, accept, clock)
    finally:
        writer.close()


def _backup(
    repository: Repository,
    writer: Writer | DryWriter,
    paths: list[bytes],
    options: BackupOptions,
    monitor: Monitor,
    accept: Callable[[ObjectId], None],
    clock: Callable[[], int],
) -> BackupResult:
    started = clock()
    if options.limit_rate is not None:
        monitor = PacedMonitor(monitor, Pace(options.limit_rate))
    sources = find_sources(repository, paths, options, monitor)
    parent = find_parent(repository, sources, options.host)
    guarded = parent if parent is not None and continues(parent, sources) else None
    check_immutable(repository, options, sources, guarded, monitor)
    workers = worker_count(options.workers)
    seals = options.seals if options.seal and not options.dry_run else None
    reading = partial(Readers, settings=repository.config, workers=workers, seals=seals)
    walk = open_walk(repository, writer, sources, parent, options, started, monitor, reading)
    try:
        root = _run(walk, writer, sources, parent)
        read = writer.tree if isinstance(writer, TreeKeeper) else repository.tree
        kept = keep_immutable(options.immutable, guarded, root, sources, monitor, read, writer.store_tree)
        if kept.root != root:
            root = kept.root
            writer.finish()
        asked = clock()
        if not options.dry_run:
            accept(root)
        waited = clock() - asked
    except BaseException:
        writer.discard()
        raise
    finally:
        walk.close()
    walk.counts.errors += len(sources.missing) + (not kept.compared)
    walk.counts.alarms = len(kept.alarms)
    result = conclude(
        repository, writer, sources, options, parent, root, started, walk.counts, lambda: clock() - waited
    )
    return replace(result, top=sources.top, alarms=kept.alarms)


def conclude(
    repository: Repository,
    writer: Writer | DryWriter,
    sources: Sources,
    options: BackupOptions,
    parent: Snapshot | None,
    root: ObjectId,
    started: int,
    counts: Counts,
    clock: Callable[[], int],
) -> BackupResult:
    """Makes the snapshot, where one is wanted: all that it needs is stored."""
    unchanged = parent is not None and root == parent.root and is_of(parent, sources)
    statistics = _statistics(counts, writer, (clock() - started) / 1e9)
    parent_id = None if parent is None else parent.id
    if options.dry_run or (unchanged and options.skip_unchanged):
        return BackupResult(None, parent_id, statistics, unchanged, writer.keys)
    body = _body(repository, sources, options, parent, root, started, statistics)
    assert isinstance(writer, Writer)
    snapshot = writer.commit(body, Labels(options.tags, options.description))
    return BackupResult(snapshot.id, parent_id, statistics, unchanged, writer.keys)


def worker_count(wanted: int | None) -> int:
    return wanted if wanted is not None else min(len(os.sched_getaffinity(0)), MOST_USEFUL_WORKERS)


def _run(walk: Walk, writer: Writer | DryWriter, sources: Sources, parent: Snapshot | None) -> ObjectId:
    try:
        root = walk.run(sources, None if parent is None else parent.root)
    except Stopped:
        # What was read so far is worth keeping: the next run finds it stored. Any other interruption
        # may have come in the middle of a write, and what was being written is not to be trusted.
        walk.settle()
        writer.finish()
        raise
    writer.finish()
    return root


def find_sources(
    repository: Repository, paths: list[bytes], options: BackupOptions, monitor: Monitor
) -> Sources:
    """What to back up. Raises `UsageError` for paths that cannot be, or `ImbfsError`."""
    sources = _present_sources(repository, paths, options)
    _refuse_repository(repository, sources)
    for notice in sources.notices:
        monitor.notice(notice)
    _tell_nested(repository, sources, options.rules, monitor)
    for path in sources.missing:
        monitor.problem(path, "No such file or directory")
    return sources


def _present_sources(repository: Repository, paths: list[bytes], options: BackupOptions) -> Sources:
    """A path that is not there is carried over where the last backup was of it.

    Where none has it, it is a mistake: the rest is backed up as if it had not been named.
    """
    sources = plan_sources(paths, options.names)
    gone = [path for path in sources.paths if not os.path.lexists(path)]
    if gone and (parent := find_parent(repository, sources, options.host)) is not None:
        known = sources.paths if continues(parent, sources) else parent.paths
        gone = [path for path in gone if path not in known]
    if not gone:
        return sources
    rest = plan_sources((path for path in sources.paths if path not in gone), options.names)
    return rest._replace(missing=[*sources.missing, *gone], notices=sources.notices, nested=sources.nested)


def _tell_nested(repository: Repository, sources: Sources, rules: Rules, monitor: Monitor) -> None:
    """Paths that were named are not to be missed silently where the rules keep them out of another one."""
    reasons = Reasons(sources.paths, rules, own_directories(repository), lambda _: None)
    for path in sources.nested:
        verdict = reasons.why(path)
        if not verdict.included:
            reason = f"{os.fsdecode(verdict.at)} stays out, {verdict.reason}"
            monitor.notice(f"{os.fsdecode(path)} is left out, though it was named: {reason}")


def check_immutable(
    repository: Repository,
    options: BackupOptions,
    sources: Sources,
    parent: Snapshot | None,
    monitor: Monitor,
) -> None:
    """Tells of rules that guard nothing. Raises `UsageError` for those about other paths."""
    if not options.immutable:
        return
    check_places(options.immutable, parent, sources, monitor, repository.tree)
    hosts = (snapshot.body.host for snapshot in repository.snapshots())
    if parent is None and options.host in hosts:
        monitor.notice("no snapshot is of exactly these paths: what is immutable is stored as it is now")


def last_figures(repository: Repository, paths: list[bytes], options: BackupOptions) -> Statistics | None:
    """How much the parent of such a backup holds; None without one that the same rules chose."""
    parent = find_same(repository, plan_sources(paths), options.host)
    same = parent is not None and parent.body.rules == record(options.rules)
    return parent.body.statistics if parent is not None and same else None


def open_walk(
    repository: Repository,
    writer: Writer | DryWriter,
    sources: Sources,
    parent: Snapshot | None,
    options: BackupOptions,
    started: int,
    monitor: Monitor,
    reading: Callable[[Intake], Reading],
) -> Walk:
    """The walk over the live tree as the options want it; `started` is the time, in ns. Close it."""
    settings = Settings(
        started_ns=started,
        parent_started_ns=0 if parent is None else parent.body.started_ns,
        read_all=options.read_all,
        distrust=bool(writer.condemned) or repository.lookup.lacks_something(),
        skip=own_directories(repository),
        rules=options.rules,
        ignore_ctime=options.ignore_ctime,
        ignore_inode=options.ignore_inode,
        accept_unmounted=options.accept_unmounted,
        locked=options.locked,
        seals=options.seals,
        believe_seals=options.seal,
        same_rules=_same_rules(parent, sources, options),
    )
    look_ahead = partial(_look_ahead, repository, parent, settings, worker_count(options.workers))
    return Walk(writer, repository.tree, settings, monitor, reading, look_ahead)


def _same_rules(parent: Snapshot | None, sources: Sources, options: BackupOptions) -> bool:
    """Whether the parent was chosen as this one is: what was named goes in against the rules."""
    return parent is not None and is_of(parent, sources) and parent.body.rules == record(options.rules)


def _look_ahead(
    repository: Repository,
    parent: Snapshot | None,
    settings: Settings,
    workers: int,
    sources: Sources,
    parent_root: ObjectId,
) -> Lookahead | None:
    """None where a second process has nothing to do, or may not be forked."""
    if parent is None or settings.read_all or settings.distrust or workers < 2:
        return None
    if parent.body.statistics.files < WORTH_LOOKING_AHEAD or threading.active_count() > 1:
        return None
    try:
        return Lookahead(sources, parent_root, settings, repository)
    except OSError:
        return None  # No process more is to be had.


def _refuse_repository(repository: Repository, sources: Sources) -> None:
    own = os.fsencode(os.path.realpath(repository.path))
    for path in sources.paths:
        if path == own or path.startswith(own + b"/"):
            raise ImbfsError(f"{os.fsdecode(path)} is the repository itself: name another path")


def repository_identity(repository: Repository) -> Identity:
    status = repository.path.stat()
    return status.st_dev, status.st_ino


def own_directories(repository: Repository) -> frozenset[Identity]:
    """What no backup into the repository takes: itself, and its index where that is in a cache."""
    status = repository.index.path.parent.stat()
    return frozenset({repository_identity(repository), (status.st_dev, status.st_ino)})


def _statistics(counts: Counts, writer: Writer | DryWriter, seconds: float) -> Statistics:
    return Statistics(
        files=counts.files,
        bytes=counts.bytes,
        files_new=counts.files_new,
        files_changed=counts.files_changed,
        files_unchanged=counts.files_unchanged,
        files_removed=counts.files_removed,
        dirs=counts.dirs,
        bytes_read=counts.bytes_read,
        bytes_deduplicated=counts.bytes_deduplicated,
        bytes_added=writer.bytes_added,
        bytes_stored=writer.bytes_stored,
        errors=counts.errors,
        alarms=counts.alarms,
        seconds=round(seconds, 3),
    )


def _body(
    repository: Repository,
    sources: Sources,
    options: BackupOptions,
    parent: Snapshot | None,
    root: ObjectId,
    started: int,
    statistics: Statistics,
) -> Body:
    return Body(
        format=FORMAT,
        repository=repository.config.id,
        root=root.hex(),
        time=options.time.isoformat(timespec="microseconds"),
        started_ns=started,
        host=options.host,
        user=options.user,
        top=to_name(sources.top),
        paths=[to_name(path) for path in sources.paths],
        parent=None if parent is None else parent.id,
        program=f"imbfs {__version__}",
        statistics=statistics,
        config=msgspec.to_builtins(repository.config),
        rules=record(options.rules),
        names={name: to_name(place) for name, place in sources.names.items()},
    )
