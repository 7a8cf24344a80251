"""The time left, with a clock that the test turns."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from backup.cli.context import Context
from backup.cli.displays import Reading, Step
from backup.cli.eta import Estimate, Speed, duration, share
from backup.cli.progress import Meter, Steps

MIB = 1 << 20


class Shown:
    """Keeps all that it is to show."""

    interval = 0.1

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.steps: list[Step] = []

    def reading(self, reading: Reading) -> None:
        self.readings.append(reading)

    def step(self, step: Step) -> None:
        self.steps.append(step)

    @contextmanager
    def aside(self) -> Iterator[None]:
        yield


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def work(speed: Speed, name: float, byte: float, stretches: list[tuple[int, int]]) -> None:
    """Notes stretches of (names, bytes) that take what they take."""
    files = size = 0
    seconds = 0.0
    for more_files, more_size in stretches:
        files, size = files + more_files, size + more_size
        seconds += more_files * name + more_size * byte
        speed.note(files, size, seconds)


def test_nothing_is_foretold_before_something_is_done() -> None:
    speed = Speed()
    assert speed.seconds(10, 10) is None
    speed.note(0, 0, 1.0)
    assert speed.seconds(10, 10) is None


@pytest.mark.parametrize(("name", "byte"), [(0.001, 1e-9), (0.0001, 1e-8), (0.01, 2e-9)])
def test_small_files_and_large_ones_are_told_apart(name: float, byte: float) -> None:
    """Parity row 47: progress, and a time left that is right for mixed sizes."""
    speed = Speed()
    mixed = [(2000, 2 * MIB), (100, 300 * MIB), (1500, 8 * MIB), (1, 400 * MIB)] * 10
    work(speed, name, byte, mixed)
    for files, size in ((100_000, MIB), (3, 1000 * MIB), (5000, 500 * MIB)):
        assert speed.seconds(files, size) == pytest.approx(files * name + size * byte, rel=0.35)


def test_one_mixture_alone_foretells_more_of_it() -> None:
    speed = Speed()
    work(speed, 0.001, 1e-9, [(100, 10 * MIB)] * 20)
    assert speed.seconds(1000, 100 * MIB) == pytest.approx(1000 * 0.001 + 100 * MIB * 1e-9, rel=0.01)


def test_no_time_is_less_than_none() -> None:
    speed = Speed()
    # Large ones for nothing, small ones dear: a fit that is not held to reason would go below zero.
    for number in range(1, 30):
        speed.note(number * 10, number * number * MIB, number * 0.1 - number % 3 * 0.01)
    assert (speed.seconds(0, 1000 * MIB) or 0.0) >= 0
    assert speed.seconds(-5, -5) == 0


def test_the_share_done_counts_names_and_bytes() -> None:
    estimate = Estimate()
    assert share(5, 5, estimate) == 0
    estimate.set(16, MIB)
    assert share(8, MIB // 2, estimate) == 0.5
    assert share(16, 0, estimate) == 0.5
    assert share(99, 99 * MIB, estimate) == 1
    estimate.set(0, 0)
    assert share(0, 0, estimate) == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (7, "0:07"), (750, "12:30"), (3723, "1:02:03"), (273_600, "3 d 4 h")]
)
def test_times_are_told_as_people_read_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def context() -> Context:
    return Context(Namespace(json=False, quiet=False, verbose=0, no_progress=True, repo="/x"))


def test_a_meter_shows_at_its_interval_and_tells_the_time_left() -> None:
    shown, clock, estimate = Shown(), Clock(), Estimate()
    meter = Meter(context(), estimate, shown, clock=clock)
    for _ in range(100):
        clock.now += 0.01
        meter.entries(1, MIB)
    assert len(shown.readings) in (9, 10, 11)
    assert shown.readings[-1].seconds_left is None
    estimate.set(200, 200 * MIB)
    clock.now += 0.1
    meter.directory(b"/home")
    last = shown.readings[-1]
    assert (last.files, last.size, last.path) == (100, 100 * MIB, b"/home")
    assert last.seconds_left == pytest.approx(1.1, rel=0.1)
    assert last.rate == pytest.approx(100 * MIB / 1.1)


def test_while_someone_is_asked_no_time_passes() -> None:
    shown, clock = Shown(), Clock()
    meter = Meter(context(), Estimate(), shown, clock=clock)
    clock.now += 2
    with meter.question():
        clock.now += 100
    meter.end()
    assert shown.readings[-1].seconds == pytest.approx(2)


def test_more_than_was_expected_leaves_the_end_open() -> None:
    shown, clock, estimate = Shown(), Clock(), Estimate()
    estimate.set(10, 10)
    meter = Meter(context(), estimate, shown, clock=clock)
    clock.now += 1
    meter.entries(11, 5)
    assert shown.readings[-1].seconds_left is None
    assert shown.readings[-1].share == 1


def test_each_step_has_a_time_of_its_own() -> None:
    shown, clock = Shown(), Clock()
    steps = Steps(shown, clock)
    steps.step("packs", 4)
    clock.now += 2
    steps.advance(1)
    assert shown.steps[-1] == Step("packs", 1, 4, 2.0, 6.0)
    steps.step("snapshots", 2)
    assert shown.steps[-1] == Step("snapshots", 0, 2, 0.0, None)
    clock.now += 0.01
    steps.advance(1)
    assert shown.steps[-1].done == 0, "too soon to show again"
    steps.advance(1)
    assert shown.steps[-1].done == 2, "its end shows in any case"
