"""What the snapshots need and the repository lacks, and where in the source it may still be."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.snapshots.directory import Directory, Read, decode_entry
from backup.snapshots.manifest import Snapshot
from backup.snapshots.tree import Page


class Range(NamedTuple):
    """Where a chunk was: the source's top directory, the path below it, and the bytes of that file."""

    top: bytes
    path: bytes
    start: int
    length: int


class Needs:
    """Visits each distinct tree once.

    `read` gives a tree or raises `Damaged`; `have` says whether an object is stored.
    """

    def __init__(self, read: Read, have: Callable[[ObjectId], bool]) -> None:
        self._read = read
        self._have = have
        self._seen: set[ObjectId] = set()
        #: Trees and lists of extents that nothing gives: what they name is not known.
        self.trees: set[ObjectId] = set()
        self.chunks: dict[ObjectId, list[Range]] = {}

    def collect(self, snapshots: Iterable[Snapshot]) -> None:
        for snapshot in snapshots:
            waiting = [(b"", snapshot.root, True)]
            while waiting:
                path, tree, root = waiting.pop()
                if tree not in self._seen:
                    self._seen.add(tree)
                    waiting += self._visit(snapshot.top, path, tree, root)

    def _visit(
        self, top: bytes, path: bytes, tree: ObjectId, root: bool
    ) -> list[tuple[bytes, ObjectId, bool]]:
        below: list[tuple[bytes, ObjectId, bool]] = []
        try:
            directory = Directory(tree, self._reading, root=root)
            for number in range(len(directory.page_ids)):
                try:
                    page = directory.page(number)
                except Damaged:
                    continue
                for position, name in enumerate(page.names):
                    own = path if root else path + b"/" + name if path else name
                    subtree = self._entry(page, position, top, own)
                    below += [(own, subtree, False)] if subtree else []
        except Damaged:
            self.trees.add(tree)
        return below

    def _reading(self, tree: ObjectId) -> bytes | memoryview:
        try:
            return self._read(tree)
        except (Damaged, OSError) as error:
            self.trees.add(tree)
            raise Damaged(str(error)) from error

    def _entry(self, page: Page, position: int, top: bytes, path: bytes) -> ObjectId | None:
        try:
            entry = decode_entry(page, position, self._reading)
        except Damaged:
            return None
        start = 0
        for end, chunk in entry.extents:
            if chunk is not None and not self._have(chunk):
                self.chunks.setdefault(chunk, []).append(Range(top, path, start, end - start))
            start = end
        return entry.tree
