"""An open directory: entries in the kernel's portions, from any position it comes back to."""

import errno
import itertools
import stat
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain

from fusefs.attributes import BLOCK, NS, RDEV, timeout_of
from fusefs.errors import Refused
from fusefs.protocol import DIRENT, DIRENTPLUS, REQUEST_SIZE
from fusefs.view import Attributes, View

#: Positions 0 and 1 are `.` and `..`: the view's position `n` is the kernel's `n + 2`.
_SHIFT = 2

#: Listings that are kept without a handle.
_MOST_KEPT = 64

#: Equal to no position the kernel asks for.
_LOST = -1

#: Name, attributes, and the view's position of the next one.
Entry = tuple[bytes, Attributes, int]

#: Bytes written, the position after them, and the entry that did not fit.
Filled = tuple[int, int, tuple[Entry, ...]]

#: Replies are made here, one at a time: each is good until the next one is made.
_reply = memoryview(bytearray(REQUEST_SIZE))


class Listings:
    """All that are open: by handle, or by inode where the kernel opens directories by itself."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._numbers = itertools.count(1)
        self._open: dict[int, Listing] = {}
        self._kept: OrderedDict[int, Listing] = OrderedDict()

    def open(self, ino: int) -> int:
        """A handle; never 0."""
        handle = next(self._numbers)
        self._open[handle] = Listing(self._view, ino)
        return handle

    def close(self, handle: int) -> None:
        self._open.pop(handle, None)

    def read(self, ino: int, handle: int, position: int, size: int, plus: bool) -> memoryview:
        """As `Listing.read`. Handle 0: opened by the kernel."""
        if handle:
            listing = self._open.get(handle)
            if listing is None:
                raise Refused(errno.EBADF)
            return listing.read(position, size, plus)
        # It goes on where it was, as long as one at a time lists the directory.
        listing = self._kept.pop(ino, None) or Listing(self._view, ino)
        reply = listing.read(position, size, plus)
        if reply:
            self._kept[ino] = listing
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return reply


class Listing:
    """One directory being listed. Used from the driver's loop only.

    The kernel asks for some 20 to 180 entries at a time, so the iteration is kept open from one
    portion to the next, and with it the entry that did not fit any more.
    """

    def __init__(self, view: View, ino: int) -> None:
        self._view = view
        self._ino = ino
        self._position = _LOST
        self._entries: Iterator[Entry] = iter(())
        self._held: tuple[Entry, ...] = ()

    def read(self, position: int, size: int, plus: bool) -> memoryview:
        """The entries from `position` on that fit in `size` bytes. Raises what the view does."""
        if position != self._position:
            self._entries, self._held = self._from(position), ()
        entries = chain(self._held, self._entries)
        # A view that raises has ended its iterator: going on with that would end the listing early.
        self._position = _LOST
        fill = self._fill_plus if plus else self._fill
        end, self._position, self._held = fill(entries, min(size, len(_reply)), position)
        if self._held and not end:
            raise Refused(errno.EINVAL)  # an empty reply would be the end of the directory
        return _reply[:end]

    def _from(self, position: int) -> Iterator[Entry]:
        entries = self._view.entries(self._ino, max(position - _SHIFT, 0))
        if position >= _SHIFT:
            return entries
        # Of these the kernel takes the number and the kind alone.
        dots = ((b".", self._ino), (b"..", self._view.parent(self._ino)))
        bare = [
            (name, Attributes(ino, stat.S_IFDIR, *bytes(len(Attributes._fields) - 2)), number - 1)
            for number, (name, ino) in enumerate(dots)
        ]
        return chain(bare[position:], entries)

    def _fill_plus(self, entries: Iterable[Entry], room: int, position: int) -> Filled:
        """Writes entries with attributes."""
        valid, valid_ns = timeout_of(self._view, self._ino)
        at = 0
        try:
            for entry in entries:
                name, attributes, following = entry
                length = len(name)
                form = DIRENTPLUS[length]
                end = at + form.size
                if end > room:
                    return at, position, (entry,)
                ino, mode, nlink, uid, gid, rdev, size, blocks, mtime_ns, ctime_ns = attributes
                m_s, m_ns = divmod(mtime_ns, NS)
                c_s, c_ns = divmod(ctime_ns, NS)
                following += _SHIFT
                form.pack_into(
                    _reply, at, ino, 0, valid, valid, valid_ns, valid_ns,
                    ino, size, blocks, m_s, m_s, c_s, m_ns, m_ns, c_ns,
                    mode, nlink, uid, gid, rdev & RDEV, BLOCK, 0,
                    ino, following, length, mode >> 12, name,
                )  # fmt: skip
                at, position = end, following
        except Exception:
            if not at:
                raise
            # The entries before the error go out; asked to continue, the view raises again.
            return at, _LOST, ()
        return at, position, ()

    def _fill(self, entries: Iterable[Entry], room: int, position: int) -> Filled:
        """As `_fill_plus`, without attributes."""
        at = 0
        try:
            for entry in entries:
                name, attributes, following = entry
                form = DIRENT[len(name)]
                end = at + form.size
                if end > room:
                    return at, position, (entry,)
                following += _SHIFT
                form.pack_into(_reply, at, attributes[0], following, len(name), attributes[1] >> 12, name)
                at, position = end, following
        except Exception:
            if not at:
                raise
            return at, _LOST, ()
        return at, position, ()
