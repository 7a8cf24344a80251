"""Ranges and the like on the command line. A filter that is none is an error that says what is one."""

import re
from datetime import datetime

from backup.model.errors import UsageError
from backup.model.selector import parse_time

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGTP]?)(?:i?[bB])?")
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def parse_sizes(text: str) -> tuple[int | None, int | None]:
    """The smallest and the largest size in bytes. Raises `UsageError`."""
    start, end = _ends(text)
    smallest, largest = _size(start, text), _size(end, text)
    if text[:1] in ("+", ">") and smallest is not None:
        smallest += 1
    if text[:1] in ("-", "<") and largest is not None:
        largest -= 1
    return smallest, largest


def parse_times(text: str, now: datetime) -> tuple[datetime | None, datetime | None]:
    """The first and the last moment; a date alone is that whole day. Raises `UsageError`."""
    start, end = _ends(text)
    since = parse_time(start, now) if start else None
    until = parse_time(end, now, end=True) if end else None
    if start == end and since == until:
        # A moment is no range: since then.
        until = None
    return since, until


def _ends(text: str) -> tuple[str, str]:
    """Of `A..B`, `A..`, `..B`, `+A` or `>A`, `-B` or `<B`, and `A` for both."""
    text = text.strip()
    if ".." in text:
        start, _, end = text.partition("..")
        return start.strip(), end.strip()
    if text[:1] in ("+", ">"):
        return text[1:].strip(), ""
    if text[:1] in ("-", "<"):
        return "", text[1:].strip()
    return text, text


def _size(text: str, whole: str) -> int | None:
    if not text:
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{whole!r} is no size: write 10M, +10M (more), <4k (less) or 1k..10M")
    return int(float(match[1]) * 1024 ** _UNITS[match[2].lower()])


def parse_owner(text: str) -> tuple[str | None, str | None]:
    """A user and a group, each by name or number: `ann`, `ann:users`, `:users`. Raises `UsageError`."""
    user, _, group = text.partition(":")
    if not user and not group:
        raise UsageError(f"{text!r} is no owner: write USER, USER:GROUP or :GROUP, by name or number")
    return user or None, group or None


def parse_hash(text: str) -> str:
    """The beginning of a hash, in lower case. Raises `UsageError`."""
    if not re.fullmatch(r"[0-9a-fA-F]{4,64}", text):
        raise UsageError(f"{text!r} is no hash: give 4 to 64 hex digits, as `imbfs --json ls` shows them")
    return text.lower()
