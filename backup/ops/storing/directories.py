"""From the rows of a directory to its tree, when all its rows are there.

Directories are done in the order in which the walk leaves them, each after all below it: so the order
of trees depends on the source alone, not on which file was read first.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.ops.storing.frame import Frame, Slot
from backup.ops.storing.monitor import Counts, Monitor
from backup.ops.storing.parent import ParentDirectory
from backup.ops.storing.unchanged import Comparison
from backup.snapshots.tree import Buffer, Row, encode_extra, encode_stat
from backup.snapshots.tree_writer import TreeWriter, write_tree
from backup.source.attributes import OwnerNames

#: Slots of a directory that are passed before its tree is begun: at most, those of a batch.
MIN_SLOTS = 4096


class TreeStore(Protocol):
    """Where trees are stored."""

    def store_tree(self, data: bytes) -> ObjectId: ...


class Directories:
    """Makes trees. `row` is that of the topmost directory, once it is done."""

    def __init__(
        self,
        store: TreeStore,
        read_tree: Callable[[ObjectId], Buffer],
        comparison: Comparison,
        counts: Counts,
        monitor: Monitor,
    ) -> None:
        self.row: Row | int | None = None
        #: Rows and directories that wait in memory.
        self.held = 0
        self._store = store
        self._read_tree = read_tree
        self._comparison = comparison
        self._counts = counts
        self._monitor = monitor
        self._owners = OwnerNames()
        self._left: deque[_Left] = deque()

    def pass_slots(self, frame: Frame) -> None:
        """The walk goes on in a directory: of a very large one, the tree is begun."""
        # A subdirectory's row comes when all below is done, and that is after this.
        if not frame.waiting and len(frame.rows) - frame.passed >= MIN_SLOTS:
            # Those before first: whether a page of the parent's can stay depends on what follows it.
            self.make()
            self._leave(frame, whole=False)

    def leave(self, frame: Frame) -> None:
        """The walk is done with it and all below; rows of its files may still be missing."""
        self._leave(frame, whole=True)

    def _leave(self, frame: Frame, whole: bool) -> None:
        end = len(frame.rows)
        self._left.append(_Left(frame, frame.passed, end, whole))
        self.held += 1 + end - frame.passed
        frame.passed = end

    def make(self) -> None:
        """Makes the trees that can be made."""
        while self._left and self._left[0].complete():
            left = self._left.popleft()
            self.held -= 1 + left.end - left.start
            if left.whole:
                self._place(left.frame, self.row_of(left.frame))
            else:
                self._begin_tree(left)

    def _place(self, frame: Frame, row: Row | int) -> None:
        if frame.up is None:
            self.row = row
        else:
            frame.up.rows[frame.slot] = row

    def row_of(self, frame: Frame) -> Row | int:
        """A directory's row, or the parent's position of it where that is the same. All below is done."""
        self._counts.dirs += 1
        self._count_removed(frame.parent)
        tree = self._tree(frame)
        record = encode_stat(frame.status)
        above, position = frame.above, frame.position
        if above is not None and position >= 0 and above.same(position, record):
            if above.subtree(position) == tree:
                return position
            return above.row(position)._replace(object=tree)
        extra = encode_extra(b"", frame.xattrs)
        return Row(frame.name, record, tree, extra, frame.volume, 0)

    def _tree(self, frame: Frame) -> ObjectId:
        parent, rows = frame.parent, frame.rows
        if frame.writer is None:
            names = sum(row is not None for row in rows)
            same = parent is not None and names == len(parent) and _all_same(rows)
            if parent is not None and same and self._comparison.stored([parent.tree, *parent.pages]):
                return parent.tree
            frame.writer = self._writer()
        self._add(frame.writer, frame, len(rows), whole=True)
        return frame.writer.finish()

    def _begin_tree(self, left: "_Left") -> None:
        frame = left.frame
        if frame.writer is None:
            if _all_same(frame.rows[left.start : left.end]):
                return  # It may still turn out to be the parent's tree.
            frame.writer = self._writer()
        self._add(frame.writer, frame, left.end, whole=False)
        frame.rows[frame.written : left.end] = [None] * (left.end - frame.written)
        frame.written = left.end

    def write(self, rows: list[Row]) -> ObjectId:
        """Stores a directory's tree."""
        return write_tree(rows, self._store.store_tree, self._owners.user, self._owners.group)

    def _writer(self) -> TreeWriter:
        return TreeWriter(self._store.store_tree, self._owners.user, self._owners.group)

    def _add(self, writer: TreeWriter, frame: Frame, end: int, whole: bool) -> None:
        """Adds the rows before slot `end` that were not yet."""
        at, rows, parent = frame.written, frame.rows, frame.parent
        while at < end:
            row = rows[at]
            if isinstance(row, int):
                assert parent is not None, "only a parent's entry can be unchanged"
                if kept := self._keep_page(writer, parent, rows, at, end, whole):
                    at += kept
                    continue
                row = parent.row(row)
            if isinstance(row, Row):
                writer.add(row)
            at += 1

    def _keep_page(
        self,
        writer: TreeWriter,
        parent: ParentDirectory,
        rows: list[Slot],
        at: int,
        end: int,
        whole: bool,
    ) -> int:
        """How many rows are a whole page of the parent's, that is taken as it is."""
        first = rows[at]
        if not isinstance(first, int) or (found := parent.page_from(first)) is None:
            return 0
        name, page = found
        after = at + len(page)
        if after > end or rows[at:after] != list(range(first, first + len(page))):
            return 0
        following = rows[after] if after < len(rows) else None
        if not isinstance(following, Row | int) and not (whole and after == len(rows)):
            return 0
        next_name = parent.name(following) if isinstance(following, int) else None
        if isinstance(following, Row):
            next_name = following.name
        kept = self._comparison.stored([name]) and writer.add_page(name, page, next_name)
        return len(page) if kept else 0

    def _count_removed(self, parent: ParentDirectory | None) -> None:
        if parent is None:
            return
        parent.finish()
        try:
            self._counts.files_removed += parent.count_removed(self._read_tree)
        except Damaged as error:
            self._monitor.notice(f"what was removed cannot be counted: {error}")


@dataclass(frozen=True, slots=True)
class _Left:
    """Slots from `start` to `end` of a directory, in the order in which the walk left them.

    `whole`: the walk has left the directory, and all below it is done.
    """

    frame: Frame
    start: int
    end: int
    whole: bool

    def complete(self) -> bool:
        return self.frame.complete(self.end)


def _all_same(rows: list[Slot]) -> bool:
    """Whether all that is there is as the parent has it."""
    return not any(isinstance(row, Row) for row in rows)
