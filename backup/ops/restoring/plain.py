"""Plain files into new directories, in few system calls: by a worker, or in the main process."""

import errno
import gc
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.objects.blocks import BlockReader, Spot
from backup.objects.hashing import NameOf
from backup.ops.storing.channel import Channel
from backup.repository import Repository
from backup.source.attributes import Xattr

#: Where each begins in the file, its length and name; between them are holes.
Chunks = tuple[tuple[int, int, ObjectId], ...]
#: Number of its directory, name, mode, uid, gid, mtime in ns, size in bytes, attributes, chunks. It goes
#: through a channel, as a plain tuple.
PlainFile = tuple[int, bytes, int, int, int, int, int, tuple[Xattr, ...], Chunks]
#: For each chunk, the number of its block, and where it is in there.
Places = Sequence[tuple[int, int]]

#: In place of that, where nothing is known of a chunk.
NOWHERE = -1, 0

_FLAGS = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
_SPECIAL_BITS = 0o7000


@dataclass(slots=True)
class PlainWriter:
    """Writes files, each whole or not at all. Nothing is replaced. The directories hand down no ACL."""

    blocks: BlockReader
    name: NameOf
    #: Of this process.
    umask: int

    def write(
        self,
        files: Sequence[PlainFile],
        places: Sequence[Places],
        spots: Sequence[Spot],
        directories: Sequence[int],
        verify: bool,
    ) -> list[int]:
        """The numbers of those that could not be written. `spots` are of the blocks that files name."""
        failed = []
        owners: dict[int, tuple[int, int]] = {}
        for number, (file, where) in enumerate(zip(files, places, strict=True)):
            try:
                self._write(file, where, spots, directories[file[0]], owners, verify)
            except (OSError, Damaged, ValueError, OverflowError):
                failed.append(number)
        return failed

    def _write(
        self,
        file: PlainFile,
        places: Places,
        spots: Sequence[Spot],
        dir_fd: int,
        owners: dict[int, tuple[int, int]],
        verify: bool,
    ) -> None:
        _, name, mode, uid, gid, mtime_ns, size, xattrs, chunks = file
        # Without a name until it is whole: a kill leaves nothing behind.
        fd = os.open(b".", _FLAGS, mode & 0o777, dir_fd=dir_fd)
        try:
            # First: where the file system takes none, that much is not written in vain.
            for xattr in xattrs:
                os.setxattr(fd, *xattr)
            self._write_content(fd, size, chunks, places, spots, verify)
            # All new files of one directory have the same owner.
            owner = owners.get(dir_fd)
            if owner is None:
                status = os.fstat(fd)
                owner = owners[dir_fd] = status.st_uid, status.st_gid
            if owner != (uid, gid):
                os.fchown(fd, uid, gid)
            # An ACL has a mode of its own, and a change of owner takes bits away.
            if xattrs or mode & (self.umask | _SPECIAL_BITS):
                os.fchmod(fd, mode & 0o7777)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            os.link(b"/proc/self/fd/%d" % fd, name, dst_dir_fd=dir_fd, follow_symlinks=True)
        finally:
            os.close(fd)

    def _write_content(
        self, fd: int, size: int, chunks: Chunks, places: Places, spots: Sequence[Spot], verify: bool
    ) -> None:
        end = 0
        for (start, length, chunk), (block, offset) in zip(chunks, places, strict=True):
            if block < 0:
                raise Damaged("the index does not know where a chunk is")
            data = self.blocks.read(spots[block])[offset : offset + length]
            if len(data) != length or self.name(data) != chunk:
                raise Damaged("a chunk does not hash to its name, or is not as long as its file says")
            end = start + length
            if os.pwrite(fd, data, start) != length:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if verify and os.pread(fd, length, start) != data:
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
        # Nothing here makes cycles, and looking for them in batches costs more than writing some.
        gc.disable()
        writer = PlainWriter(self._repository.block_reader(), self._repository.name, 0)
        while (message := self._channel.receive()) is not None:
            files, places, spots, count, verify = message
            directories = self._channel.take_fds(count)
            failed = writer.write(files, places, spots, directories, verify)
            for fd in directories:
                os.close(fd)
            self._channel.send((failed,))
