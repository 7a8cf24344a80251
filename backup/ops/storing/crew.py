"""Reading batches in worker processes, and taking what they read in the order of the walk."""

import os
import select
import signal
import socket
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from backup.model.errors import ImbfsError
from backup.objects.block import CompressionSettings
from backup.ops.storing.batch import Batch
from backup.ops.storing.channel import Channel, Message
from backup.ops.storing.intake import Intake
from backup.ops.storing.part import Part, spans
from backup.ops.storing.reader import BatchReader
from backup.ops.storing.slots import Slots
from backup.ops.storing.worker import ENCODE, FAILED, PART, READ, ROOM, Worker, start_worker

#: Batches that a worker has at a time: one being read, and one to go on with.
_READS = 2


@dataclass(slots=True, eq=False)
class _Member:
    """A worker as the main process knows it."""

    pid: int
    channel: Channel
    reads: int = 0
    encodes: int = 0


@dataclass(slots=True)
class _Job:
    """A batch that is being read; `parts` have come and are not claimed yet."""

    batch: Batch
    member: _Member
    parts: deque[tuple[int, Part]] = field(default_factory=deque)
    wants_room: bool = False
    done: int = 0


@dataclass(slots=True)
class _Claimed:
    """A part whose blocks are being made; `sizes` when they are."""

    part: Part
    slot: int
    blocks: list[list[int]]
    sizes: list[int] | None


class Crew:
    """The workers, from the first fork to their end. Close it.

    A slot of memory goes: free → being read into → claimed, blocks being made → appended → free.

    A worker may wait until the main process takes what it sends, so the main process never waits for
    one worker alone: what does not fit into a socket is posted, and sent on when there is room.
    """

    def __init__(
        self, intake: Intake, reader: BatchReader, compression: CompressionSettings, size: int, workers: int
    ) -> None:
        self._intake = intake
        self._slots = Slots(3 * workers + 2, size)
        #: Batches not yet claimed whole, in order, by number; then parts, from their claim to the end.
        self._jobs: dict[int, _Job] = {}
        self._claimed: dict[int, _Claimed] = {}
        self._batches = self._parts = 0
        self._poll = select.poll()
        self._members: dict[int, _Member] = {}
        for _ in range(workers):
            self._start(reader, compression)

    def _start(self, reader: BatchReader, compression: CompressionSettings) -> None:
        ours, theirs = socket.socketpair()
        pid = start_worker(theirs, Worker(Channel(theirs), self._slots, reader, compression).run)
        theirs.close()
        self._members[ours.fileno()] = _Member(pid, Channel(ours))
        self._poll.register(ours, select.POLLIN)

    def submit(self, batch: Batch) -> None:
        """Waits while as many batches are under way as memory and workers allow."""
        try:
            # One slot is kept for the batch whose turn it is: all others wait for that one.
            while len(self._slots.free) < 2 or (member := self._idlest()).reads >= _READS:
                self.wait()
            member.reads += 1
            number, self._batches = self._batches, self._batches + 1
            self._jobs[number] = _Job(batch, member)
            message = (READ, number, self._slots.free.pop(), batch.files, len(batch.directories))
            self._send(member, message, batch.release())
        finally:
            batch.close()
        self.poll()

    def poll(self) -> None:
        """Takes what has come, without waiting."""
        self._take_events(0)

    def wait(self) -> None:
        """Waits until something has come, and takes it."""
        self._take_events(None)

    @property
    def busy(self) -> bool:
        """Whether something that was submitted is not read and stored yet."""
        return bool(self._jobs or self._claimed)

    def settle(self) -> None:
        """Waits until all that was claimed is stored: where the backup stops, that much is kept."""
        self._jobs.clear()
        while self._claimed:
            self.wait()

    def close(self) -> None:
        """Ends the workers, whatever they are doing."""
        for member in self._members.values():
            with suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(member.pid, 0)
            member.channel.close()
        self._members.clear()

    def _idlest(self) -> _Member:
        return min(self._members.values(), key=lambda member: member.reads + member.encodes)

    def _send(self, member: _Member, message: Message, fds: list[int] | None = None) -> None:
        member.channel.post(message, fds or [])
        self._flush(member)

    def _flush(self, member: _Member) -> None:
        # Of a worker that has ended, the last words come first: its end is found where those are read.
        with suppress(BrokenPipeError, ConnectionResetError):
            sent = member.channel.flush()
            self._poll.modify(member.channel, select.POLLIN if sent else select.POLLIN | select.POLLOUT)

    def _take_events(self, timeout: int | None) -> None:
        for fd, event in self._poll.poll(timeout):
            member = self._members[fd]
            if event & select.POLLOUT:
                self._flush(member)
            if event & ~select.POLLOUT:
                self._take(member)
        self._advance()

    def _take(self, member: _Member) -> None:
        try:
            messages = member.channel.arrived()
        except ConnectionResetError:
            messages = None
        if messages is None:
            self._died(member)
        for message in messages or ():
            self._note(member, message)

    def _died(self, member: _Member) -> None:
        del self._members[member.channel.fileno()]
        self._poll.unregister(member.channel)
        member.channel.close()
        _, status = os.waitpid(member.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else "ended"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        raise ImbfsError(
            f"a worker process {how}{hint}: the backup is given up, the repository is sound, and what was"
            " stored is used by the next run"
        )

    def _note(self, member: _Member, message: Message) -> None:
        if message[0] == PART:
            _, number, slot, objects, results, last = message
            member.reads -= last
            if (job := self._jobs.get(number)) is not None:
                job.parts.append((slot, Part(objects, results, last)))
                job.wants_room = not last
        elif message[0] == FAILED:
            raise ImbfsError(f"a worker process failed: {message[1]}")
        else:
            _, part, sizes = message
            member.encodes -= 1
            self._claimed[part].sizes = sizes

    def _advance(self) -> None:
        """Whatever is next in order: blocks to append, memory to give out, parts to claim."""
        while self._append() or self._claim():
            pass
        self._give_room()

    def _append(self) -> bool:
        number = next(iter(self._claimed), None)
        if number is None or (sizes := self._claimed[number].sizes) is None:
            return False
        claimed = self._claimed.pop(number)
        self._intake.append(claimed.part, claimed.blocks, sizes, self._slots.room(claimed.slot))
        self._slots.free.append(claimed.slot)
        return True

    def _claim(self) -> bool:
        number = next(iter(self._jobs), None)
        if number is None or not (job := self._jobs[number]).parts:
            return False
        slot, part = job.parts.popleft()
        if part.last:
            del self._jobs[number]
        blocks = self._intake.claim(part)
        if blocks:
            self._encode(job, part, slot, blocks)
        else:
            self._slots.free.append(slot)
        job.done = self._intake.deliver(job.batch, job.done, part)
        return True

    def _encode(self, job: _Job, part: Part, slot: int, blocks: list[list[int]]) -> None:
        # Others wait for the reader whose turn it is: while it is at a large file, it is to read on.
        member = min(
            self._members.values(), key=lambda member: (member.encodes, member is job.member, member.reads)
        )
        number, self._parts = self._parts, self._parts + 1
        self._claimed[number] = _Claimed(part, slot, blocks, None)
        member.encodes += 1
        self._send(member, (ENCODE, number, slot, spans(part.objects, blocks)))

    def _give_room(self) -> None:
        """To the batch whose turn it is first; to others while enough is left for that."""
        for turn, job in enumerate(self._jobs.values()):
            if job.wants_room and len(self._slots.free) > (1 if turn else 0):
                job.wants_room = False
                self._send(job.member, (ROOM, self._slots.free.pop()))
