"""A worker: a process that reads files and makes blocks, as the main process asks it to.

It touches neither the repository nor the index, and ends when the main process does.
"""

import ctypes
import gc
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from typing import Never

from backup.objects.block import CompressionSettings
from backup.ops.storing.channel import Channel, Message
from backup.ops.storing.part import Part, encode_in_place
from backup.ops.storing.reader import BatchReader
from backup.ops.storing.slots import Slots

#: Kinds of messages to a worker: (READ, batch, slot, files, number of directories), (ROOM, slot),
#: (ENCODE, part, slot, blocks) …
READ, ROOM, ENCODE = 0, 1, 2
#: … and from it: (PART, batch, slot, objects, results, last), (ENCODED, part, sizes), (FAILED, text).
PART, ENCODED, FAILED = 3, 4, 5

_PR_SET_PDEATHSIG = 1
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


class _MainEnded(Exception):
    """Nobody is left to work for."""


class Worker:
    """Runs in its own process until the main process closes the channel."""

    def __init__(
        self, channel: Channel, slots: Slots, reader: BatchReader, compression: CompressionSettings
    ) -> None:
        self._channel = channel
        self._slots = slots
        self._reader = reader
        self._compression = compression
        self._batches: deque[tuple[Message, list[int]]] = deque()

    def run(self) -> None:
        try:
            while True:
                if self._batches:
                    self._read(*self._batches.popleft())
                else:
                    self._handle(self._next())
        except _MainEnded:
            return
        except Exception as error:
            self._channel.send((FAILED, f"{type(error).__name__}: {error}"))

    def _next(self) -> Message:
        message = self._channel.receive()
        if message is None:
            raise _MainEnded
        return message

    def _handle(self, message: Message) -> None:
        if message[0] == ENCODE:
            _, part, slot, blocks = message
            sizes = encode_in_place(self._slots.room(slot), blocks, self._compression)
            self._channel.send((ENCODED, part, sizes))
        else:
            self._batches.append((message, self._channel.take_fds(message[4])))

    def _read(self, message: Message, directories: list[int]) -> None:
        _, batch, slot, files, _ = message

        def hand_over(part: Part) -> memoryview:
            nonlocal slot
            self._channel.send((PART, batch, slot, *part))
            # Blocks are made meanwhile: the room asked for may be waiting for them.
            while (answer := self._next())[0] != ROOM:
                self._handle(answer)
            slot = answer[1]
            return self._slots.room(slot)

        part = self._reader.read(directories, files, self._slots.room(slot), hand_over)
        self._channel.send((PART, batch, slot, *part))
        for fd in directories:
            os.close(fd)


def start_worker(end: socket.socket, work: Callable[[], None]) -> int:
    """Forks; returns the new process's id. No thread may run."""
    parent = os.getpid()
    # An interrupt between the fork and `_live` would let the new process go on as a second main one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        pid = os.fork()
        if pid == 0:
            _live(parent, end, work)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _live(parent: int, end: socket.socket, work: Callable[[], None]) -> Never:
    # What was inherited must not be touched, not even by a destructor; so the end is always this one.
    try:
        gc.disable()
        gc.freeze()
        _end_with(parent)
        # The main process decides what an interrupt means.
        for number in _INTERRUPTS:
            signal.signal(number, signal.SIG_IGN)
        _close_all_but(end.fileno())
        gc.enable()
        work()
    finally:
        os._exit(0)


def _end_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _close_all_but(fd: int) -> None:
    """Others' sockets above all: whoever holds the main process's end of one hides its end."""
    # Up to the highest that is open: before Linux 5.9 each number in the range costs a system call.
    highest = max(map(int, os.listdir("/proc/self/fd")))
    os.closerange(3, fd)
    os.closerange(fd + 1, highest + 1)
