"""Which snapshots stay: a policy, and what it decides on each snapshot, with its reasons. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Literal, NamedTuple

from backup.model.duration import Duration
from backup.model.ids import SnapshotId

Period = Literal["hourly", "daily", "weekly", "monthly", "yearly"]
GroupBy = Literal["host", "paths", "tags"]


class Candidate(NamedTuple):
    """What a policy looks at in a snapshot. `time` is in the zone of the machine that made it."""

    id: SnapshotId
    time: datetime
    host: str
    paths: tuple[bytes, ...]
    tags: tuple[str, ...]

    @property
    def source(self) -> "Source":
        return self.host, frozenset(self.paths)


Source = tuple[str, frozenset[bytes]]


@dataclass(frozen=True)
class Policy:
    """Keeps what any of its rules keeps. Numbers count snapshots, or periods that have one."""

    last: int = 0
    periods: Mapping[Period, int] = field(default_factory=dict)
    within: Duration | None = None
    within_periods: Mapping[Period, Duration] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()


class Decision(NamedTuple):
    snapshot: Candidate
    keep: bool
    reasons: tuple[str, ...]


class Group(NamedTuple):
    """What the snapshots that are decided on together have in common; None: not asked for."""

    host: str | None = None
    paths: tuple[bytes, ...] | None = None
    tags: tuple[str, ...] | None = None


def _week(time: datetime) -> str:
    year, week, _ = time.isocalendar()
    return f"{year:04}-W{week:02}"


#: The period that a time is in, on its own clock: two hours that a clock shows twice stay two.
PERIODS: dict[Period, Callable[[datetime], str]] = {
    "hourly": lambda time: time.isoformat(timespec="hours"),
    "daily": lambda time: time.date().isoformat(),
    "weekly": _week,
    "monthly": lambda time: time.date().isoformat()[:7],
    "yearly": lambda time: time.date().isoformat()[:4],
}

NO_RULE = "no rule keeps it"
LAST_OF_SOURCE = "last snapshot of its source"


def grouped(snapshots: Iterable[Candidate], by: frozenset[GroupBy]) -> dict[Group, list[Candidate]]:
    """The groups in order, each with its snapshots."""
    found: dict[Group, list[Candidate]] = {}
    for snapshot in snapshots:
        group = Group(
            host=snapshot.host if "host" in by else None,
            paths=tuple(sorted(snapshot.paths)) if "paths" in by else None,
            tags=tuple(sorted(snapshot.tags)) if "tags" in by else None,
        )
        found.setdefault(group, []).append(snapshot)
    return dict(sorted(found.items(), key=lambda item: tuple(part or () for part in item[0])))


def decide(snapshots: Iterable[Candidate], policy: Policy) -> list[Decision]:
    """The decisions on one group, newest first: what a rule speaks for is kept.

    Of the snapshots in one period the newest is kept, and the newest periods count. Durations
    count back from the group's newest snapshot: a source that is not backed up any more loses nothing.
    """
    ordered = sorted(snapshots, key=lambda snapshot: (snapshot.time, snapshot.id), reverse=True)
    reasons: list[list[str]] = [[] for _ in ordered]
    for position, reason in _reasons(ordered, policy) if ordered else ():
        reasons[position].append(reason)
    return [
        Decision(snapshot, bool(found), tuple(found) or (NO_RULE,))
        for snapshot, found in zip(ordered, reasons, strict=True)
    ]


def _reasons(ordered: Sequence[Candidate], policy: Policy) -> Iterator[tuple[int, str]]:
    """The position of each snapshot that a rule keeps, and the rule's reason."""
    for position in range(min(policy.last, len(ordered))):
        yield position, f"last {position + 1}"
    for period, number in policy.periods.items():
        for position, label in islice(_newest_of_each(ordered, PERIODS[period]), number):
            yield position, f"{period} {label}"
    if policy.within is not None:
        for position in range(_count_within(ordered, policy.within)):
            yield position, f"within {policy.within.text}"
    for period, duration in policy.within_periods.items():
        recent = ordered[: _count_within(ordered, duration)]
        for position, label in _newest_of_each(recent, PERIODS[period]):
            yield position, f"{period} {label} within {duration.text}"
    for position, snapshot in enumerate(ordered):
        for tag in sorted(policy.tags.intersection(snapshot.tags)):
            yield position, f"tag {tag}"


def _newest_of_each(
    ordered: Iterable[Candidate], period: Callable[[datetime], str]
) -> Iterator[tuple[int, str]]:
    """Position and period of the newest snapshot of each period."""
    seen = set()
    for position, snapshot in enumerate(ordered):
        label = period(snapshot.time)
        if label not in seen:
            seen.add(label)
            yield position, label


def _count_within(ordered: Sequence[Candidate], duration: Duration) -> int:
    start = duration.before(ordered[0].time)
    return sum(snapshot.time >= start for snapshot in ordered)


def decide_all(
    snapshots: Iterable[Candidate],
    others: Iterable[Candidate],
    policy: Policy,
    by: frozenset[GroupBy],
    allow_last: bool,
) -> dict[Group, list[Decision]]:
    """The decisions on all groups. `others` are the snapshots that nothing is decided on: they stay."""
    groups = {group: decide(members, policy) for group, members in grouped(snapshots, by).items()}
    if allow_last:
        return groups
    removed = [each.snapshot for decisions in groups.values() for each in decisions if not each.keep]
    staying = [each.snapshot for decisions in groups.values() for each in decisions if each.keep]
    last = {snapshot.id for snapshot in last_of_sources(removed, [*staying, *others])}
    return {
        group: [
            Decision(each.snapshot, True, (LAST_OF_SOURCE,)) if each.snapshot.id in last else each
            for each in decisions
        ]
        for group, decisions in groups.items()
    }


def last_of_sources(removed: Iterable[Candidate], staying: Iterable[Candidate]) -> list[Candidate]:
    """The newest snapshot of each source that would be left with none."""
    safe = {snapshot.source for snapshot in staying}
    newest = {
        snapshot.source: snapshot for snapshot in sorted(removed, key=lambda each: (each.time, each.id))
    }
    return [snapshot for source, snapshot in newest.items() if source not in safe]
