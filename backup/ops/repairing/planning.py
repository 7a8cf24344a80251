"""Finding all that is wrong, and deciding what to do about it. Nothing is changed here."""

from collections import deque
from collections.abc import Iterable, Iterator

from backup.model.errors import Damaged, ImbfsError
from backup.model.ids import ObjectId, PackId, SegmentId
from backup.objects.pack import BlockRecord, PackRecord, Place
from backup.objects.parity import mended_pack
from backup.objects.reader import read_pack_footer
from backup.objects.salvage import sound_objects
from backup.ops.checking.parity import has_parity
from backup.ops.checking.reading import read_packs
from backup.ops.checking.report import Monitor, Report
from backup.ops.checking.snapshots import find_reached
from backup.ops.repairing.manifests import damaged_manifests
from backup.ops.repairing.needs import Needs
from backup.ops.repairing.plan import BrokenPack, Plan
from backup.ops.repairing.remedies import Remedies
from backup.repository import Repository
from backup.snapshots.manifest import Snapshot


def make_plan(
    repository: Repository, other: Repository | None, sources: Iterable[bytes], monitor: Monitor
) -> Plan:
    """Reads every pack, and looks for the bytes of all that is missing."""
    plan = Plan()
    _look_at_packs(repository, plan, monitor)
    plan.manifests = damaged_manifests(repository)
    plan.vanished = sorted(repository.missing_snapshots())
    _Search(repository, plan).run(Remedies(repository, other, sources), monitor)
    return plan


def _listed(repository: Repository, damaged: list[tuple[SegmentId, str]]) -> Iterator[PackRecord]:
    """Of one segment at a time: all of them would take much memory."""
    for segment in repository.inventory.segments():
        try:
            yield from repository.inventory.read_segment(segment)
        except (Damaged, OSError) as error:
            damaged.append((segment, str(error)))


def _look_at_packs(repository: Repository, plan: Plan, monitor: Monitor) -> None:
    stored = dict(repository.inventory.packs())
    monitor.step("packs", sum(stored.values()))
    wrong = {
        read.pack: read.wrong
        for read in read_packs(repository, sorted(stored), monitor.advance)
        if read.wrong
    }
    plan.mended = [pack for pack in sorted(wrong) if _can_be_mended(repository, pack)]
    wrong = {pack: reason for pack, reason in wrong.items() if pack not in plan.mended}
    if repository.config.parity:
        plan.parity = [
            (pack, size)
            for pack, size in sorted(stored.items())
            if pack not in wrong and not has_parity(repository, pack)
        ]
    told: dict[PackId, list[BlockRecord]] = {pack: [] for pack in wrong}
    listed: set[PackId] = set()
    for record in _listed(repository, plan.segments):
        listed.add(record.id)
        if record.id not in stored:
            wrong[record.id] = "the pack is missing"
            told.setdefault(record.id, [])
        if record.id in told:
            told[record.id] += record.blocks
    plan.unlisted = sorted(stored.keys() - listed - wrong.keys())
    for pack in wrong.keys() & stored.keys():
        told[pack] += _own_footer(repository, pack, stored[pack])
    saved: set[ObjectId] = set()
    for pack in sorted(wrong):
        names = {name for block in told[pack] for name, _ in block.objects}
        sound = _sound(repository, pack, told[pack], names, set(wrong), saved) if pack in stored else {}
        saved |= sound.keys()
        elsewhere = {
            name for name in names - sound.keys() if name in saved or _kept(repository, name, set(wrong))
        }
        lost = len(names) - len(names & sound.keys()) - len(elsewhere)
        plan.packs.append(BrokenPack(pack, wrong[pack], pack not in stored, sound, lost))


def _can_be_mended(repository: Repository, pack: PackId) -> bool:
    try:
        deque(mended_pack(repository.storage, pack, repository.config.hash), maxlen=0)
    except (ImbfsError, OSError):
        return False
    return True


def _own_footer(repository: Repository, pack: PackId, size: int) -> Iterable[BlockRecord]:
    try:
        return read_pack_footer(repository.storage, pack, size)
    except (Damaged, OSError):
        return ()


def _sound(
    repository: Repository,
    pack: PackId,
    told: list[BlockRecord],
    names: set[ObjectId],
    broken: set[PackId],
    saved: set[ObjectId],
) -> dict[ObjectId, tuple[int, Place]]:
    """What the pack holds and nothing sound does. Where nothing tells its names, all counts that decodes."""
    offsets = [block.offset for block in told]
    return {
        name: (kind, place)
        for name, kind, place in sound_objects(repository.storage, pack, offsets, repository.name)
        if (not names or name in names) and name not in saved and not _kept(repository, name, broken)
    }


def _kept(repository: Repository, name: ObjectId, broken: set[PackId]) -> bool:
    """Whether a pack that is not broken has the object."""
    place = repository.index.place(name)
    if place is not None and place.pack not in broken:
        return True
    return any(place.pack not in broken for place in repository.lookup.true_places(name))


class _Search:
    """For what the snapshots need and no sound pack has."""

    def __init__(self, repository: Repository, plan: Plan) -> None:
        self._repository = repository
        self._plan = plan
        self._broken = plan.broken
        self._saved = {name: place for pack in plan.packs for name, (_, place) in pack.sound.items()}

    def run(self, remedies: Remedies, monitor: Monitor) -> None:
        plan = self._plan
        self._remedies = remedies
        snapshots = list(self._snapshots())[::-1]
        needs = Needs(self._read, self._have)
        monitor.step("snapshots", len(snapshots))
        for snapshot in snapshots:
            needs.collect([snapshot])
            monitor.advance(1)
        monitor.step("missing objects", len(needs.chunks))
        for name, ranges in needs.chunks.items():
            if remedy := remedies.chunk(name, ranges):
                plan.remedies[name] = remedy
            monitor.advance(1)
        plan.missing = needs.trees | (needs.chunks.keys() - plan.remedies.keys())
        if plan.missing:
            report = Report()
            damage = report.found("missing", "missing", plan.missing)
            find_reached(snapshots, report, self._read)
            plan.reaches = damage.reaches

    def _snapshots(self) -> Iterator[Snapshot]:
        yield from self._repository.catalogue.snapshots(problem=lambda _: None)

    def _have(self, name: ObjectId) -> bool:
        return name in self._saved or _kept(self._repository, name, self._broken)

    def _read(self, tree: ObjectId) -> bytes | memoryview:
        """A tree from where it will be after the repair."""
        if tree in self._saved:
            return self._repository.reader.read_at(tree, self._saved[tree])
        if self._have(tree):
            return self._repository.tree(tree)
        if tree not in self._plan.remedies:
            remedy = self._remedies.tree(tree)
            if remedy is None:
                raise Damaged(f"tree {tree.hex()[:12]} is missing")
            self._plan.remedies[tree] = remedy
        return self._plan.remedies[tree].fetch()
