"""The walk over the live tree, compared record by record with the parent's trees.

Depth first and without recursion. A directory's files are stored before its subdirectories are
entered, so that what is read together lies together; its tree is made when all below is done.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from backup.model.entry import FLAG_CARRIED, FLAG_NO_CONTENT
from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.objects.chunker import Chunker
from backup.ops.storing.monitor import Counts, Monitor
from backup.ops.storing.parent import ParentDirectory, open_parent
from backup.ops.storing.rows import RowMaker, Volumes, Writer
from backup.ops.storing.sources import Choice, Sources
from backup.snapshots.tree import NS, ROOT_NAME, Buffer, Row, encode_extra, encode_stat
from backup.snapshots.tree_writer import write_tree
from backup.source.attributes import OwnerNames, Xattr, xattrs_of
from backup.source.descent import Descent, Identity, identity

#: A clock that ticks while a backup starts may stamp a later change with an earlier time.
TICK_NS = 20_000_000
#: File systems that keep whole seconds may round down by up to two.
COARSE_NS = 2 * NS


@dataclass(frozen=True, slots=True)
class Settings:
    """`parent_started_ns`, `started_ns`: when the parent's walk and this one began. `skip`:
    directories left out. `distrust`: packs were lost, so an object is looked up before it is
    believed to be stored.
    """

    started_ns: int
    parent_started_ns: int = 0
    read_all: bool = False
    distrust: bool = False
    skip: frozenset[Identity] = frozenset()


@dataclass(slots=True)
class _Frame:
    """A directory being walked; `above` is the parent's tree of the directory that holds it.

    `rows` holds the parent's position in place of a row that is the same, and None for what is
    left out. `waiting` are the subdirectories to be entered: the last one first.
    """

    name: bytes
    path: bytes
    status: os.stat_result
    volume: int
    slot: int
    above: ParentDirectory | None
    position: int
    parent: ParentDirectory | None
    choice: Choice | None
    xattrs: tuple[Xattr, ...]
    rows: list[Row | int | None] = field(default_factory=list)
    waiting: list["_Waiting"] = field(default_factory=list)

    def path_of(self, name: bytes) -> bytes:
        return os.path.join(self.path, name)


@dataclass(slots=True)
class _Waiting:
    """A subdirectory still to be entered: its slot in the rows, and its position in the parent."""

    name: bytes
    status: os.stat_result
    slot: int
    position: int


class Walk:
    """One backup's walk. Used once."""

    def __init__(
        self,
        writer: Writer,
        chunker: Chunker,
        read_tree: Callable[[ObjectId], Buffer],
        settings: Settings,
        monitor: Monitor,
    ) -> None:
        self.counts = Counts()
        self._writer = writer
        self._read_tree = read_tree
        self._settings = settings
        self._monitor = monitor
        self._owners = OwnerNames()
        self._volumes = Volumes()
        self._make = RowMaker(writer, chunker, self._volumes, self.counts, monitor).make

    def run(self, sources: Sources, parent: ParentDirectory | None) -> ObjectId:
        """Stores the sources and returns the tree of the snapshot's root; `parent` is the parent's.

        Raises OSError where the top directory cannot be read.
        """
        fd = os.open(sources.top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with Descent(fd) as descent:
            position = -1 if parent is None else parent.seek(ROOT_NAME)
            top = _Waiting(ROOT_NAME, os.fstat(fd), 0, position)
            root = self._enter(fd, sources.top, top, parent, sources.choice)
            row = self._walk(descent, root)
        return self._write([row], parent)

    def _walk(self, descent: Descent, root: _Frame) -> Row | int:
        stack = [root]
        while True:
            frame = stack[-1]
            if frame.waiting:
                below = self._descend(descent, frame, frame.waiting.pop())
                if below is not None:
                    stack.append(below)
                continue
            row = self._leave(frame)
            stack.pop()
            if not stack:
                return row
            stack[-1].rows[frame.slot] = row
            descent.pop()

    # Directories

    def _descend(self, descent: Descent, frame: _Frame, below: _Waiting) -> _Frame | None:
        path = frame.path_of(below.name)
        choice = None if frame.choice is None else frame.choice[below.name]
        if identity(below.status) in self._settings.skip:
            self._monitor.notice(f"{os.fsdecode(path)} is left out: it is the repository itself")
            return None
        try:
            fd = descent.push(below.name)
        except OSError as error:
            self._carry(frame, below.name, below.slot, below.position, error, below.status)
            return None
        try:
            return self._enter(fd, path, below, frame.parent, choice)
        except OSError as error:
            descent.pop()
            self._carry(frame, below.name, below.slot, below.position, error, below.status)
            return None

    def _enter(
        self, fd: int, path: bytes, at: _Waiting, above: ParentDirectory | None, choice: Choice | None
    ) -> _Frame:
        self._monitor.directory(path)
        status = os.fstat(fd)
        subtree = above.subtree(at.position) if above is not None and at.position >= 0 else None
        parent = open_parent(subtree, self._read_tree, self._monitor.notice)
        volume = self._volumes.number(status.st_dev, path)
        frame = _Frame(
            at.name, path, status, volume, at.slot, above, at.position, parent, choice, xattrs_of(fd)
        )
        for name, found in _scan(fd, choice):
            self._take(fd, frame, name, found)
        frame.waiting.reverse()
        return frame

    def _leave(self, frame: _Frame) -> Row | int:
        """The row of a directory of which all is done."""
        self.counts.dirs += 1
        self._count_removed(frame.parent)
        rows = [row for row in frame.rows if row is not None]
        tree = self._unchanged_tree(frame.parent, rows) or self._write(rows, frame.parent)
        record = encode_stat(frame.status)
        above, position = frame.above, frame.position
        if above is not None and position >= 0 and above.same(position, record):
            if above.subtree(position) == tree:
                return position
            return above.row(position)._replace(object=tree)
        extra = encode_extra(b"", frame.xattrs)
        return Row(frame.name, record, tree, extra, frame.volume, 0)

    def _unchanged_tree(self, parent: ParentDirectory | None, rows: list[Row | int]) -> ObjectId | None:
        if parent is None or len(rows) != len(parent) or any(row.__class__ is not int for row in rows):
            return None
        return None if self._settings.distrust and not self._writer.has(parent.tree) else parent.tree

    def _write(self, rows: list[Row | int], parent: ParentDirectory | None) -> ObjectId:
        whole = [row if isinstance(row, Row) else _row_of(parent, row) for row in rows]
        return write_tree(whole, self._writer.store_tree, self._owners.user, self._owners.group)

    def _count_removed(self, parent: ParentDirectory | None) -> None:
        if parent is None:
            return
        parent.finish()
        try:
            self.counts.files_removed += parent.count_removed(self._read_tree)
        except Damaged as error:
            self._monitor.notice(f"what was removed cannot be counted: {error}")

    # Entries

    def _take(self, fd: int, frame: _Frame, name: bytes, found: os.stat_result | OSError) -> None:
        position = -1 if frame.parent is None else frame.parent.seek(name)
        slot = len(frame.rows)
        frame.rows.append(None)
        if isinstance(found, OSError):
            self._carry(frame, name, slot, position, found)
        elif stat.S_ISDIR(found.st_mode):
            frame.waiting.append(_Waiting(name, found, slot, position))
        else:
            self._take_file(fd, frame, name, found, slot, position)

    def _take_file(
        self, fd: int, frame: _Frame, name: bytes, status: os.stat_result, slot: int, position: int
    ) -> None:
        if frame.parent is not None and self._unchanged(frame.parent, position, status):
            self.counts.files_unchanged += 1
            frame.rows[slot] = position
        else:
            try:
                row = self._make(fd, frame.path_of(name), name, status)
            except OSError as error:
                self._carry(frame, name, slot, position, error)
                return
            # Read again only because it might have changed, and had not.
            same = frame.parent is not None and position >= 0 and frame.parent.row(position) == row
            frame.rows[slot] = position if same else row
            self.counts.files_unchanged += same
            self.counts.files_changed += position >= 0 and not same
            self.counts.files_new += position < 0
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        self.counts.files += 1
        self.counts.bytes += size
        self._monitor.entry(size)

    def _unchanged(self, parent: ParentDirectory, position: int, status: os.stat_result) -> bool:
        if position < 0 or not parent.same(position, encode_stat(status)):
            return False
        if not stat.S_ISREG(status.st_mode):
            return True
        if self._settings.read_all or self._racy(status):
            return False
        return not self._settings.distrust or all(map(self._writer.has, parent.chunks(position)))

    def _racy(self, status: os.stat_result) -> bool:
        """Whether the file may have been written after the parent read it, in the same tick."""
        modified, changed = status.st_mtime_ns, status.st_ctime_ns
        coarse = modified % NS == 0 and changed % NS == 0
        since = self._settings.parent_started_ns - (COARSE_NS if coarse else TICK_NS)
        # A time in the future was set by hand: the change itself shows in ctime.
        return changed >= since or since <= modified <= self._settings.started_ns

    def _carry(
        self,
        frame: _Frame,
        name: bytes,
        slot: int,
        position: int,
        error: OSError,
        status: os.stat_result | None = None,
    ) -> None:
        """Keeps what the parent has of a name that cannot be read; it must not read as deleted."""
        path = frame.path_of(name)
        if isinstance(error, FileNotFoundError) and frame.choice is None:
            self._monitor.notice(f"{os.fsdecode(path)} vanished while the backup ran")
            return
        self.counts.errors += 1
        if frame.parent is not None and position >= 0:
            row = frame.parent.row(position)
            frame.rows[slot] = row._replace(flags=row.flags | FLAG_CARRIED)
            kept = "left out" if row.flags & FLAG_NO_CONTENT else "kept as the last backup has it"
            self._monitor.problem(path, f"{error.strerror}: {kept}")
            return
        self._monitor.problem(path, f"{error.strerror}: left out")
        if status is not None:
            # A directory that cannot be listed: that it exists is known.
            empty = write_tree([], self._writer.store_tree, self._owners.user, self._owners.group)
            record, flags = encode_stat(status), FLAG_CARRIED | FLAG_NO_CONTENT
            volume = self._volumes.number(status.st_dev, path)
            frame.rows[slot] = Row(name, record, empty, b"", volume, flags)


def _row_of(parent: ParentDirectory | None, position: int) -> Row:
    assert parent is not None, "only a parent's entry can be unchanged"
    return parent.row(position)


def _scan(fd: int, choice: Choice | None) -> list[tuple[bytes, os.stat_result | OSError]]:
    """Names with their status, or why it cannot be had; sorted. Raises OSError."""
    found: list[tuple[bytes, os.stat_result | OSError]] = []
    if choice is None:
        with os.scandir(fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                try:
                    found.append((name, entry.stat(follow_symlinks=False)))
                except OSError as error:
                    found.append((name, error))
    else:
        for name in choice:
            try:
                found.append((name, os.stat(name, dir_fd=fd, follow_symlinks=False)))
            except OSError as error:
                found.append((name, error))
    found.sort(key=lambda item: item[0])
    return found
