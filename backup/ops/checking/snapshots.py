"""Manifests and trees: is all that a snapshot needs there, and which paths does damage reach?"""

from collections.abc import Iterable, Iterator

from backup.model.errors import Damaged, ImbfsError
from backup.model.ids import ObjectId
from backup.objects.pack import Place
from backup.ops.checking.packs import short
from backup.ops.checking.report import Monitor, Report
from backup.repository import Repository
from backup.snapshots.directory import Directory, Read, decode_entry, lists_of
from backup.snapshots.manifest import Snapshot
from backup.snapshots.tree import Page


def check_snapshots(repository: Repository, report: Report, monitor: Monitor) -> None:
    """Finds damage in manifests and trees, objects that are missing, and the paths reached."""
    snapshots = list(_read_manifests(repository, report))
    report.snapshots = len(snapshots)
    monitor.step("snapshots", len(snapshots))
    trees = _Trees(repository, report)
    for snapshot in snapshots:
        trees.check(snapshot.root, root=True)
        monitor.advance(1)
    find_reached(snapshots, report, repository.tree)


def find_reached(snapshots: Iterable[Snapshot], report: Report, read: Read) -> None:
    """Adds to each damage the snapshots and paths that need its objects. `read` gives a tree, or raises."""
    if report.bad:
        reach = _Reach(read, report)
        for snapshot in snapshots:
            reach.walk(snapshot)


def _read_manifests(repository: Repository, report: Report) -> Iterator[Snapshot]:
    for snapshot_id in sorted(repository.catalogue.ids()):
        try:
            yield repository.catalogue.read(snapshot_id)
        except (ImbfsError, OSError) as error:
            report.found(f"snapshot {snapshot_id[:12]}", str(error))
    for missing in sorted(repository.missing_snapshots()):
        report.found(f"snapshot {missing[:12]}", "its manifest has vanished, and nobody forgot it")


class _Trees:
    """Visits each distinct tree once, however many snapshots share it."""

    def __init__(self, repository: Repository, report: Report) -> None:
        self._repository = repository
        self._report = report
        self._seen: set[ObjectId] = set()
        self._unlisted_told: set[bytes] = set()

    def check(self, tree: ObjectId, *, root: bool = False) -> None:
        waiting = [(tree, root)]
        while waiting:
            tree, root = waiting.pop()
            if tree in self._seen:
                continue
            self._seen.add(tree)
            self._report.trees += 1
            try:
                for page in Directory(tree, self._read, root=root).pages():
                    for position in range(len(page)):
                        below = self._check_entry(page, position)
                        waiting += [(below, False)] if below else []
            except (Damaged, OSError) as error:
                self._damaged_tree(tree, error)

    def _check_entry(self, page: Page, position: int) -> ObjectId | None:
        """Looks for all that an entry needs; gives its tree, if it is a directory."""
        lists = lists_of(page, position)
        for name in lists:
            self._report.trees += name not in self._seen
            self._seen.add(name)
            try:
                self._read(name)
            except (Damaged, OSError) as error:
                self._damaged_tree(name, error)
        if any(name in self._report.bad for name in lists):
            return None
        entry = decode_entry(page, position, self._read)
        start = 0
        for extent in entry.extents:
            if extent.chunk is not None:
                self._require_chunk(extent.chunk, extent.end - start)
            start = extent.end
        return entry.tree

    def _require_chunk(self, chunk: ObjectId, length: int) -> None:
        place = self._place(chunk)
        if place is not None and place.length != length:
            self._report.found(
                f"object {short(chunk)}", f"a file takes it for {length} bytes, and it has {place.length}"
            )

    def _damaged_tree(self, tree: ObjectId, error: Exception) -> None:
        if tree not in self._report.bad:
            self._report.found(f"tree {short(tree)}", str(error), [tree])

    def _read(self, tree: ObjectId) -> bytes | memoryview:
        if not self._require(tree):
            raise Damaged(f"tree {short(tree)} is missing or damaged")
        return self._repository.tree(tree)

    def _require(self, object_id: ObjectId) -> bool:
        return self._place(object_id) is not None

    def _place(self, object_id: ObjectId) -> Place | None:
        """None where the object is missing or damaged; it is told then."""
        if object_id in self._report.bad:
            return None
        place = self._repository.index.place(object_id)
        if place is None:
            place = self._repository.lookup.unlisted().get(object_id)
            if place is not None:
                self._tell_unlisted(place)
        if place is None:
            self._report.found(f"object {short(object_id)}", "the object is missing", [object_id])
        return place

    def _tell_unlisted(self, place: Place) -> None:
        if place.pack not in self._unlisted_told:
            self._unlisted_told.add(place.pack)
            self._report.leftovers -= 1
            self._report.found(
                f"pack {short(place.pack)}",
                "snapshots need this pack, and no index segment lists it (it is read all the same):"
                " the next backup lists it again",
            )


class _Reach:
    """Finds the paths whose content or listing is among the bad objects."""

    def __init__(self, read: Read, report: Report) -> None:
        self._read = read
        self._bad = report.bad
        #: Trees below which all is well: they are entered once, not once a snapshot.
        self._sound: set[ObjectId] = set()

    def walk(self, snapshot: Snapshot) -> None:
        stack = self._open(snapshot, snapshot.root, b"", root=True)
        while stack:
            here = stack[-1]
            if here.waiting:
                path, tree = here.waiting.pop()
                if tree not in self._sound:
                    stack += self._open(snapshot, tree, path) or here.hit()
                continue
            stack.pop()
            if not here.hits:
                self._sound.add(here.tree)
            elif stack:
                stack[-1].hits += here.hits

    def _open(self, snapshot: Snapshot, tree: ObjectId, path: bytes, *, root: bool = False) -> "list[_Visit]":
        """The visit of a directory, its own files looked at; none where it cannot be read."""
        visit = _Visit(tree)
        try:
            for page in Directory(tree, self._read, root=root).pages():
                for position, name in enumerate(page.names):
                    self._look(snapshot, visit, page, position, path if root else _join(path, name))
        except (Damaged, OSError):
            self._note(tree, snapshot, path or b".")
            return []
        return [visit]

    def _look(self, snapshot: Snapshot, visit: "_Visit", page: Page, position: int, path: bytes) -> None:
        bad = [name for name in lists_of(page, position) if name in self._bad]
        if not bad:
            entry = decode_entry(page, position, self._read)
            if entry.tree is not None:
                visit.waiting.append((path, entry.tree))
            bad = [chunk for _, chunk in entry.extents if chunk is not None and chunk in self._bad]
        for name in dict.fromkeys(bad):
            visit.hits += 1
            self._note(name, snapshot, path)

    def _note(self, object_id: ObjectId, snapshot: Snapshot, path: bytes) -> None:
        damage = self._bad.get(object_id)
        if damage is not None and (snapshot.id, path) not in damage.reaches[-1:]:
            damage.reaches.append((snapshot.id, path))


class _Visit:
    """A directory being walked: the subdirectories still to be entered, and what was found."""

    def __init__(self, tree: ObjectId) -> None:
        self.tree = tree
        self.waiting: list[tuple[bytes, ObjectId]] = []
        self.hits = 0

    def hit(self) -> "list[_Visit]":
        self.hits += 1
        return []


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name
