"""Where little has changed, a second process looks at the source ahead of the walk, from its other end.

They meet where half of the work is done. What the process says is only ever that a directory is as the
parent has it, with all below; whatever befalls it, the walk looks itself.
"""

import os
import select
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.ops.storing.channel import Channel
from backup.ops.storing.frame import Vouched
from backup.ops.storing.sources import Sources
from backup.ops.storing.unchanged import Settings
from backup.ops.storing.vouching import Voucher
from backup.ops.storing.worker import start_worker

#: Directories that are told together, and that the walk passes between two looks at what was told.
EVERY = 16


class Trees(Protocol):
    """The parent's trees: closed for a fork, then read in the new process by a reader of its own."""

    def closed(self) -> AbstractContextManager[None]: ...

    def reader_apart(self) -> Callable[[ObjectId], bytes]: ...


class Lookahead:
    """The process, as the walk knows it. Close it."""

    def __init__(self, sources: Sources, parent_root: ObjectId, settings: Settings, trees: Trees) -> None:
        """Forks: no thread may run."""
        ours, theirs = socket.socketpair()

        def look() -> None:
            report = _Report(Channel(theirs))
            # Whatever goes wrong here, the walk meets it too, and tells.
            with suppress(OSError, Damaged):
                Voucher(sources, trees.reader_apart(), settings, report.tell).run(parent_root)
            report.send()

        with trees.closed():
            self._pid = start_worker(theirs, look)
        theirs.close()
        self._channel = Channel(ours)
        self._poll = select.poll()
        self._poll.register(ours, select.POLLIN)
        #: What was vouched for, and not yet taken, by path; and the paths in the order of their coming.
        self._vouched: dict[bytes, Vouched] = {}
        self._paths: list[bytes] = []
        self._asked = 0
        self._runs = True

    def take(self, path: bytes) -> Vouched | None:
        """What was vouched for at this path. Asked for directories in the order of the walk."""
        self._asked += 1
        if self._asked % EVERY == 0:
            self._listen()
        vouched = self._vouched.pop(path, None)
        if vouched is not None:
            # They have met: all that follows was looked at.
            self.close()
        return vouched

    def close(self) -> None:
        """Ends the process. What it told before still counts."""
        if self._runs:
            os.kill(self._pid, signal.SIGKILL)
        while self._runs:
            self._listen(None)

    def _listen(self, timeout: int | None = 0) -> None:
        """Takes what has come; `timeout` None: or waits for it."""
        while self._runs and self._poll.poll(timeout):
            try:
                messages = self._channel.arrived()
            except ConnectionResetError:
                messages = None
            if messages is None:
                self._runs = False
                self._channel.close()
                os.waitpid(self._pid, 0)
            for (told,) in messages or ():
                for path, inside, *vouched in told:
                    self._note(path, inside, Vouched(*vouched))

    def _note(self, path: bytes, inside: int, vouched: Vouched) -> None:
        # Memory is bounded by that: a directory takes the place of all in it.
        for _ in range(inside):
            self._vouched.pop(self._paths.pop(), None)
        self._paths.append(path)
        self._vouched[path] = vouched


class _Report:
    """The process's end: tells some directories at a time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._told: list[tuple[bytes, int, int, int, int]] = []

    def tell(self, path: bytes, inside: int, vouched: Vouched) -> None:
        self._told.append((path, inside, *vouched))
        if len(self._told) >= EVERY:
            self.send()

    def send(self) -> None:
        self._channel.send((self._told,))
        self._told = []
