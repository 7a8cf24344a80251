"""A faster wait for the next request than pyfuse3's own.

pyfuse3 asks trio before each request whether the device is readable: three system calls and,
for a client that sends one request after the other, a sleep and a wake-up each time. Here the
worker that is at the device looks there first, and stays a few microseconds when nothing else
needs the processor. Two functions of pyfuse3's module are replaced for it; where a version does
not have them, its own loop runs.

At any time one worker is at the device. It stays there from request to request; when a handler
waits (`Loop.away`), the next worker takes its place.
"""

import logging
import os
import select
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns

import pyfuse3
import trio
from trio.lowlevel import ParkingLot, Task, current_task, wait_readable

from fusefs.errors import log_once

log = logging.getLogger("fusefs")

#: Requests answered at a time. A worker that is not needed costs nothing.
WORKERS = 64

#: Requests from one return to trio to the next: signals wait no longer than these take.
_BATCH = 64

#: The same while a handler waits: its thread's result is in trio's hands.
_BATCH_AWAY = 4

#: Nanoseconds of looking before sleeping, at the most and at the least. Between, it doubles when
#: the sleep was short and is halved when it was long: a slow client does not cost a processor.
_LONGEST_LOOK = 60_000
_SHORTEST_LOOK = 4_000

_DEVICE = os.makedev(10, 229)

_WAIT = "_wait_fuse_readable"
_SESSION = "_session_loop"

#: The nursery, the fewest and the most workers: arguments of pyfuse3's own, passed through.
_Session = Callable[[trio.Nursery, int, int], Awaitable[None]]


def fuse_descriptors() -> set[int]:
    """Descriptors of this process that are open on /dev/fuse."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:
            continue  # the listing's own
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == _DEVICE:
            found.add(int(name))
    return found


class Loop:
    """The request loop of this process's mount. Everything runs in trio's thread."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._poll = select.poll()
        self._look_ns = _LONGEST_LOOK
        self._since_trio = 0
        self._away = 0
        self._closed = False
        self._at_device: Task | None = None
        self._parked = ParkingLot()
        # With one processor, the client could not run while we look.
        self._may_look = len(os.sched_getaffinity(0)) > 1

    async def run(self, descriptor: int | None) -> None:
        """Answers requests until the mount ends. `descriptor`: the session's; None: the stock loop."""
        if descriptor is None or not (hasattr(pyfuse3, _WAIT) and hasattr(pyfuse3, _SESSION)):
            log.warning("this pyfuse3 is not the expected one: its own, slower loop runs")
            await pyfuse3.main(max_tasks=WORKERS)
            return
        self._descriptor = descriptor
        self._poll.register(descriptor, select.POLLIN)
        # A killed caller takes its request back: a read that blocks would then hold the whole process.
        os.set_blocking(descriptor, False)
        wait, session = getattr(pyfuse3, _WAIT), getattr(pyfuse3, _SESSION)
        setattr(pyfuse3, _WAIT, self._wait)
        setattr(pyfuse3, _SESSION, self._worker_of(session))
        try:
            await pyfuse3.main(max_tasks=WORKERS)
        finally:
            setattr(pyfuse3, _WAIT, wait)
            setattr(pyfuse3, _SESSION, session)

    def stop(self) -> None:
        """Ends `run` once no handler is at work."""
        pyfuse3.terminate()
        self._close()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Around each real wait of a handler: another worker takes the place at the device."""
        self._away += 1
        if self._at_device is current_task():
            self._hand_over()
        try:
            yield
        finally:
            self._away -= 1

    def _hand_over(self) -> None:
        woken = self._parked.unpark()
        self._at_device = woken[0] if woken else None

    def _close(self) -> None:
        self._closed = True
        self._parked.unpark_all()

    async def _wait(self) -> bool:
        """In place of pyfuse3's: True when the device is readable, False when the worker is to end."""
        me = current_task()
        if self._at_device is not me:
            if self._at_device is None:
                self._at_device = me
            else:
                await self._parked.park()
        if self._closed:
            return False
        self._since_trio += 1
        if self._since_trio < (_BATCH_AWAY if self._away else _BATCH) and self._poll.poll(0):
            return True
        if self._since_trio < _BATCH and self._may_look and not self._away and self._comes_soon():
            return True
        return await self._sleep()

    def _comes_soon(self) -> bool:
        """Looks at the device for a few microseconds."""
        poll = self._poll.poll
        end = perf_counter_ns() + self._look_ns
        while perf_counter_ns() < end:
            if poll(0):
                return True
        return False

    async def _sleep(self) -> bool:
        """Waits in trio; adapts how long the next look takes to how long this lasted."""
        self._since_trio = 0
        start = perf_counter_ns()
        try:
            await wait_readable(self._descriptor)
        except trio.ClosedResourceError:
            return False
        if perf_counter_ns() - start < _LONGEST_LOOK:
            self._look_ns = min(self._look_ns * 2, _LONGEST_LOOK)
        else:
            self._look_ns = max(self._look_ns // 2, _SHORTEST_LOOK)
        return True

    def _worker_of(self, session: _Session) -> _Session:
        async def worker(nursery: trio.Nursery, fewest: int, most: int) -> None:
            """A worker of pyfuse3 that outlives its faults, and whose end is the end of all."""
            try:
                while await _failed(session, nursery, fewest, most):
                    pass
            finally:
                # The device is closed, or we are cancelled: nobody else would wake the others.
                self._close()

        return worker


async def _failed(session: _Session, nursery: trio.Nursery, fewest: int, most: int) -> bool:
    """Runs a worker to its end; True after a fault that it is to be started anew for."""
    try:
        await session(nursery, fewest, most)
    except BlockingIOError:
        return True  # the request was taken back between the look and the read
    except OSError:
        raise  # the device cannot be read: the end of the mount
    except Exception as error:
        # Handlers raise nothing but errnos; this is a fault of the reply. Its caller stays without one.
        log_once(f"request not answered: {type(error).__name__}: {error}")
        return True
    return False
