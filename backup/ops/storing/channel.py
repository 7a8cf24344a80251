"""Messages between the main process and a worker, over a socket; descriptors go along with them.

Both ends are one program, forked, so messages are plain tuples as `marshal` writes them.
"""

import array
import marshal
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

_HEADER = 4
#: Most descriptors that arrive with one read.
_MAX_FDS = 253
_READ = 256 << 10

Message = tuple[Any, ...]


class Channel:
    """One end. Owns the socket, the descriptors that arrived until they are taken, and those that were
    posted until they are sent."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._data = bytearray()
        self._fds: deque[int] = deque()
        self._posted: deque[tuple[memoryview, list[int]]] = deque()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Waits until it is sent. Raises OSError where the other end is gone."""
        data = _framed(message)
        if fds:
            sent = socket.send_fds(self._socket, [data], fds)
            data = data[sent:]
        if data:
            self._socket.sendall(data)

    def post(self, message: Message, fds: list[int]) -> None:
        """Puts it in line for `flush`: for the end that must never wait for the other one."""
        self._posted.append((memoryview(_framed(message)), fds))

    def flush(self) -> bool:
        """Sends what was posted, as much as fits now; whether that was all. Raises OSError as `send`."""
        while self._posted:
            data, fds = self._posted[0]
            try:
                sent = self._socket.sendmsg([data], _rights(fds), socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            self._posted[0] = (data[sent:], [])
            for fd in fds:
                os.close(fd)
            if sent == len(data):
                self._posted.popleft()
        return True

    def receive(self) -> Message | None:
        """The next message, waited for; None when the other end is gone."""
        while (message := self._parse()) is None:
            if not self._read():
                return None
        return message

    def arrived(self) -> list[Message] | None:
        """What can be read without waiting; call it when the socket is readable. None as `receive`."""
        if not self._read():
            return None
        messages = []
        while (message := self._parse()) is not None:
            messages.append(message)
        return messages

    def take_fds(self, count: int) -> list[int]:
        """The descriptors that came with the message just received. Raises OSError where some were lost."""
        taken = [self._fds.popleft() for _ in range(min(count, len(self._fds)))]
        if len(taken) < count:
            raise OSError("a worker may not open enough files")
        return taken

    def _read(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self._socket, _READ, _MAX_FDS)
        self._fds += fds
        self._data += data
        return bool(data)

    def _parse(self) -> Message | None:
        if len(self._data) < _HEADER:
            return None
        end = _HEADER + int.from_bytes(self._data[:_HEADER], "little")
        if len(self._data) < end:
            return None
        message: Message = marshal.loads(memoryview(self._data)[_HEADER:end])
        del self._data[:end]
        return message

    def close(self) -> None:
        self._socket.close()
        for _, fds in self._posted:
            self._fds += fds
        self._posted.clear()
        while self._fds:
            os.close(self._fds.popleft())


def _framed(message: Message) -> bytes:
    body = marshal.dumps(message)
    return len(body).to_bytes(_HEADER, "little") + body


def _rights(fds: list[int]) -> list[tuple[int, int, bytes]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
