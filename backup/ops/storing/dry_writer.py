"""In place of a writer, where nothing is to be stored."""

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId
from backup.repository import Repository
from backup.repository.condemned import condemned_notes
from backup.snapshots.tree import Buffer


class DryWriter:
    """Takes what a backup would store, names it, and stores nothing. What counts as stored is what counts so
    for a writer that begins now.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._new: set[ObjectId] = set()
        self.condemned = frozenset[PackId]().union(*condemned_notes(repository.storage).values())
        self._packs = {pack for pack, _ in repository.inventory.packs()} - self.condemned
        self._distrusts_trees = False
        self.keys: list[str] = []
        self.bytes_added = 0
        self.bytes_stored = 0

    def claim(self, objects: list[tuple[ObjectId, int]]) -> list[int]:
        """None is to be stored: what would be is counted."""
        for name, length in objects:
            if not self.has(name):
                self._new.add(name)
                self.bytes_added += length
        return []

    def append(self, block: memoryview, objects: list[tuple[ObjectId, int]]) -> None:
        raise AssertionError("nothing was claimed")

    def store_tree(self, data: bytes) -> ObjectId:
        object_id = self._repository.name(data)
        if self._distrusts_trees and object_id not in self._new and self._is_damaged(object_id):
            self._new.add(object_id)
            self.bytes_added += len(data)
        self.claim([(object_id, len(data))])
        return object_id

    def has(self, object_id: ObjectId) -> bool:
        if object_id in self._new:
            return True
        lookup = self._repository.lookup
        pack = lookup.packs_of([object_id]).get(object_id)
        if pack is None and (place := lookup.unlisted().get(object_id)) is not None:
            # A writer lists what a killed one left.
            pack = place.pack
        return pack in self._packs

    def distrust_trees(self) -> None:
        """From now on a tree is read before it counts as stored."""
        self._distrusts_trees = True

    def _is_damaged(self, tree: ObjectId) -> bool:
        try:
            self._repository.tree(tree)
        except Damaged:
            return True
        return False

    def finish(self) -> None:
        """Nothing waits."""

    def discard(self) -> None:
        """Nothing was written."""

    def close(self) -> None:
        """Nothing is held."""


class TreeKeeper(DryWriter):
    """Keeps in memory the trees that the repository lacks: as many as there are changed directories."""

    def __init__(self, repository: Repository) -> None:
        super().__init__(repository)
        self._trees: dict[ObjectId, bytes] = {}

    def store_tree(self, data: bytes) -> ObjectId:
        object_id = super().store_tree(data)
        if object_id in self._new:
            self._trees[object_id] = data
        return object_id

    def tree(self, object_id: ObjectId) -> Buffer:
        found = self._trees.get(object_id)
        return self._repository.tree(object_id) if found is None else found
