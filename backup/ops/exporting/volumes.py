"""Where tar members are written: one stream, or volumes of a given size, each a whole tar file."""

import os
import tarfile
from collections.abc import Callable
from typing import BinaryIO, Protocol

from backup.model.errors import ImbfsError

#: What ends a tar file.
_END = 2 * tarfile.BLOCKSIZE


class Sink(Protocol):
    """Takes members: `member` is told how long one is with its headers, and gives volume and offset."""

    def member(self, size: int) -> tuple[str, int]: ...

    def write(self, data: bytes | memoryview) -> None: ...

    def close(self) -> None: ...


class Writable(Protocol):
    def write(self, data: bytes | memoryview, /) -> object: ...

    def flush(self) -> object: ...


class Stream:
    """One tar file, on an open file."""

    def __init__(self, file: Writable) -> None:
        self._file = file
        self._offset = 0

    def member(self, size: int) -> tuple[str, int]:
        return "", self._offset

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._offset += len(data)

    def close(self) -> None:
        self.write(bytes(_END))
        # Programs expect whole records.
        self.write(bytes(-self._offset % tarfile.RECORDSIZE))
        self._file.flush()


class Volumes:
    """Files `NAME.001.tar`, `NAME.002.tar` and so on: of `size` bytes at most, but for a longer member.

    A member is whole in one volume. Each is written as `….partial`, and renamed when it is whole.
    """

    def __init__(self, name: str, size: int, notice: Callable[[str], None]) -> None:
        self._stem, self._suffix = os.path.splitext(name)
        self._size = size
        self._notice = notice
        self._number = 0
        self._path = ""
        self._file: BinaryIO | None = None
        self._stream: Stream | None = None

    def member(self, size: int) -> tuple[str, int]:
        stream = self._stream
        if stream is None or stream.member(0)[1] + size + _END > self._size:
            self._end()
            stream = self._begin()
            if size + _END > self._size:
                self._notice(f"{self._path} is longer than a volume should be, because one file in it is")
        return os.path.basename(self._path), stream.member(0)[1]

    def write(self, data: bytes | memoryview) -> None:
        assert self._stream is not None, "no member was announced"
        self._stream.write(data)

    def close(self) -> None:
        if self._stream is None:
            self._begin()
        self._end()

    def discard(self) -> None:
        """Removes the volume that is not whole."""
        if self._file is not None:
            self._file.close()
            os.unlink(f"{self._path}.partial")

    def _begin(self) -> Stream:
        self._number += 1
        self._path = f"{self._stem}.{self._number:03d}{self._suffix}"
        self._file = create(self._path)
        self._stream = Stream(self._file)
        return self._stream

    def _end(self) -> None:
        if self._stream is None or self._file is None:
            return
        self._stream.write(bytes(_END))
        finish(self._file, self._path)
        self._stream = self._file = None


class Single(Stream):
    """One tar file, under its name when it is whole."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._own = create(path)
        super().__init__(self._own)

    def close(self) -> None:
        super().close()
        finish(self._own, self._path)


def create(path: str) -> BinaryIO:
    """A new file under its name with `.partial` behind. Raises `ImbfsError` where the name is taken."""
    if os.path.lexists(path):
        raise ImbfsError(f"{path} exists: nothing was written over it, name another file")
    return open(f"{path}.partial", "wb")


def finish(file: BinaryIO, path: str) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    os.rename(f"{path}.partial", path)
