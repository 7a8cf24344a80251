"""Manifests and trees: is all that a snapshot needs there, and which paths does damage reach?"""

from collections.abc import Iterator

from backup.model.entry import Entry
from backup.model.errors import Damaged, ImbfsError
from backup.model.ids import ObjectId, SnapshotId
from backup.objects.pack import Place
from backup.ops.checking.packs import short
from backup.ops.checking.report import Monitor, Report
from backup.repository import Repository
from backup.snapshots.directory import Directory
from backup.snapshots.manifest import Snapshot


def check_snapshots(repository: Repository, report: Report, monitor: Monitor) -> None:
    """Finds damage in manifests and trees, objects that are missing, and the paths reached."""
    snapshots = list(_read_manifests(repository, report))
    report.snapshots = len(snapshots)
    monitor.step("snapshots", len(snapshots))
    trees = _Trees(repository, report)
    for snapshot in snapshots:
        trees.check(snapshot.root, root=True)
        monitor.advance(1)
    if report.bad:
        reach = _Reach(repository, report)
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
                directory = Directory(tree, self._read, root=root)
                for entry in directory.entries():
                    if entry.tree is not None:
                        waiting.append((entry.tree, False))
                    for extent in entry.extents:
                        if extent.chunk is not None:
                            self._require(extent.chunk)
            except (Damaged, OSError) as error:
                if tree not in self._report.bad:
                    self._report.found(f"tree {short(tree)}", str(error), [tree])

    def _read(self, tree: ObjectId) -> bytes | memoryview:
        if not self._require(tree):
            raise Damaged(f"tree {short(tree)} is missing or damaged")
        return self._repository.tree(tree)

    def _require(self, object_id: ObjectId) -> bool:
        if object_id in self._report.bad:
            return False
        place = self._repository.index.place(object_id)
        if place is None:
            place = self._repository.unlisted().get(object_id)
            if place is not None:
                self._tell_unlisted(place)
        if place is None:
            self._report.found(f"object {short(object_id)}", "the object is missing", [object_id])
        return place is not None

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

    def __init__(self, repository: Repository, report: Report) -> None:
        self._repository = repository
        self._bad = report.bad
        #: Trees below which all is well.
        self._sound: set[ObjectId] = set()

    def walk(self, snapshot: Snapshot) -> None:
        #: Each frame: tree, path, and the entries still to be seen; None marks the way back.
        stack: list[tuple[ObjectId, bytes, Iterator[Entry]]] = []
        hits: list[int] = []
        if not self._open(snapshot.id, snapshot.root, b"", stack, hits, root=True):
            return
        while stack:
            tree, path, entries = stack[-1]
            entry = next(entries, None)
            if entry is None:
                stack.pop()
                count = hits.pop()
                if not count:
                    self._sound.add(tree)
                if hits:
                    hits[-1] += count
                continue
            below = b"" if len(stack) == 1 else (path + b"/" + entry.name if path else entry.name)
            for extent in entry.extents:
                if extent.chunk in self._bad:
                    hits[-1] += 1
                    self._note(extent.chunk, snapshot.id, below)
            if (
                entry.tree is not None
                and entry.tree not in self._sound
                and not self._open(snapshot.id, entry.tree, below, stack, hits)
            ):
                hits[-1] += 1

    def _open(
        self,
        snapshot: SnapshotId,
        tree: ObjectId,
        path: bytes,
        stack: list[tuple[ObjectId, bytes, Iterator[Entry]]],
        hits: list[int],
        *,
        root: bool = False,
    ) -> bool:
        try:
            entries = list(Directory(tree, self._repository.tree, root=root).entries())
        except (Damaged, OSError):
            self._note(tree, snapshot, path or b".")
            return False
        stack.append((tree, path, iter(entries)))
        hits.append(0)
        return True

    def _note(self, object_id: ObjectId | None, snapshot: SnapshotId, path: bytes) -> None:
        damage = self._bad.get(object_id) if object_id is not None else None
        if damage is not None and (snapshot, path) not in damage.reaches[-1:]:
            damage.reaches.append((snapshot, path))
