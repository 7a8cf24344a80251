"""The request loop: pyfuse3 has mounted, and the session is answered here.

pyfuse3's own loop makes a coroutine, several objects and five system calls for each request, and
sleeps and is woken between them. Here a request is one read and one write. When none is there, the
loop looks for a few microseconds more before it sleeps in trio.
"""

import os
import select
from collections.abc import Callable
from time import perf_counter_ns

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable

from fusefs.device import Device, Unmounted

#: Requests from one return to trio to the next: signals wait no longer than these take.
_BATCH = 64

#: Nanoseconds of looking before sleeping, at the most and at the least.
LONGEST_LOOK = 60_000
SHORTEST_LOOK = 4_000
#: Nanoseconds. Most of a short sleep is the way back from it.
_SHORT_SLEEP = 150_000

#: Milliseconds of sleep in poll(2), which is cheaper than in trio; signals and timers wait meanwhile.
_NAP = 2


class Look:
    """How long to look before sleeping: `ns`. Twice as long after a sleep that was short, half as long after
    a long one: a slow client does not cost a processor."""

    def __init__(self) -> None:
        self.ns = LONGEST_LOOK

    def slept(self, ns: int) -> None:
        if ns < _SHORT_SLEEP:
            self.ns = min(self.ns * 2, LONGEST_LOOK)
        else:
            self.ns = max(self.ns // 2, SHORTEST_LOOK)


class Loop:
    """Answers requests until the mount ends. Everything runs in trio's thread."""

    def __init__(
        self,
        device: Device,
        answer: Callable[[memoryview], None],
        busy: Callable[[], object],
    ) -> None:
        """`busy` tells whether threads are at work that need the processor more than a look does."""
        self._device = device
        self._answer = answer
        self._busy = busy
        self._poll = select.poll()
        self._poll.register(device.descriptor, select.POLLIN)
        self._look = Look()
        self._stopped = False
        # With one processor, the client could not run while we look.
        self._may_look = len(os.sched_getaffinity(0)) > 1

    async def run(self) -> None:
        try:
            while not self._stopped:
                await (checkpoint() if self._answer_some() else self._sleep())
        except (Unmounted, trio.ClosedResourceError):
            pass

    def stop(self) -> None:
        """Ends `run`."""
        self._stopped = True
        notify_closing(self._device.descriptor)

    def _answer_some(self) -> bool:
        """Answers requests; True after so many that trio is to have its turn, False when none came."""
        receive, answer = self._device.receive, self._answer
        for _ in range(_BATCH):
            request = receive()
            if request is None and (not self._comes_soon() or (request := receive()) is None):
                return False
            answer(request)
        return True

    def _comes_soon(self) -> bool:
        """Looks for a few microseconds, then sleeps without trio for a moment."""
        poll = self._poll.poll
        if self._may_look and not self._busy():
            end = perf_counter_ns() + self._look.ns
            while perf_counter_ns() < end:
                if poll(0):
                    return True
        start = perf_counter_ns()
        came = bool(poll(_NAP))
        self._look.slept(perf_counter_ns() - start)
        return came

    async def _sleep(self) -> None:
        await wait_readable(self._device.descriptor)
