"""Which files were opened: asked of the kernel, so it holds for every process and every way to open."""

import ctypes
import os
import struct
from pathlib import Path
from types import TracebackType

IN_OPEN = 0x20
IN_ISDIR = 0x4000_0000
IN_Q_OVERFLOW = 0x4000
#: wd, mask, cookie, length of the name that follows: see inotify(7).
_EVENT = struct.Struct("iIII")


class Opens:
    """Notes each open of anything but a directory below `root`, while in the `with`.

    Every directory is watched, so what is made or renamed in them meanwhile is noted as well.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._watched: dict[int, bytes] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.files: set[bytes] = set()

    def __enter__(self) -> "Opens":
        self._fd: int = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        for directory, _, _ in os.walk(os.fsencode(self._root)):
            watch = self._checked(self._libc.inotify_add_watch(self._fd, directory, IN_OPEN))
            self._watched[watch] = directory
        self._read()
        self.files.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._read()
        os.close(self._fd)

    def so_far(self) -> set[bytes]:
        """What was opened until now: for tests that act when something is opened."""
        self._read()
        return self.files

    def _checked(self, result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        return result

    def _read(self) -> None:
        while True:
            try:
                self._note(os.read(self._fd, 1 << 20))
            except BlockingIOError:
                return

    def _note(self, events: bytes) -> None:
        offset = 0
        while offset < len(events):
            watch, mask, _, length = _EVENT.unpack_from(events, offset)
            offset += _EVENT.size
            name = events[offset : offset + length].rstrip(b"\0")
            offset += length
            assert not mask & IN_Q_OVERFLOW, "more opens than the kernel notes"
            if not mask & IN_ISDIR:
                self.files.add(os.path.join(self._watched[watch], name))
