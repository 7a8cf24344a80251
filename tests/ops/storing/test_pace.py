"""A backup reads no faster than it may."""

import pytest

from backup.model.errors import Stopped
from backup.ops.storing.pace import NAP, Pace


class Clock:
    """Time passes only where something sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def nothing() -> None:
    """What goes on while a backup waits."""


def test_a_second_worth_of_bytes_is_read_at_once(clock: Clock) -> None:
    pace = Pace(1000, clock, clock.sleep)
    pace.spend(1000, nothing)
    assert clock.naps == []


@pytest.mark.parametrize("part", [1, 300, 5000, 100_000])
def test_the_rate_is_kept_whatever_the_size_of_the_parts(clock: Clock, part: int) -> None:
    pace = Pace(1000, clock, clock.sleep)
    for _ in range(100_000 // part):
        pace.spend(part, nothing)
    assert clock.now - 1000 == pytest.approx(100_000 // part * part / 1000 - 1, abs=0.01)


def test_a_quiet_hour_gives_no_more_than_a_second_worth(clock: Clock) -> None:
    pace = Pace(1000, clock, clock.sleep)
    clock.now += 3600
    pace.spend(3000, nothing)
    assert sum(clock.naps) == pytest.approx(2)


def test_reading_slower_than_the_rate_never_waits(clock: Clock) -> None:
    pace = Pace(1000, clock, clock.sleep)
    for _ in range(100):
        clock.now += 0.5
        pace.spend(499, nothing)
    assert clock.naps == []


def test_a_long_wait_can_be_stopped(clock: Clock) -> None:
    def stop() -> None:
        raise Stopped

    pace = Pace(1, clock, clock.sleep)
    with pytest.raises(Stopped):
        pace.spend(1_000_000, stop)
    assert max(clock.naps) <= NAP
