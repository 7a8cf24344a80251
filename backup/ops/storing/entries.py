"""What becomes of each name of a directory: a row of its tree, now or when its content was read."""

import os
import stat
from collections import deque
from collections.abc import Callable
from typing import Protocol

from backup.model.entry import FLAG_CARRIED, FLAG_CHANGING, FLAG_NO_CONTENT
from backup.model.errors import Damaged
from backup.ops.storing.batch import Wanted
from backup.ops.storing.directories import Directories, TreeStore
from backup.ops.storing.files import UNSEALED
from backup.ops.storing.frame import PENDING, Frame, Vouched, Waiting
from backup.ops.storing.listing import Listing
from backup.ops.storing.monitor import Counts, Monitor
from backup.ops.storing.moves import Moves
from backup.ops.storing.part import Result
from backup.ops.storing.rows import Volumes, special_row
from backup.ops.storing.unchanged import Comparison
from backup.snapshots.tree import Page, Row, encode_stat, mode_and_size
from backup.source.descent import Identity, identity


class Files(Protocol):
    """Takes files that are to be read."""

    def add(self, dir_fd: int, wanted: Wanted, status: os.stat_result) -> None: ...


class Entries:
    """Takes names as the walk finds them, and files' contents as they come in."""

    def __init__(
        self,
        store: TreeStore,
        directories: Directories,
        comparison: Comparison,
        moves: Moves,
        counts: Counts,
        monitor: Monitor,
        hidden: Callable[[bytes], bool],
    ) -> None:
        """`hidden`: whether what is at a path is nothing to back up, where it cannot even be looked at."""
        #: Files to be read once more, under another name than the one that failed.
        self.again: deque[Wanted] = deque()
        self.volumes = Volumes()
        #: Files that were read and could not be sealed.
        self.unsealed = 0
        self._store = store
        self._directories = directories
        self._comparison = comparison
        self._moves = moves
        self._counts = counts
        self._monitor = monitor
        self._hidden = hidden
        #: Hard links: each file is read once, and all of its names get the same row; until that is
        #: known, the names that wait for it.
        self._links: dict[Identity, Row | list[Wanted]] = {}
        #: Files and bytes that the monitor knows of.
        self._told = (0, 0)

    def find_all(
        self, fd: int, frame: Frame, listing: Listing, files: Files, passed: Callable[[Frame], None]
    ) -> None:
        """Takes all names of a directory; `passed` is called each time that some are done."""
        at = 0
        while frame.parent is not None and (page := frame.parent.page_ahead()) is not None:
            start, at = at, listing.past(page.names[-1], at)
            if not self.find_same(frame, page, listing, start, at):
                self._find_each(fd, frame, listing, start, at, files, passed)
                frame.parent.pass_page(page)
            passed(frame)
        self._find_each(fd, frame, listing, at, len(listing.names), files, passed)

    def _find_each(
        self,
        fd: int,
        frame: Frame,
        listing: Listing,
        start: int,
        end: int,
        files: Files,
        passed: Callable[[Frame], None],
    ) -> None:
        for piece in listing.pieces(start, end):
            for name, found in piece:
                self.find(fd, frame, name, found, files)
            passed(frame)

    def find_same(self, frame: Frame, page: Page, listing: Listing, start: int, end: int) -> bool:
        """Takes a whole page of the parent's, where those names of the listing are the same as in it."""
        if listing.names[start:end] != page.names:
            return False
        found = listing.look(start, end)
        if not self._comparison.same_page(page, found):
            return False
        assert frame.parent is not None
        position, size, directories = frame.parent.pass_page(page, found=True), 0, 0
        slot = len(frame.rows)
        frame.rows += range(position, position + len(found))
        for number, status in enumerate(found):
            assert not isinstance(status, OSError)
            if stat.S_ISREG(mode := status[0]):
                size += status[6]
            elif stat.S_ISDIR(mode):
                directories += 1
                frame.rows[slot + number] = None
                frame.waiting.append(Waiting(page.names[number], status, slot + number, position + number))
        self._counts.files_unchanged += len(found) - directories
        self._count(len(found) - directories, size)
        return True

    def find(self, fd: int, frame: Frame, name: bytes, found: os.stat_result | OSError, files: Files) -> None:
        """Names are to come in order. What has to be read is added to `files`."""
        position = -1 if frame.parent is None else frame.parent.seek(name)
        slot = len(frame.rows)
        frame.rows.append(None)
        if isinstance(found, OSError):
            self.carry(frame, name, slot, position, found)
        elif stat.S_ISDIR(found.st_mode):
            if not _turned_out(frame, position, name, found):
                frame.waiting.append(Waiting(name, found, slot, position))
        elif frame.parent is not None and self._comparison.same_file(
            frame.parent, position, found, (fd, name)
        ):
            frame.rows[slot] = position
            self._counts.files_unchanged += 1
            self._count(1, found.st_size if stat.S_ISREG(found.st_mode) else 0)
        elif not _turned_out(frame, position, name, found):
            self._make(fd, frame, slot, position, name, found, files)

    def take_vouched(self, frame: Frame, below: Waiting, vouched: Vouched) -> None:
        """A directory that was looked at ahead: it stays as the parent has it."""
        frame.rows[below.slot] = below.position
        self._counts.dirs += vouched.dirs
        self._counts.files_unchanged += vouched.files
        self._count(vouched.files, vouched.size)

    def take_empty(self, frame: Frame, below: Waiting) -> None:
        """A directory that is not entered: that it is there is kept."""
        volume = self.volumes.number(below.status.st_dev, frame.path_of(below.name))
        empty = self._directories.write([])
        row = Row(below.name, encode_stat(below.status), empty, b"", volume, 0)
        parent, position = frame.parent, below.position
        same = parent is not None and position >= 0 and parent.row(position) == row
        frame.rows[below.slot] = position if same else row
        if parent is not None and position >= 0 and not same:
            parent.removed.append(position)
        self._counts.dirs += 1

    def _make(
        self,
        fd: int,
        frame: Frame,
        slot: int,
        position: int,
        name: bytes,
        status: os.stat_result,
        files: Files,
    ) -> None:
        link = identity(status) if status.st_nlink > 1 else None
        volume = frame.volume
        if status.st_dev != frame.status.st_dev:
            volume = self.volumes.number(status.st_dev, frame.path_of(name))
        wanted = Wanted(frame, slot, position, name, volume, link)
        known = None if link is None else self._links.get(link)
        if isinstance(known, Row):
            self._set(wanted, known._replace(name=name))
        elif known is not None:
            frame.rows[slot] = PENDING
            known.append(wanted)
        elif stat.S_ISREG(status.st_mode):
            if self._moves.possible and self._take_moved(fd, wanted, status):
                return
            frame.rows[slot] = PENDING
            if link is not None:
                self._links[link] = []
            files.add(fd, wanted, status)
        else:
            self._make_special(fd, wanted, status)

    def _take_moved(self, fd: int, wanted: Wanted, status: os.stat_result) -> bool:
        """Whether the content is known from where the file was before."""
        try:
            row = self._moves.row(wanted.frame, fd, wanted.name, wanted.position, status)
        except (OSError, Damaged):
            return False  # Reading it tells what is wrong.
        if row is None:
            return False
        if wanted.link is not None:
            self._links[wanted.link] = row
        self._set(wanted, row)
        return True

    def _make_special(self, fd: int, wanted: Wanted, status: os.stat_result) -> None:
        try:
            row = special_row(fd, wanted.name, status, wanted.volume)
        except OSError as error:
            self.carry(wanted.frame, wanted.name, wanted.slot, wanted.position, error)
            return
        if wanted.link is not None:
            self._links[wanted.link] = row
        self._set(wanted, row)

    # What was read

    def take(self, wanted: Wanted, result: Result) -> None:
        """A file was read, or could not be."""
        waiting: list[Wanted] = []
        if wanted.link is not None and isinstance(names := self._links.pop(wanted.link), list):
            waiting = names
        if len(result) == 2:
            wanted.frame.rows[wanted.slot] = None
            self.carry(wanted.frame, wanted.name, wanted.slot, wanted.position, OSError(*result))
            self._read_again(waiting)
            return
        record, object_id, extra, flags, lists = result
        for data in lists:
            self._store.store_tree(data)
        if flags & UNSEALED:
            self.unsealed += 1
            flags &= ~UNSEALED
        row = Row(wanted.name, record, object_id, extra, wanted.volume, flags)
        if flags & FLAG_CHANGING:
            path = os.fsdecode(wanted.frame.path_of(wanted.name))
            self._monitor.notice(f"{path} changed while it was read: stored as it was met")
        if wanted.link is not None:
            self._links[wanted.link] = row
        self._set(wanted, row)
        for other in waiting:
            self._set(other, row._replace(name=other.name))

    def _read_again(self, waiting: list[Wanted]) -> None:
        """The name that was read first failed; it may be gone, and the others not."""
        if waiting:
            first, *rest = waiting
            assert first.link is not None
            self._links[first.link] = rest
            self.again.append(first)

    def read(self, size: int) -> None:
        """So many bytes more were read."""
        self._counts.bytes_read += size
        self._monitor.read(size)
        self.tell()

    def deduplicated(self, size: int) -> None:
        """So many of the bytes read were stored already."""
        self._counts.bytes_deduplicated += size

    def tell(self) -> None:
        """Lets the monitor know what is done since it was told last."""
        files, size = self._counts.files, self._counts.bytes
        told, self._told = self._told, (files, size)
        self._monitor.entries(files - told[0], size - told[1])

    def _set(self, wanted: Wanted, row: Row) -> None:
        parent, position = wanted.frame.parent, wanted.position
        # Read again only because it might have changed, and had not.
        same = parent is not None and position >= 0 and parent.row(position) == row
        wanted.frame.rows[wanted.slot] = position if same else row
        if same:
            self._counts.files_unchanged += 1
        elif position < 0:
            self._counts.files_new += 1
        else:
            self._counts.files_changed += 1
        mode, size = mode_and_size(row.stat)
        self._count(1, size if stat.S_ISREG(mode) else 0)

    def _count(self, files: int, size: int) -> None:
        self._counts.files += files
        self._counts.bytes += size

    # What cannot be read

    def carry(
        self,
        frame: Frame,
        name: bytes,
        slot: int,
        position: int,
        error: OSError,
        status: os.stat_result | None = None,
    ) -> None:
        """Keeps what the parent has of a name that cannot be read; it must not read as deleted."""
        path = frame.path_of(name)
        if status is None and frame.choice is None and self._hidden(path):
            return
        if isinstance(error, FileNotFoundError) and frame.choice is None:
            self._monitor.notice(f"{os.fsdecode(path)} vanished while the backup ran")
            return
        self._counts.errors += 1
        if frame.parent is not None and position >= 0:
            row = frame.parent.row(position)
            frame.rows[slot] = row._replace(flags=row.flags | FLAG_CARRIED)
            kept = "left out" if row.flags & FLAG_NO_CONTENT else "kept as the last backup has it"
            self._monitor.problem(path, f"{error.strerror}: {kept}")
            return
        self._monitor.problem(path, f"{error.strerror}: left out")
        if status is not None:
            # A directory that cannot be listed: that it exists is known.
            empty = self._directories.write([])
            record, flags = encode_stat(status), FLAG_CARRIED | FLAG_NO_CONTENT
            volume = self.volumes.number(status.st_dev, path)
            frame.rows[slot] = Row(name, record, empty, b"", volume, flags)


def _turned_out(frame: Frame, position: int, name: bytes, status: os.stat_result) -> bool:
    """Whether the rules keep out what the parent has: it became a directory, or grew too large."""
    if position < 0 or frame.parent is None or frame.here is None or not frame.here.place:
        return False
    if stat.S_ISDIR(status.st_mode) and frame.parent.subtree(position) is not None:
        return False
    if not frame.here.place.excludes(name, status):
        return False
    frame.parent.removed.append(position)
    return True
