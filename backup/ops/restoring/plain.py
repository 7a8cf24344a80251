"""Plain files into new directories, in few system calls: by a worker, or in the main process."""

import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.objects.pack import Place
from backup.ops.storing.channel import Channel
from backup.repository import Repository

#: Where in the file it begins, its length, its chunk, and that one's `Place` as a plain tuple, or nothing.
Piece = tuple[int, int, ObjectId, tuple[Any, ...]]
#: Number of its directory, name, mode, uid, gid, mtime in ns, size in bytes, pieces; between them are holes.
#: It goes through a channel, as a plain tuple.
PlainFile = tuple[int, bytes, int, int, int, int, int, tuple[Piece, ...]]
Read = Callable[[ObjectId, Place], bytes | memoryview]

_FLAGS = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
_SPECIAL_BITS = 0o7000


def write_files(
    files: Sequence[PlainFile], directories: Sequence[int], read: Read, umask: int, verify: bool
) -> list[int]:
    """Writes each file whole or not at all; the numbers of those that could not be written.

    Nothing is replaced. The directories hand down no ACL.
    """
    failed = []
    owners: dict[int, tuple[int, int]] = {}
    for number, file in enumerate(files):
        try:
            _write(file, directories[file[0]], read, umask, owners, verify)
        except (OSError, Damaged, ValueError, OverflowError):
            failed.append(number)
    return failed


def _write(
    file: PlainFile, dir_fd: int, read: Read, umask: int, owners: dict[int, tuple[int, int]], verify: bool
) -> None:
    _, name, mode, uid, gid, mtime_ns, size, pieces = file
    # Without a name until it is whole: a kill leaves nothing behind.
    fd = os.open(b".", _FLAGS, mode & 0o777, dir_fd=dir_fd)
    try:
        _write_content(fd, size, pieces, read, verify)
        # All new files of one directory have the same owner.
        owner = owners.get(dir_fd)
        if owner is None:
            status = os.fstat(fd)
            owner = owners[dir_fd] = status.st_uid, status.st_gid
        if owner != (uid, gid):
            os.fchown(fd, uid, gid)
        if mode & (umask | _SPECIAL_BITS):
            os.fchmod(fd, mode & 0o7777)
        os.utime(fd, ns=(mtime_ns, mtime_ns))
        os.link(b"/proc/self/fd/%d" % fd, name, dst_dir_fd=dir_fd, follow_symlinks=True)
    finally:
        os.close(fd)


def _write_content(fd: int, size: int, pieces: Sequence[Piece], read: Read, verify: bool) -> None:
    end = 0
    for start, length, chunk, place in pieces:
        if not place:
            raise Damaged("the index does not know where a chunk is")
        data = read(chunk, Place(*place))
        if len(data) != length:
            raise Damaged("a chunk does not have the length that the file's list of chunks says")
        end = start + length
        if os.pwrite(fd, data, start) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if verify and os.pread(fd, len(data), start) != data:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
    if end < size:
        os.ftruncate(fd, size)


class PlainWorker:
    """Writes batches of files in its own process, until the main process closes the channel.

    It reads packs, and nothing else of the repository: what is not where it was told to be, it leaves.
    """

    def __init__(self, end: socket.socket, repository: Repository) -> None:
        self._channel = Channel(end)
        self._repository = repository

    def run(self) -> None:
        os.umask(0)
        reader = self._repository.pack_reader()
        while (message := self._channel.receive()) is not None:
            files, count, verify = message
            directories = self._channel.take_fds(count)
            failed = write_files(files, directories, reader.read_at, 0, verify)
            for fd in directories:
                os.close(fd)
            self._channel.send((failed,))
