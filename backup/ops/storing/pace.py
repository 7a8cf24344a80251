"""Holding a backup to a rate: it reads no more bytes a second than it may, on average."""

import time
from collections.abc import Callable

from backup.ops.storing.monitor import Monitor

#: Seconds' worth of bytes that may be read at once after a quiet time.
BURST = 1.0
#: A backup that waits can be stopped: seconds between two chances.
NAP = 0.1
#: No wait is shorter: a clock may be too coarse to see it.
TICK = 0.001


class Pace:
    """A token bucket. `rate` in bytes a second; clock and sleep in seconds."""

    def __init__(
        self,
        rate: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._credit = rate * BURST
        self._seen = clock()

    def spend(self, size: int, between: Callable[[], None]) -> None:
        """Waits until so many bytes are paid for. `between` is called while it waits; it may raise."""
        self._fill()
        self._credit -= size
        while self._credit < 0:
            self._sleep(min(NAP, max(TICK, -self._credit / self._rate)))
            between()
            self._fill()

    def _fill(self) -> None:
        now = self._clock()
        self._credit = min(self._rate * BURST, self._credit + (now - self._seen) * self._rate)
        self._seen = now


class PacedMonitor:
    """A monitor that makes the backup wait after what it read. Batches under way are read meanwhile."""

    def __init__(self, monitor: Monitor, pace: Pace) -> None:
        self._pace = pace
        self._monitor = monitor
        self.entries = monitor.entries
        self.directory = monitor.directory
        self.notice = monitor.notice
        self.problem = monitor.problem

    def read(self, size: int) -> None:
        self._monitor.read(size)
        self._pace.spend(size, lambda: self._monitor.entries(0, 0))
