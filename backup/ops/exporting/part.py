"""A part of an increment as a tree that can be restored: what changed, and where it lies."""

from collections.abc import Callable, Iterator

from backup.model.entry import Entry
from backup.model.ids import ID_SIZE, ObjectId
from backup.ops.restoring.reader import RepositoryReader
from backup.repository import Repository
from backup.snapshots.difference import Change, Difference, Spot
from backup.snapshots.directory import decode_entry


def in_files(change: Change) -> Spot | None:
    """Where the change left something new."""
    return change.after if change.after is not None and change.difference else None


def in_deleted(change: Change) -> Spot | None:
    """What the change took away, for good or for another kind of file."""
    return change.before if change.difference == Difference.REMOVED or change.replaced else None


class PartReader(RepositoryReader):
    """A snapshot's reader that also knows the directories made for a part, under names that no tree has."""

    def __init__(self, repository: Repository, spot_of: Callable[[Change], Spot | None], after: bool) -> None:
        """`after`: what leads to something is shown as the newer of the two trees has it."""
        super().__init__(repository)
        self._read = repository.tree
        self._spot_of = spot_of
        self._after = after
        self._made: dict[ObjectId, list[Entry]] = {}

    def entries(self, tree: ObjectId) -> Iterator[Entry]:
        made = self._made.get(tree)
        return super().entries(tree) if made is None else iter(made)

    def root(self, root: Change) -> Entry:
        """The part's own root. Trees may be deep: no recursion."""
        order = [root]
        for change in order:
            order += change.below.values()
        made: dict[int, Entry] = {}
        for change in reversed(order):
            below = [(name, made[id(here)]) for name, here in change.below.items() if id(here) in made]
            entry = self._entry(change, sorted(below))
            if entry is not None or change is root:
                made[id(change)] = entry or self._leading(change, [])
        return made[id(root)]

    def _entry(self, change: Change, below: list[tuple[bytes, Entry]]) -> Entry | None:
        spot = self._spot_of(change)
        whole = change.before_tree is None or change.after_tree is None
        if spot is not None and whole:
            # All of it is new, or gone: the snapshot's own.
            return decode_entry(*spot, self._read)
        return self._leading(change, below) if spot is not None or below else None

    def _leading(self, change: Change, below: list[tuple[bytes, Entry]]) -> Entry:
        spot = change.after if self._after else change.before
        assert spot is not None
        number = ObjectId((len(self._made) + 1).to_bytes(ID_SIZE, "big"))
        self._made[number] = [entry for _, entry in below]
        return decode_entry(*spot, self._read)._replace(tree=number)
