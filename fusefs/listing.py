"""An open directory: entries in the kernel's portions, from any position it comes back to."""

from collections.abc import Iterator

import pyfuse3

from fusefs.attributes import fill, timeout_of
from fusefs.view import Attributes, View

#: Positions 0 and 1 are `.` and `..`: the view's position `n` is the kernel's `n + 2`.
_DOTS = (b".", b"..")

#: Equal to no position the kernel asks for.
_LOST = -1

Entry = tuple[bytes, Attributes, int]


class Listing:
    """One directory handle. Used from the driver's loop only.

    The kernel asks for some 20 to 150 entries at a time, so the iteration is kept open from one
    portion to the next, and with it the entry that did not fit any more.
    """

    def __init__(self, view: View, ino: int) -> None:
        self._view = view
        self._ino = ino
        self._position = _LOST
        self._entries: Iterator[Entry] = iter(())
        self._held: Entry | None = None

    def fill(self, position: int, token: pyfuse3.ReaddirToken) -> None:
        """Replies entries from `position` until the kernel's buffer is full. Raises what the view does."""
        if position != self._position:
            start = max(position - len(_DOTS), 0)
            self._entries, self._held = self._view.entries(self._ino, start), None
        # A view that raises has ended its iterator: going on with that would end the listing early.
        self._position = _LOST
        self._position = self._send(position, token)

    def _send(self, position: int, token: pyfuse3.ReaddirToken) -> int:
        """Gives the position of the first entry that was not sent any more."""
        start = position
        entry = pyfuse3.EntryAttributes()
        entry.entry_timeout = entry.attr_timeout = timeout_of(self._view, self._ino)
        reply, shift = pyfuse3.readdir_reply, len(_DOTS)
        try:
            while position < shift:
                name = _DOTS[position]
                fill(entry, self._view.lookup(self._ino, name))
                if not reply(token, name, entry, position + 1):
                    return position
                position += 1
            while (item := self._held or next(self._entries, None)) is not None:
                name, attributes, following = item
                fill(entry, attributes)
                if not reply(token, name, entry, following + shift):
                    self._held = item
                    break
                self._held = None
                position = following + shift
        except Exception:
            if position == start:
                raise
            # The entries before the error go out; asked to continue, the view raises again.
            return _LOST
        return position
