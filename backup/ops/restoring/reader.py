"""A snapshot's content as a restore needs it."""

from collections.abc import Iterator

from backup.model.entry import Entry
from backup.model.ids import ObjectId
from backup.repository import Repository


class RepositoryReader:
    """Reads from a repository; raises `Damaged` for what is missing or wrong."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def entries(self, tree: ObjectId) -> Iterator[Entry]:
        return self._repository.directory(tree).entries()

    def chunk(self, object_id: ObjectId) -> bytes | memoryview:
        return self._repository.reader.read(object_id)
