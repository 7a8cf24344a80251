"""Rewriting: new snapshots like others, without some of their paths."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec

from backup import __version__
from backup.model.errors import Damaged, NotFound
from backup.model.ids import SHORT_ID, ObjectId, SnapshotId
from backup.ops.storing.dry_writer import DryWriter
from backup.repository import Repository, Writer
from backup.repository.leases import take_writer_lease
from backup.repository.writer import storing
from backup.snapshots.filtered import Choose, FallsOut, Filtered, TreeFilter, filter_root
from backup.snapshots.manifest import Body, Snapshot, Statistics
from backup.snapshots.totals import Total, Totals
from backup.source.rules import Rules, Scope

Clock = Callable[[], float]


class Rewritten(NamedTuple):
    """`snapshot` is the new one: None where nothing fell out, in a dry run, and where it failed.

    `files` and `size` (in bytes) are what fell out; `excluded` the paths, without those below them.
    `error` is set where the original is too damaged to be rewritten.
    """

    original: SnapshotId
    snapshot: SnapshotId | None = None
    files: int = 0
    size: int = 0
    excluded: tuple[bytes, ...] = ()
    error: Damaged | None = None


def rewrite(
    repository: Repository,
    snapshots: Sequence[Snapshot],
    rules: Rules,
    *,
    dry_run: bool = False,
    clock: Clock = time.monotonic,
) -> list[Rewritten]:
    """Makes of each snapshot one without the paths that the patterns of `rules` keep out; the originals stay.

    `snapshots` are oldest first: a new one has as its parent what its parent became. No data is read.
    Raises `CannotStore`; `NotFound` where one was forgotten meanwhile.
    """
    rewriter = _Rewriter(repository, rules, dry_run, clock)
    if dry_run:
        return [rewriter.rewrite(snapshot) for snapshot in snapshots]
    # One lease for all: trees made for one snapshot are used for the next.
    with storing():
        lease = take_writer_lease(repository.storage, "rewrite")
    with lease:
        return [rewriter.rewrite(_still_there(repository, snapshot)) for snapshot in snapshots]


def _still_there(repository: Repository, snapshot: Snapshot) -> Snapshot:
    try:
        return repository.catalogue.read(snapshot.id)
    except FileNotFoundError:
        raise NotFound(f"snapshot {snapshot.id[:SHORT_ID]} was forgotten meanwhile") from None


class _Rewriter:
    def __init__(self, repository: Repository, rules: Rules, dry_run: bool, clock: Clock) -> None:
        self._repository = repository
        self._dry_run = dry_run
        self._clock = clock
        self._rules = rules
        #: By what patterns are relative to: where the sources lay.
        self._trees: dict[tuple[bytes, ...], TreeFilter] = {}
        self._totals = Totals(repository.tree)
        self._became: dict[str, SnapshotId] = {}

    def rewrite(self, snapshot: Snapshot) -> Rewritten:
        writer = DryWriter(self._repository) if self._dry_run else Writer(self._repository, "rewrite")
        try:
            return self._rewrite(snapshot, writer)
        finally:
            writer.close()

    def _rewrite(self, snapshot: Snapshot, writer: DryWriter | Writer) -> Rewritten:
        started = self._clock()
        try:
            trees = self._filter(snapshot)
            root, left = filter_root(snapshot.root, trees, self._repository.tree, writer.store_tree)
            before = self._before(snapshot) if left.excluded else left
        except Damaged as error:
            # Trees made so far are whole, and what comes after may rely on them.
            writer.finish()
            return Rewritten(snapshot.id, error=error)
        except BaseException:
            writer.discard()
            raise
        writer.finish()
        found = Rewritten(
            snapshot.id,
            None,
            before.files - left.files,
            before.size - left.size,
            tuple(sorted(left.excluded)),
        )
        if not isinstance(writer, Writer) or not left.excluded:
            return found
        figures = _statistics(snapshot, found, left, writer, self._clock() - started)
        new = writer.commit(self._body(snapshot, root, figures), snapshot.labels).id
        self._became[snapshot.id] = new
        return found._replace(snapshot=new)

    def _filter(self, snapshot: Snapshot) -> TreeFilter:
        key = (snapshot.top, *snapshot.paths)
        found = self._trees.get(key)
        if found is None:
            choose = chooser(self._rules, snapshot.top, snapshot.paths)
            found = self._trees[key] = TreeFilter(choose, self._repository.tree)
        return found

    def _before(self, snapshot: Snapshot) -> Total:
        root = self._repository.root(snapshot).entry(0)
        assert root.tree is not None, "something fell out of it"
        return self._totals.of(root.tree)

    def _body(self, snapshot: Snapshot, root: ObjectId, figures: Statistics) -> Body:
        parent = snapshot.body.parent
        return msgspec.structs.replace(
            snapshot.body,
            root=root.hex(),
            parent=None if parent is None else self._became.get(parent, parent),
            program=f"imbfs {__version__}",
            statistics=figures,
            original=snapshot.id,
        )


def chooser(rules: Rules, top: bytes, sources: Sequence[bytes]) -> Choose:
    """Says what falls out as a backup of the sources would say what stays out.

    Above the sources, where a backup asks no patterns, only those count that begin with a slash; they are
    relative to `top`.
    """
    anchored = replace(
        rules,
        patterns=tuple(pattern for pattern in rules.patterns if pattern.anchored),
        weak_patterns=tuple(pattern for pattern in rules.weak_patterns if pattern.anchored),
    )
    above = Scope.of_source(anchored, top)
    scopes = {source: Scope.of_source(rules, source) for source in sources}

    def choose(path: bytes) -> FallsOut:
        directory = os.path.join(top, path)
        inside = (
            scope
            for source, scope in scopes.items()
            if directory == source or directory.startswith(source.rstrip(b"/") + b"/")
        )
        place = next(inside, above).at(directory)

        def falls_out(name: bytes, is_dir: bool) -> bool:
            pattern = place.pattern(name, is_dir)
            return pattern is not None and not pattern.negative

        return falls_out

    return choose


def _statistics(
    snapshot: Snapshot, found: Rewritten, left: Filtered, writer: Writer, seconds: float
) -> Statistics:
    return Statistics(
        files=left.files,
        bytes=left.size,
        files_unchanged=left.files,
        files_removed=found.files,
        dirs=left.dirs,
        bytes_added=writer.bytes_added,
        bytes_stored=writer.bytes_stored,
        errors=snapshot.body.statistics.errors,
        seconds=round(seconds, 3),
    )
