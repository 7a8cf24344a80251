"""What one snapshot changed against another: `files/`, `deleted/` and `changes.jsonl`."""

from collections.abc import Callable, Iterator

from backup.model.inode import Attributes
from backup.snapshots.changes import changes_of
from backup.snapshots.difference import Change, Difference, Spot, compare
from backup.views.folder import FOREVER, Folder, MadeDirectory, MadeFile, NamedFolder, Node
from backup.views.snapshot import Scope, SnapshotNode, attributes_of


def increment_folder(before: Scope, after: Scope, old: Spot | None, new: Spot, time_ns: int) -> Folder:
    """The increment from the root `old` to the root `new`; without `old`, all of `new` was added.

    It costs what changed. What cannot be compared is in `files/`, and entering it raises `Damaged`; the
    rest is there.
    """
    read = after.directories.trees.tree
    root = Change(Difference.ADDED, None, new) if old is None else compare(old, new, read, around_damage=True)
    listed: list[bytes] = []

    def changes() -> bytes:
        if not listed:
            listed.append(changes_of(root, read))
        return listed[0]

    empty: dict[bytes, Node] = {}
    nothing = NamedFolder(lambda: dict.fromkeys(empty), empty.__getitem__)
    nodes: dict[bytes, Node] = {
        b"changes.jsonl": MadeFile(changes, time_ns),
        b"deleted": (
            MadeDirectory(lambda: nothing, time_ns) if old is None else PartNode(before, old, root, _DELETED)
        ),
        b"files": PartNode(after, new, root, _FILES),
    }
    return NamedFolder(lambda: dict.fromkeys(nodes), nodes.__getitem__)


class _Part:
    """Which of a change's names a part of an increment shows, and from which of the two trees."""

    def __init__(self, spot: Callable[[Change], Spot | None], holds: Callable[[Change], bool]) -> None:
        self.spot = spot
        self._holds = holds

    def shows(self, change: Change) -> bool:
        """Whether the part holds the name itself, or one below it. Trees may be deep: no recursion."""
        waiting = [change]
        while waiting:
            here = waiting.pop()
            if self._holds(here):
                return True
            waiting += here.below.values()
        return False


def _in_files(change: Change) -> bool:
    return change.after is not None and (bool(change.difference) or change.damage is not None)


def _in_deleted(change: Change) -> bool:
    """Gone, for good or for another kind of file."""
    return change.difference == Difference.REMOVED or change.replaced


_FILES = _Part(lambda change: change.after, _in_files)
_DELETED = _Part(lambda change: change.before, _in_deleted)


class PartNode(SnapshotNode):
    """An entry of one of the two snapshots; a directory shows what changed below it alone."""

    __slots__ = ("_change", "_part")

    def __init__(self, scope: Scope, spot: Spot, change: Change, part: _Part) -> None:
        super().__init__(scope, *spot)
        self._change = change
        self._part = part

    def enter(self) -> Folder:
        if self._change.before_tree is None or self._change.after_tree is None:
            # All of it is new, or gone: the snapshot's own directory.
            return super().enter()
        if self._change.damage is not None:
            raise self._change.damage
        return PartFolder(self._scope, self._change, self._part)


class PartFolder:
    """The changed names of one directory, in order."""

    timeout = FOREVER

    def __init__(self, scope: Scope, change: Change, part: _Part) -> None:
        self._scope = scope
        self._part = part
        self._changes = [
            (name, below, spot)
            for name, below in sorted(change.below.items())
            if part.shows(below) and (spot := part.spot(below)) is not None
        ]
        self._positions = {name: position for position, (name, _, _) in enumerate(self._changes)}

    def find(self, name: bytes) -> int:
        return self._positions.get(name, -1)

    def node(self, position: int) -> PartNode:
        _, change, spot = self._changes[position]
        return PartNode(self._scope, spot, change, self._part)

    def name(self, position: int) -> bytes:
        return self._changes[position][0]

    def inode(self, position: int, own: int) -> int:
        page, local = self._changes[position][2]
        return self._scope.shared_inode(page, local, own)

    def entries(self, first: int, start: int) -> Iterator[tuple[bytes, Attributes, int]]:
        read = self._scope.directories.trees.tree
        for position in range(start, len(self._changes)):
            name, _, (page, local) = self._changes[position]
            ino = self.inode(position, first + position)
            yield name, attributes_of(page, local, ino, read), position + 1
