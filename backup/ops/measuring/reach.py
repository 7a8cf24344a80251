"""Which snapshots reach each object. Each distinct tree is read twice, however many snapshots share it.

Sets of snapshots are numbers whose bit N stands for the Nth snapshot. Few of all that could be are
met, so each is kept once, and an object costs one reference to it.
"""

import stat
from collections.abc import Callable, Iterable, Iterator, Sequence

from backup.model.errors import Damaged
from backup.model.ids import NO_OBJECT, ObjectId
from backup.snapshots.directory import Directory, Read, decode_entry, lists_of
from backup.snapshots.tree import REF, STAT, Page

#: The subdirectories of a directory; of a root page where that is said.
Children = Callable[[ObjectId, bool], list[ObjectId]]


class Reach:
    """`data` and `trees` hold, for each object reached, the snapshots that reach it."""

    def __init__(self, read: Read) -> None:
        self.data: dict[ObjectId, int] = {}
        self.trees: dict[ObjectId, int] = {}
        #: What cannot be read: less is counted than there is.
        self.damaged: dict[ObjectId, Exception] = {}
        self._read = read
        self._kept: dict[int, int] = {}

    @property
    def objects(self) -> int:
        """How many are reached. A file may have the very bytes of a tree."""
        return len(self.data) + sum(name not in self.data for name in self.trees)

    def add(self, roots: Sequence[ObjectId]) -> None:
        """Takes in all snapshots at once, each by the name of its root page."""
        graph = _Graph(self._children)
        for root in roots:
            graph.visit(root, root=True)
        for name, snapshots, is_root in graph.reached(roots):
            self._add(self.trees, name, self._same(snapshots))
            if name not in self.damaged:
                self._take(Directory(name, self._read, root=is_root), self._same(snapshots))

    def _children(self, name: ObjectId, root: bool) -> list[ObjectId]:
        try:
            found = []
            for page in Directory(name, self._read, root=root).pages():
                columns = zip(STAT.iter_unpack(page.stats), REF.iter_unpack(page.refs), strict=True)
                found += [ObjectId(ref[0]) for status, ref in columns if stat.S_ISDIR(status[0])]
        except (Damaged, OSError) as error:
            self.damaged[name] = error
            return []
        return found

    def _take(self, directory: Directory, snapshots: int) -> None:
        """All objects of one directory but its subdirectories'."""
        for page_id, page in zip(directory.page_ids, directory.pages(), strict=True):
            self._add(self.trees, page_id, snapshots)
            columns = zip(STAT.iter_unpack(page.stats), REF.iter_unpack(page.refs), strict=True)
            for position, (status, ref) in enumerate(columns):
                if not stat.S_ISREG(status[0]):
                    continue
                if ref[0] != NO_OBJECT:
                    self._add(self.data, ObjectId(ref[0]), snapshots)
                elif status[4]:
                    self._take_extents(page, position, snapshots)

    def _take_extents(self, page: Page, position: int, snapshots: int) -> None:
        lists: list[ObjectId] = []
        try:
            lists += lists_of(page, position)
            for name in lists:
                self._add(self.trees, name, snapshots)
            extents = decode_entry(page, position, self._read).extents
        except (Damaged, OSError) as error:
            self.damaged[lists[0] if lists else NO_OBJECT] = error
            return
        for extent in extents:
            if extent.chunk is not None:
                self._add(self.data, extent.chunk, snapshots)

    def _add(self, objects: dict[ObjectId, int], name: ObjectId, snapshots: int) -> None:
        known = objects.setdefault(name, snapshots)
        if known is not snapshots:
            objects[name] = self._same(known | snapshots)

    def _same(self, snapshots: int) -> int:
        """The one number that stands for this set."""
        return self._kept.setdefault(snapshots, snapshots)


class _Graph:
    """Directories and what lies in them, each once."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._below: dict[ObjectId, list[ObjectId]] = {}
        #: Each directory after all below it.
        self._order: list[ObjectId] = []

    def visit(self, name: ObjectId, *, root: bool) -> None:
        stack: list[tuple[ObjectId, Iterator[ObjectId]]] = []
        waiting: ObjectId | None = name
        while waiting is not None or stack:
            if waiting is not None and waiting not in self._below:
                below = self._below[waiting] = self._children(waiting, root and not stack)
                stack.append((waiting, iter(below)))
            waiting = next(stack[-1][1], None) if stack else None
            if waiting is None and stack:
                self._order.append(stack.pop()[0])

    def reached(self, roots: Iterable[ObjectId]) -> Iterator[tuple[ObjectId, int, bool]]:
        """Each directory with the snapshots that reach it, and whether it is a root; those above first."""
        masks: dict[ObjectId, int] = {}
        for number, root in enumerate(roots):
            masks[root] = masks.get(root, 0) | 1 << number
        tops = set(masks)
        for name in reversed(self._order):
            snapshots = masks.pop(name)
            for child in self._below.pop(name):
                masks[child] = masks.get(child, 0) | snapshots
            yield name, snapshots, name in tops
