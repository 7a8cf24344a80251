"""Naming a snapshot and a path in it: every form that the command line promises, and nothing that crashes."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.errors import UsageError
from backup.model.selector import Selector, parse_selector, parse_target, parse_time
from tests.objects.samples import codec, never_but_our_own

NOW = datetime(2026, 11, 1, 12, 30, 15, 500_000, tzinfo=timezone(timedelta(hours=2)))
TIMES = ["2026-11-01", "2026-11-01T12:00", "2026-11-01T12:00:30", "2026-11-01T12:00:30.5+02:00",
         "2026-11-01T12:00Z", "2 days ago", "yesterday", "now"]  # fmt: skip
SNAPSHOTS = ["latest", "latest~2", "0123abcd", "tag:name", *(f"@{time}" for time in TIMES)]
PATHS = ["", "etc", "/etc/passwd", "a:b", "a b", "@2026", "tag:x", "12:30", "30", "ü", "caf\udce9"]


@pytest.mark.parametrize("path", [*PATHS, None])
@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_a_target_is_a_snapshot_and_the_path_after_its_colon(snapshot: str, path: str | None) -> None:
    text = snapshot if path is None else f"{snapshot}:{path}"
    if snapshot.startswith("@") and re.fullmatch(r"\d\d(:\d\d)?", path or ""):
        return  # 12:00:30 is one time
    target = parse_target(text, NOW)
    assert target == (parse_selector(snapshot, NOW), path)


@codec
@given(st.text(st.sampled_from("@:~tag latest0123456789-TZ+.dysago/\n\0é"), max_size=30))
def test_any_text_is_a_target_or_wrong_usage(text: str) -> None:
    def parse() -> None:
        found = parse_target(text, NOW).selector
        set_fields = [found.newest is not None, found.before is not None, found.tag is not None]
        assert sum(set_fields) <= 1
        assert found.before is None or found.before.tzinfo is not None

    never_but_our_own(parse)


@codec
@given(st.text(max_size=30), st.booleans())
def test_any_text_is_a_time_with_zone_or_wrong_usage(text: str, end: bool) -> None:
    found = never_but_our_own(lambda: parse_time(text, NOW, end=end))
    assert found is None or (isinstance(found, datetime) and found.tzinfo is not None)


@codec
@given(st.datetimes(), st.timezones())
def test_a_time_with_a_zone_is_itself(time: datetime, zone: object) -> None:
    offset = timezone(timedelta(minutes=90)) if zone else UTC
    text = time.replace(tzinfo=offset).isoformat()
    assert parse_time(text, NOW) == time.replace(tzinfo=offset)


@pytest.mark.parametrize(
    ("text", "number"), [("latest", 0), ("latest~0", 0), ("latest~2", 2), ("latest~999999999", 999_999_999)]
)
def test_the_newest_are_counted_from_the_newest(text: str, number: int) -> None:
    assert parse_selector(text, NOW) == Selector(text, newest=number)


@pytest.mark.parametrize("text", ["latest~", "latest~-1", "latest~x", "tag:", "0123abcd", "../x", ""])
def test_what_is_nothing_else_is_an_id(text: str) -> None:
    assert parse_selector(text, NOW) == Selector(text)


@pytest.mark.parametrize("text", ["@", "@nonsense", "@2026-13-01", "@2026-11-31", "@-1 days ago", "@2 days"])
def test_a_time_that_is_none_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="no time"):
        parse_selector(text, NOW)


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("1 second ago", timedelta(seconds=1)),
        ("90 minutes ago", timedelta(minutes=90)),
        ("5hours ago", timedelta(hours=5)),
        ("2 days ago", timedelta(days=2)),
        ("1 week ago", timedelta(weeks=1)),
        ("3 months ago", timedelta(days=90)),
        ("2 years ago", timedelta(days=730)),
        ("now", timedelta()),
    ],
)
def test_a_relative_time_counts_back_from_now(text: str, back: timedelta) -> None:
    assert parse_time(text, NOW) == parse_time(f"  {text} ", NOW, end=True) == NOW - back


@pytest.mark.parametrize("text", ["999999 years ago", "9999-12-31T23:59:59.999999-23:59", "0001-01-01"])
def test_a_time_beyond_the_calendar_is_wrong_usage_or_a_time(text: str) -> None:
    never_but_our_own(lambda: parse_time(text, NOW, end=True))


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-11-01", "2026-11-01T00:00:00", "2026-11-01T23:59:59.999999"),
        ("20261101", "2026-11-01T00:00:00", "2026-11-01T23:59:59.999999"),
        ("2026-11-01T12:00", "2026-11-01T12:00:00", "2026-11-01T12:00:59.999999"),
        ("2026-11-01 12:00", "2026-11-01T12:00:00", "2026-11-01T12:00:59.999999"),
        ("2026-11-01T12:00:07", "2026-11-01T12:00:07", "2026-11-01T12:00:07"),
    ],
)
def test_a_date_is_its_first_moment_or_as_an_end_its_last(text: str, first: str, last: str) -> None:
    assert parse_time(text, NOW) == datetime.fromisoformat(first).astimezone()
    assert parse_time(text, NOW, end=True) == datetime.fromisoformat(last).astimezone()


def test_today_and_yesterday_are_days_of_this_machine() -> None:
    local = NOW.astimezone()
    assert parse_time("today", NOW) == local.replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = parse_time("yesterday", NOW, end=True)
    assert yesterday == (local - timedelta(days=1)).replace(
        hour=23, minute=59, second=59, microsecond=999_999
    )
