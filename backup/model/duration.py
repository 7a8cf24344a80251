"""Spans of time as people write them: 30d, 12h, 2w, 1y6m."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from backup.model.errors import UsageError

_PART = re.compile(r"([0-9]{1,6})([ymwdh])")
#: Before everything: where a span reaches back further than times go.
_EVER = datetime.min.replace(tzinfo=UTC)


class Duration(NamedTuple):
    """Years and months are the calendar's; `text` is as it was written."""

    text: str
    months: int
    hours: int

    def before(self, time: datetime) -> datetime:
        """The moment so long before `time`. A day that the month lacks becomes its last."""
        month = time.year * 12 + time.month - 1 - self.months
        if month < 12:
            return _EVER
        year, month = divmod(month, 12)
        try:
            return _on_day(time, year, month + 1) - timedelta(hours=self.hours)
        except OverflowError:
            return _EVER


def _on_day(time: datetime, year: int, month: int) -> datetime:
    for day in range(time.day, 27, -1):
        try:
            return time.replace(year=year, month=month, day=day)
        except ValueError:
            continue
    return time.replace(year=year, month=month)


def parse_duration(text: str) -> Duration:
    """Raises `UsageError`."""
    if not re.fullmatch(f"({_PART.pattern})+", text):
        raise UsageError(f"{text!r} is no duration: write 30d, 12h, 2w or 1y6m (years, months)")
    found = dict.fromkeys("ymwdh", 0)
    for number, unit in _PART.findall(text):
        found[unit] += int(number)
    hours = (found["w"] * 7 + found["d"]) * 24 + found["h"]
    return Duration(text, found["y"] * 12 + found["m"], hours)
