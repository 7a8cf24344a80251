"""What a policy keeps: each rule by example, and what must hold for any policy over any snapshots."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.duration import Duration, parse_duration
from backup.model.errors import UsageError
from backup.model.ids import SnapshotId
from backup.model.retention import (
    LAST_OF_SOURCE,
    NO_RULE,
    PERIODS,
    Candidate,
    Decision,
    GroupBy,
    Policy,
    decide,
    decide_all,
    grouped,
)
from tests.objects.samples import codec, never_but_our_own

NEW_YEAR = datetime(2027, 1, 1, 12, tzinfo=UTC)


def snapshot(time: datetime, label: str = "", host: str = "a", tags: tuple[str, ...] = ()) -> Candidate:
    return Candidate(SnapshotId(f"{label or time.isoformat()}"), time, host, (b"/p",), tags)


def kept(decisions: Sequence[Decision]) -> list[Candidate]:
    return [decision.snapshot for decision in decisions if decision.keep]


def reasons(decisions: Sequence[Decision]) -> dict[str, tuple[str, ...]]:
    return {decision.snapshot.id: decision.reasons for decision in decisions}


# ---- each rule -----------------------------------------------------------------------------------


def test_the_newest_so_many_are_kept() -> None:
    snapshots = [snapshot(NEW_YEAR - timedelta(hours=n), str(n)) for n in range(5)]
    assert reasons(decide(snapshots, Policy(last=2))) == {
        "0": ("last 1",), "1": ("last 2",), "2": (NO_RULE,), "3": (NO_RULE,), "4": (NO_RULE,)
    }  # fmt: skip


def test_of_a_period_the_newest_is_kept_and_periods_without_one_do_not_count() -> None:
    times = {"new": "2026-12-31T23:59", "same day": "2026-12-31T00:00", "a year before": "2025-12-31T23:00"}
    snapshots = [snapshot(datetime.fromisoformat(f"{time}+00:00"), name) for name, time in times.items()]
    assert reasons(decide(snapshots, Policy(periods={"daily": 2}))) == {
        "new": ("daily 2026-12-31",), "same day": (NO_RULE,), "a year before": ("daily 2025-12-31",)
    }  # fmt: skip


def test_a_week_is_that_of_iso_8601() -> None:
    days = ["2026-12-27", "2026-12-28", "2027-01-03", "2027-01-04"]
    snapshots = [snapshot(datetime.fromisoformat(f"{day}T12:00+00:00"), day) for day in days]
    assert reasons(decide(snapshots, Policy(periods={"weekly": 9}))) == {
        "2027-01-04": ("weekly 2027-W01",),
        "2027-01-03": ("weekly 2026-W53",),
        "2026-12-28": (NO_RULE,),
        "2026-12-27": ("weekly 2026-W52",),
    }


def test_a_day_is_that_of_the_snapshots_own_zone() -> None:
    east = datetime(2026, 11, 20, 0, 30, tzinfo=timezone(timedelta(hours=9)))
    west = datetime(2026, 11, 19, 23, 30, tzinfo=timezone(timedelta(hours=-9)))
    assert PERIODS["daily"](east) == "2026-11-20"
    assert len(kept(decide([snapshot(east), snapshot(west)], Policy(periods={"daily": 9})))) == 2


def test_the_hour_that_a_clock_shows_twice_is_two_hours() -> None:
    summer = datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=2)))
    winter = datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=1)))
    assert len(kept(decide([snapshot(summer), snapshot(winter)], Policy(periods={"hourly": 9})))) == 2


def test_within_counts_back_from_the_newest_snapshot_and_not_from_now() -> None:
    long_ago = datetime(1999, 1, 31, tzinfo=UTC)
    snapshots = [snapshot(long_ago - timedelta(days=n), str(n)) for n in (0, 29, 30, 31)]
    found = reasons(decide(snapshots, Policy(within=parse_duration("30d"))))
    assert found == {"0": ("within 30d",), "29": ("within 30d",), "30": ("within 30d",), "31": (NO_RULE,)}


def test_of_the_periods_within_a_duration_the_newest_are_kept() -> None:
    snapshots = [snapshot(NEW_YEAR - timedelta(hours=12 * n), str(n)) for n in range(8)]
    found = decide(snapshots, Policy(within_periods={"daily": parse_duration("36h")}))
    assert [each.id for each in kept(found)] == ["0", "2"]
    assert found[2].reasons == ("daily 2026-12-31 within 36h",)


def test_a_snapshot_with_a_tag_that_is_kept_stays() -> None:
    snapshots = [snapshot(NEW_YEAR, "plain"), snapshot(NEW_YEAR, "tagged", tags=("x", "y"))]
    found = decide(snapshots, Policy(tags=frozenset({"y", "z"})))
    assert reasons(found) == {"plain": (NO_RULE,), "tagged": ("tag y",)}


def test_two_snapshots_of_one_second_are_two() -> None:
    snapshots = [snapshot(NEW_YEAR, "a"), snapshot(NEW_YEAR, "b")]
    assert len(kept(decide(snapshots, Policy(last=1)))) == 1
    assert len(kept(decide(snapshots, Policy(last=2)))) == 2


def test_each_group_is_decided_on_by_itself() -> None:
    snapshots = [snapshot(NEW_YEAR - timedelta(n), f"{host}{n}", host) for host in "ab" for n in range(3)]
    apart = decide_all(snapshots, [], Policy(last=1), frozenset({"host"}), False)
    assert [[each.id for each in kept(found)] for found in apart.values()] == [["a0"], ["b0"]]
    together = decide_all(snapshots, [], Policy(last=2), frozenset(), False)
    assert [[each.id for each in kept(found)] for found in together.values()] == [["b0", "a0"]]


def test_the_last_snapshot_of_a_source_is_kept_unless_it_may_go() -> None:
    old = [snapshot(NEW_YEAR - timedelta(n), f"{host}{n}", host) for host in "ab" for n in (1, 2)]
    other = snapshot(NEW_YEAR, "b0", "b")
    nothing = Policy(tags=frozenset({"none"}))
    [found] = decide_all(old, [other], nothing, frozenset(), False).values()
    assert {each.snapshot.id: each.reasons for each in found if each.keep} == {"a1": (LAST_OF_SOURCE,)}
    [found] = decide_all(old, [other], nothing, frozenset(), True).values()
    assert kept(found) == []


# ---- what must hold for all ----------------------------------------------------------------------

OFFSETS = [-11 * 60, -90, 0, 60, 345, 14 * 60]
TIMES = st.builds(
    lambda minutes, offset: (NEW_YEAR - timedelta(minutes=minutes)).astimezone(
        timezone(timedelta(minutes=offset))
    ),
    st.one_of(st.integers(0, 200), st.integers(0, 2_000_000)),
    st.sampled_from(OFFSETS),
)
SNAPSHOTS = st.lists(
    st.builds(
        lambda time, number, host, tags: Candidate(
            SnapshotId(f"{number:03}"), time, host, (b"/p",), tuple(sorted(tags))
        ),
        TIMES,
        st.integers(0, 999),
        st.sampled_from("ab"),
        st.sets(st.sampled_from("xyz")),
    ),
    max_size=30,
    unique_by=lambda each: each.id,
)
DURATIONS = st.builds(
    lambda number, unit: parse_duration(f"{number}{unit}"), st.integers(0, 40), st.sampled_from("hdwmy")
)
NUMBERS = st.integers(0, 6)
POLICIES = st.builds(
    Policy,
    last=NUMBERS,
    periods=st.dictionaries(st.sampled_from(list(PERIODS)), NUMBERS),
    within=st.none() | DURATIONS,
    within_periods=st.dictionaries(st.sampled_from(list(PERIODS)), DURATIONS, max_size=2),
    tags=st.frozensets(st.sampled_from("xyz"), max_size=1),
)
KEYS: list[GroupBy] = ["host", "paths", "tags"]


@codec
@given(SNAPSHOTS, POLICIES, st.randoms())
def test_the_order_in_which_snapshots_are_listed_does_not_matter(
    snapshots: list[Candidate], policy: Policy, random: object
) -> None:
    mixed = list(snapshots)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert decide(mixed, policy) == decide(snapshots, policy)


@codec
@given(SNAPSHOTS, POLICIES)
def test_every_snapshot_is_decided_on_once_and_for_a_reason(
    snapshots: list[Candidate], policy: Policy
) -> None:
    found = decide(snapshots, policy)
    assert sorted(each.snapshot for each in found) == sorted(snapshots)
    assert all(each.reasons and each.keep == (each.reasons != (NO_RULE,)) for each in found)


@codec
@given(SNAPSHOTS, POLICIES)
def test_a_number_keeps_at_most_so_many(snapshots: list[Candidate], policy: Policy) -> None:
    most = policy.last + sum(policy.periods.values())
    counted = Policy(policy.last, policy.periods)
    assert len(kept(decide(snapshots, counted))) <= most
    for period, number in policy.periods.items():
        alone = kept(decide(snapshots, Policy(periods={period: number})))
        periods = {PERIODS[period](each.time) for each in snapshots}
        assert len(alone) == min(number, len(periods))
        assert len({PERIODS[period](each.time) for each in alone}) == len(alone)


@codec
@given(SNAPSHOTS, POLICIES, POLICIES)
def test_a_policy_with_more_in_it_keeps_all_that_the_lesser_one_keeps(
    snapshots: list[Candidate], policy: Policy, other: Policy
) -> None:
    more = replace(
        policy,
        last=policy.last + other.last,
        periods={period: policy.periods.get(period, 0) + other.periods.get(period, 0) for period in PERIODS},
        within=policy.within or other.within,
        within_periods={**other.within_periods, **policy.within_periods},
        tags=policy.tags | other.tags,
    )
    assert set(kept(decide(snapshots, policy))) <= set(kept(decide(snapshots, more)))


@codec
@given(SNAPSHOTS, DURATIONS, DURATIONS)
def test_a_longer_duration_keeps_all_that_a_shorter_one_keeps(
    snapshots: list[Candidate], one: Duration, other: Duration
) -> None:
    shorter, longer = sorted((one, other), key=lambda duration: duration.before(NEW_YEAR), reverse=True)
    for period in (None, *PERIODS):
        policies = [
            Policy(within=each) if period is None else Policy(within_periods={period: each})
            for each in (shorter, longer)
        ]
        few, many = (set(kept(decide(snapshots, policy))) for policy in policies)
        if shorter.months == longer.months:
            assert few <= many


@codec
@given(SNAPSHOTS, POLICIES)
def test_the_newest_is_kept_by_any_number_above_none(snapshots: list[Candidate], policy: Policy) -> None:
    found = decide(snapshots, replace(policy, last=max(1, policy.last)))
    assert not found or found[0].keep


@codec
@given(SNAPSHOTS, POLICIES, st.frozensets(st.sampled_from(KEYS)), st.integers(0, 30))
def test_no_source_is_left_without_a_snapshot(
    snapshots: list[Candidate], policy: Policy, by: frozenset[GroupBy], cut: int
) -> None:
    chosen, others = snapshots[:cut], snapshots[cut:]
    groups = decide_all(chosen, others, policy, by, allow_last=False)
    decided = [each for decisions in groups.values() for each in decisions]
    assert sorted(each.snapshot for each in decided) == sorted(chosen)
    left = {each.source for each in [*kept(decided), *others]}
    assert left == {each.source for each in snapshots}
    # And nothing more than the last one of each is kept for that.
    free = decide_all(chosen, others, policy, by, allow_last=True)
    more = len(kept(decided)) - len([each for found in free.values() for each in kept(found)])
    assert more <= len({each.source for each in chosen})


@codec
@given(SNAPSHOTS, st.frozensets(st.sampled_from(KEYS)))
def test_groups_hold_all_and_differ_in_what_was_asked_for(
    snapshots: list[Candidate], by: frozenset[GroupBy]
) -> None:
    groups = grouped(snapshots, by)
    assert sorted(each for members in groups.values() for each in members) == sorted(snapshots)
    assert len(groups) <= 1 or by
    assert all((part is not None) == (key in by) for group in groups for key, part in zip(KEYS, group))  # noqa: B905


# ---- durations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("30d", "2026-12-02T12:00"),
        ("12h", "2027-01-01T00:00"),
        ("2w", "2026-12-18T12:00"),
        ("1y", "2026-01-01T12:00"),
        ("2y5m7d3h", "2024-07-25T09:00"),
        ("3h7d5m2y", "2024-07-25T09:00"),
        ("0d", "2027-01-01T12:00"),
        ("999999y", "0001-01-01T00:00"),
        ("999999w", "0001-01-01T00:00"),
    ],
)
def test_a_duration_goes_back_by_the_calendar(text: str, before: str) -> None:
    assert parse_duration(text).before(NEW_YEAR) == datetime.fromisoformat(f"{before}+00:00")


def test_a_day_that_the_month_lacks_becomes_its_last() -> None:
    march = datetime(2024, 3, 31, tzinfo=UTC)
    assert parse_duration("1m").before(march) == datetime(2024, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "5", "d", "5x", "-1d", "1.5d", "1 d", "1d ", "٣d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration"):
        parse_duration(text)


@codec
@given(st.text(st.sampled_from("0123456789ymwdh "), max_size=20), TIMES)
def test_any_text_is_a_duration_or_wrong_usage(text: str, time: datetime) -> None:
    found = never_but_our_own(lambda: parse_duration(text).before(time))
    assert found is None or (isinstance(found, datetime) and found <= time)
