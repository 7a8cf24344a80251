"""In place of a writer, where nothing is to be stored."""

from backup.model.ids import ObjectId, PackId
from backup.repository import Repository
from backup.snapshots.tree import Buffer


class DryWriter:
    """Takes what a backup would store, names it, and stores nothing."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._new: set[ObjectId] = set()
        self.condemned = frozenset[PackId]()
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
        self.claim([(object_id, len(data))])
        return object_id

    def has(self, object_id: ObjectId) -> bool:
        return object_id in self._new or self._repository.index.place(object_id) is not None

    def distrust_trees(self) -> None:
        """Nothing is stored anew."""

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
