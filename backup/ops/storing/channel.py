"""Messages between the main process and a worker, over a socket; descriptors go along with them.

Both ends are one program, forked, so messages are plain tuples as `marshal` writes them.
"""

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
    """One end. Owns the socket, and the descriptors that arrived until they are taken."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._data = bytearray()
        self._fds: deque[int] = deque()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Raises OSError where the other end is gone."""
        body = marshal.dumps(message)
        data = len(body).to_bytes(_HEADER, "little") + body
        if fds:
            sent = socket.send_fds(self._socket, [data], fds)
            data = data[sent:]
        if data:
            self._socket.sendall(data)

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
        while self._fds:
            os.close(self._fds.popleft())
