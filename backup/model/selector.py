"""Naming a snapshot, and a path inside one, as people write it."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from backup.model.errors import UsageError

_LATEST = re.compile(r"latest(?:~(\d{1,9}))?")
_AGO = re.compile(r"(\d{1,6})\s*(second|minute|hour|day|week|month|year)s?\s+ago")
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


class Selector(NamedTuple):
    """Exactly one of `newest` (0: the newest), `before` and `tag` is set, or none: an id's prefix."""

    text: str
    newest: int | None = None
    before: datetime | None = None
    tag: str | None = None

    @property
    def is_id(self) -> bool:
        """Whether it is an id's prefix."""
        return self.newest is None and self.before is None and self.tag is None and self.text != ""


class Target(NamedTuple):
    """`SNAPSHOT:PATH`: `path` is None where no colon stands."""

    selector: Selector
    path: str | None


def parse_target(text: str, now: datetime, tags: Iterable[str] = ()) -> Target:
    """`now` is with zone; relative times count back from it. `tags` are those that there are: one with colons
    is known by that. Raises `UsageError`.
    """
    snapshot, path = _split(text, tags)
    return Target(parse_selector(snapshot, now), path)


def _split(text: str, tags: Iterable[str]) -> tuple[str, str | None]:
    """A date and a tag have colons of their own: `@2026-11-01T12:00:etc`, `tag:NAME:etc`."""
    if text.startswith("@"):
        # The longest start that reads as a time is the time.
        for match in reversed(list(re.finditer(":", text))):
            if _reads_as_time(text[1 : match.start()]) and not _reads_as_time(text[1:]):
                return text[: match.start()], text[match.end() :]
        return text, None
    start = 0
    if text.startswith("tag:"):
        fitting = (tag for tag in tags if f"{text}:".startswith(f"tag:{tag}:"))
        start = len("tag:") + len(max(fitting, key=len, default=""))
    colon = text.find(":", start)
    return (text, None) if colon < 0 else (text[:colon], text[colon + 1 :])


def parse_selector(text: str, now: datetime) -> Selector:
    """What is nothing else is an id, or the start of one. Raises `UsageError` for a time that is none."""
    if match := _LATEST.fullmatch(text):
        return Selector(text, newest=int(match[1] or 0))
    if text.startswith("@"):
        return Selector(text, before=parse_time(text[1:], now, end=True))
    if text.startswith("tag:") and len(text) > 4:
        return Selector(text, tag=text[4:])
    return Selector(text)


def parse_time(text: str, now: datetime, *, end: bool = False) -> datetime:
    """A time with zone; local where the text names none. Raises `UsageError`.

    A date is its first moment, a minute its first second; with `end`, their last.
    """
    text = text.strip()
    try:
        if text == "now":
            return now
        if text in ("today", "yesterday"):
            day = now.astimezone() - timedelta(days=text == "yesterday")
            return _last(day, hour=23, minute=59) if end else _first(day)
        if match := _AGO.fullmatch(text):
            return _ago(int(match[1]), match[2], now)
        found = datetime.fromisoformat(text)
        if end and re.fullmatch(r"[\dW-]+", text):
            week = re.fullmatch(r"\d{4}-?W\d\d", text) is not None
            found = _last(found + timedelta(days=6 * week), hour=23, minute=59)
        elif end and re.fullmatch(r"[^T ]+[T ]\d\d:?\d\d", text):
            found = _last(found)
        return found.astimezone() if found.tzinfo is None else found
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no time: write 2026-11-01, 2026-11-01T12:00 or '2 days ago'") from None


def _first(day: datetime) -> datetime:
    return day.replace(hour=0, minute=0, second=0, microsecond=0)


def _last(time: datetime, **fields: int) -> datetime:
    return time.replace(second=59, microsecond=999_999, **fields)  # type: ignore[arg-type]


def _ago(number: int, unit: str, now: datetime) -> datetime:
    if unit in _DAYS:
        return now - timedelta(days=number * _DAYS[unit])
    return now - timedelta(**{f"{unit}s": number})


def _reads_as_time(text: str) -> bool:
    try:
        parse_time(text, datetime.fromisoformat("2000-01-01T00:00:00+00:00"))
    except UsageError:
        return False
    return True
