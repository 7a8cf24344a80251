"""Files that are read. The kernel tells neither when one is opened nor when it is closed."""

import contextlib
import errno
import os
from collections import OrderedDict

from fusefs.device import Device
from fusefs.errors import Refused, log_once
from fusefs.pages import SMALL, Pages
from fusefs.view import Content, View
from fusefs.workers import Workers

#: What the contents that are kept may cost together.
ROOM = 100_000

Buffer = bytes | memoryview


class Files:
    """The contents of the files read last. Used from the loop's thread, but for what workers run."""

    def __init__(self, view: View, device: Device, workers: Workers, pages: Pages, room: int = ROOM) -> None:
        self._view = view
        self._device = device
        self._workers = workers
        self._pages = pages
        self._room = room
        self._kept: OrderedDict[int, Content] = OrderedDict()

    def content(self, ino: int) -> Content:
        content = self._kept.get(ino)
        if content is not None:
            self._kept.move_to_end(ino)
            return content
        return self._view.open(ino)

    def _keep(self, ino: int, content: Content) -> None:
        if ino in self._kept:
            return
        self._kept[ino] = content
        self._room -= content.cost
        while self._room < 0 and len(self._kept) > 1:
            self._room += self._kept.popitem(last=False)[1].cost

    def read(self, unique: int, ino: int, offset: int, size: int) -> Buffer | None:
        """The bytes; None when a worker replies with them."""
        content = self.content(ino)
        if offset or size < content.size:
            self._keep(ino, content)  # all others are read by one request
        data = content.read_now(offset, size)
        if data is not None:
            return whole(ino, content, data, offset, size)
        self._workers.answer(
            self._device,
            unique,
            "read",
            lambda: whole(ino, content, content.read(offset, size), offset, size),
            lambda: self._give_rest(ino, content, offset, size),
        )
        return None

    def _give_rest(self, ino: int, content: Content, offset: int, size: int) -> None:
        """In a worker, when the reply is sent."""
        if size > SMALL:
            return
        # What is wrong is met when it is asked for.
        with contextlib.suppress(Exception):
            found = content.decoded_around(offset)
            if found is not None:
                self._pages.give(ino, *found, content.size)

    def seek(self, ino: int, offset: int, whence: int) -> int:
        """Where the next data, or the next hole, begins; the end of the file is a hole."""
        content = self.content(ino)
        self._keep(ino, content)
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            raise Refused(errno.EINVAL)
        if offset >= content.size:
            raise Refused(errno.ENXIO)
        start, end = content.data_extent(offset)
        if whence == os.SEEK_HOLE:
            return end if start == offset else offset
        if start >= content.size:
            raise Refused(errno.ENXIO)
        return start


def whole(ino: int, content: Content, data: Buffer, offset: int, size: int) -> Buffer:
    """`data` as the reply; EIO if it ends before the file does.

    The kernel takes a short read for the end of the file, and would shorten the file silently.
    """
    if isinstance(data, memoryview) and not (data.c_contiguous and data.itemsize == 1):
        data = data.tobytes()
    if len(data) > size:
        data = data[:size]
    if len(data) < size and offset + len(data) < content.size:
        log_once(f"read: inode {ino} ends at byte {offset + len(data)}, before its size")
        raise Refused(errno.EIO)
    return data
