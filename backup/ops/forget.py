"""Forgetting: snapshots go, by a policy or by name. What they held stays until it is pruned."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from backup.model.errors import ImbfsError, NotFound
from backup.model.ids import SHORT_ID, SnapshotId
from backup.model.retention import (
    Candidate,
    Decision,
    Group,
    GroupBy,
    Policy,
    decide_all,
    grouped,
    last_of_sources,
)
from backup.model.selector import Selector
from backup.repository import Repository
from backup.repository.forgotten import bury
from backup.repository.reserve import release_reserve, with_reserve
from backup.repository.writer import storing
from backup.snapshots.catalogue import select, time_of
from backup.snapshots.manifest import Snapshot, manifest_key

NAMED = ("named",)


@dataclass(frozen=True)
class Plan:
    """`unreadable` are snapshots without a sound manifest: those named go, the others are left alone."""

    groups: dict[Group, list[Decision]] = field(default_factory=dict)
    unreadable: list[SnapshotId] = field(default_factory=list)
    left_alone: list[SnapshotId] = field(default_factory=list)

    @property
    def decisions(self) -> list[Decision]:
        return [decision for decisions in self.groups.values() for decision in decisions]

    @property
    def kept(self) -> list[SnapshotId]:
        return [decision.snapshot.id for decision in self.decisions if decision.keep]

    @property
    def forgotten(self) -> list[SnapshotId]:
        return [decision.snapshot.id for decision in self.decisions if not decision.keep] + self.unreadable


def plan_by_policy(
    repository: Repository,
    policy: Policy,
    by: frozenset[GroupBy],
    chosen: Callable[[Snapshot], bool],
    allow_last: bool,
) -> Plan:
    """Decides on the chosen snapshots. The last one of a source stays, unless `allow_last`."""
    snapshots, unreadable = _look(repository)
    known = _candidates(snapshots)
    candidates = [known[snapshot.id] for snapshot in snapshots if chosen(snapshot)]
    others = [known[snapshot.id] for snapshot in snapshots if not chosen(snapshot)]
    groups = decide_all(candidates, others, policy, by, allow_last)
    return Plan(groups, left_alone=unreadable)


def plan_by_name(
    repository: Repository,
    selectors: Iterable[Selector],
    by: frozenset[GroupBy],
    chosen: Callable[[Snapshot], bool],
    allow_last: bool,
) -> Plan:
    """Forgets those named, each meant as the snapshots stand now.

    Raises `NotFound`; `ImbfsError` where the last snapshot of a source is among them.
    """
    snapshots, unreadable = _look(repository)
    known = _candidates(snapshots)
    named: dict[SnapshotId, Candidate] = {}
    gone: dict[SnapshotId, None] = {}
    without_manifest = [*unreadable, *sorted(repository.missing_snapshots())]
    for selector in selectors:
        if (found := _one_of(selector, without_manifest, snapshots)) is not None:
            gone[found] = None
        else:
            snapshot = select(selector, [each for each in snapshots if chosen(each)])
            named[snapshot.id] = known[snapshot.id]
    staying = [candidate for candidate in known.values() if candidate.id not in named]
    if not allow_last:
        _refuse_last(last_of_sources(named.values(), staying))
    groups = {
        group: [Decision(snapshot, False, NAMED) for snapshot in members]
        for group, members in grouped(named.values(), by).items()
    }
    return Plan(groups, list(gone), [each for each in unreadable if each not in gone])


def _one_of(
    selector: Selector, without_manifest: Sequence[SnapshotId], snapshots: Sequence[Snapshot]
) -> SnapshotId | None:
    """What an id's beginning means among those that cannot be read. Raises `NotFound` for two."""
    fitting = [each for each in without_manifest if selector.is_id and each.startswith(selector.text)]
    if fitting:
        fitting += [snapshot.id for snapshot in snapshots if snapshot.id.startswith(selector.text)]
    if len(fitting) > 1:
        raise NotFound(f"more than one snapshot begins with {selector.text!r}: {', '.join(fitting)}")
    return fitting[0] if fitting else None


def _refuse_last(last: Sequence[Candidate]) -> None:
    if last:
        paths = " ".join(map(os.fsdecode, last[0].paths))
        raise ImbfsError(
            f"snapshot {last[0].id[:SHORT_ID]} is the last one of {last[0].host}:{paths}, and nothing was"
            " forgotten: --allow-last forgets it all the same"
        )


def _look(repository: Repository) -> tuple[list[Snapshot], list[SnapshotId]]:
    """The snapshots, oldest first, and the ids of those whose manifest is damaged."""
    before = set(repository.catalogue.ids())
    snapshots = repository.snapshots()
    # Looked at twice: one that comes or goes meanwhile is not damaged.
    standing = before.intersection(repository.catalogue.ids())
    readable = {snapshot.id for snapshot in [*snapshots, *repository.contents()]}
    return snapshots, sorted(standing - readable)


def _candidates(snapshots: Sequence[Snapshot]) -> dict[SnapshotId, Candidate]:
    """Each with the paths where its source lies now: a source with a name may have moved."""
    now = {(each.body.host, each.named_paths): tuple(each.paths) for each in snapshots}
    return {
        each.id: Candidate(
            each.id,
            time_of(each),
            each.body.host,
            now[each.body.host, each.named_paths],
            tuple(each.labels.tags),
        )
        for each in snapshots
    }


def forget(repository: Repository, snapshots: Sequence[SnapshotId]) -> None:
    """Removes the manifests. Raises `CannotStore`.

    The tombstone goes first: nobody, on whatever host, takes the snapshot for one that vanished. A crash
    in between leaves a snapshot that stands, whole.
    """
    with storing():
        storage = repository.storage
        if not bury(storage, snapshots) and not (release_reserve(storage) and bury(storage, snapshots)):
            repository.notice(
                "there is no space to note what is forgotten: another machine may say that it has vanished"
            )
        with_reserve(storage, lambda: repository.index.drop_snapshots(snapshots))
        for snapshot in snapshots:
            try:
                storage.delete(manifest_key(snapshot))
            except FileNotFoundError:
                # Someone else forgot it meanwhile, or its manifest had vanished.
                continue
