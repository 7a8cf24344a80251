"""From the rows of a directory to its tree, when all its rows are there.

Directories are done in the order in which the walk leaves them, each after all below it: so the order
of trees depends on the source alone, not on which file was read first.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.ops.storing.frame import Frame
from backup.ops.storing.monitor import Counts, Monitor
from backup.ops.storing.parent import ParentDirectory
from backup.ops.storing.unchanged import Comparison
from backup.snapshots.tree import Buffer, Row, encode_extra, encode_stat
from backup.snapshots.tree_writer import write_tree
from backup.source.attributes import OwnerNames


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
        self._left: deque[Frame] = deque()

    def leave(self, frame: Frame) -> None:
        """The walk is done with it and all below; rows of its files may still be missing."""
        self._left.append(frame)
        self.held += 1 + len(frame.rows)

    def make(self) -> None:
        """Makes the trees that can be made."""
        while self._left and not self._left[0].pending:
            frame = self._left.popleft()
            self.held -= 1 + len(frame.rows)
            row = self._row(frame)
            if frame.up is None:
                self.row = row
            else:
                frame.up.rows[frame.slot] = row

    def _row(self, frame: Frame) -> Row | int:
        self._counts.dirs += 1
        self._count_removed(frame.parent)
        rows = [row for row in frame.rows if row is not None]
        tree = self._unchanged_tree(frame.parent, rows) or self.write(rows, frame.parent)
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
        return parent.tree if self._comparison.stored(parent) else None

    def write(self, rows: list[Row | int], parent: ParentDirectory | None) -> ObjectId:
        """Stores a directory's tree; positions among its rows are the parent's."""
        whole = [row if isinstance(row, Row) else _row_of(parent, row) for row in rows]
        return write_tree(whole, self._store.store_tree, self._owners.user, self._owners.group)

    def _count_removed(self, parent: ParentDirectory | None) -> None:
        if parent is None:
            return
        parent.finish()
        try:
            self._counts.files_removed += parent.count_removed(self._read_tree)
        except Damaged as error:
            self._monitor.notice(f"what was removed cannot be counted: {error}")


def _row_of(parent: ParentDirectory | None, position: int) -> Row:
    assert parent is not None, "only a parent's entry can be unchanged"
    return parent.row(position)
