"""Worker processes that write plain files, as the main process knows them."""

import os
import select
import signal
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from backup.objects.blocks import Spot
from backup.ops.restoring.plain import Places, PlainFile, PlainWorker, PlainWriter
from backup.ops.storing.channel import Channel
from backup.ops.storing.worker import start_worker
from backup.repository import Repository

#: Batches that a worker has at a time: one being written, and one to go on with.
_AT_A_TIME = 2

#: More find no work, and each has descriptors of directories.
_MOST_USEFUL = 8

#: Is called with the numbers of the files that were not written.
Done = Callable[[list[int]], None]


def default_workers() -> int:
    return min(len(os.sched_getaffinity(0)), _MOST_USEFUL)


@dataclass(slots=True)
class _Member:
    pid: int
    channel: Channel
    #: Of the batches that it has, in order: number of files, and whom to tell.
    batches: deque[tuple[int, Done]] = field(default_factory=deque)


class Crew:
    """Made before any thread runs, because it forks. With fewer than two workers, or when they have died,
    the main process writes. Close it.
    """

    def __init__(self, repository: Repository, workers: int) -> None:
        self.repository = repository
        os.umask(umask := os.umask(0o77))
        self._writer = PlainWriter(repository.block_reader(), repository.name, umask)
        self._members: dict[int, _Member] = {}
        self._poll = select.poll()
        for _ in range(min(workers, _MOST_USEFUL) if workers > 1 else 0):
            self._start(repository)

    def _start(self, repository: Repository) -> None:
        ours, theirs = socket.socketpair()
        pid = start_worker(theirs, PlainWorker(theirs, repository).run)
        theirs.close()
        self._members[ours.fileno()] = _Member(pid, Channel(ours))
        self._poll.register(ours, select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(
        self,
        files: list[PlainFile],
        places: list[Places],
        spots: list[Spot],
        directories: list[int],
        verify: bool,
        done: Done,
    ) -> None:
        """Waits while all workers have enough to do. `directories` may be closed when `done` was called."""
        while self._members:
            member = min(self._members.values(), key=lambda member: len(member.batches))
            if len(member.batches) >= _AT_A_TIME:
                self._take(None)
                continue
            member.batches.append((len(files), done))
            try:
                member.channel.send((files, places, spots, len(directories), verify), directories)
            except (BrokenPipeError, ConnectionResetError):
                self._died(member)
            self._take(0)
            return
        done(self._writer.write(files, places, spots, directories, verify))

    def finish(self) -> None:
        """Waits until all that was submitted is done."""
        while any(member.batches for member in self._members.values()):
            self._take(None)

    def close(self) -> None:
        """Ends the workers, whatever they are doing: a file being written has no name yet."""
        for member in self._members.values():
            with suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(member.pid, 0)
            member.channel.close()
        self._members.clear()

    def _take(self, timeout: int | None) -> None:
        for fd, _ in self._poll.poll(timeout):
            member = self._members.get(fd)
            if member is None:
                continue
            try:
                messages = member.channel.arrived()
            except ConnectionResetError:
                messages = None
            for (failed,) in messages or ():
                _, done = member.batches.popleft()
                done(failed)
            if messages is None:
                self._died(member)

    def _died(self, member: _Member) -> None:
        """What it had is done again by the main process, which knows what to do with what stands already."""
        fd = member.channel.fileno()
        if self._members.pop(fd, None) is None:
            return
        self._poll.unregister(fd)
        os.waitpid(member.pid, 0)
        member.channel.close()
        for count, done in member.batches:
            done(list(range(count)))
