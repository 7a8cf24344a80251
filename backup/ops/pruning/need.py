"""What is needed: all that snapshots reach, and what is shown by a mount or being restored."""

from array import array
from collections.abc import Collection, Container, Iterable

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId, SnapshotId
from backup.ops.pruning.monitor import Monitor
from backup.ops.pruning.plan import PackUse
from backup.ops.pruning.survey import Contents, Survey
from backup.repository import Repository
from backup.repository.leases import Lease
from backup.snapshots.reach import reachable

NOBODY = 0xFFFFFFFF


class Need:
    """Visits each distinct tree once, however many snapshots share it."""

    def __init__(self, repository: Repository, survey: Survey, monitor: Monitor) -> None:
        self._repository = repository
        self._survey = survey
        self._monitor = monitor
        self._seen: set[ObjectId] = set()
        self._roots: set[ObjectId] = set()
        #: Chunks that snapshots need and no pack holds.
        self.missing: set[ObjectId] = set()

    def add_snapshots(self, without: Collection[SnapshotId] = ()) -> None:
        """All that stand now, `without` some. Raises `Damaged` where one cannot be read."""
        catalogue = self._repository.catalogue
        ids = [snapshot for snapshot in catalogue.ids() if snapshot not in without]
        self._monitor.step("snapshots", len(ids))
        for snapshot in ids:
            try:
                self._add(catalogue.read(snapshot).root)
            except FileNotFoundError:
                continue
            self._monitor.advance(1)

    def add_leases(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            for root in lease.snapshots.values():
                try:
                    self._add(ObjectId(bytes.fromhex(root)))
                except (Damaged, ValueError) as error:
                    # It cannot be read by whoever shows it, either.
                    self._monitor.notice(f"{lease.who()} shows what cannot be read: {error}")

    def _add(self, root: ObjectId) -> None:
        if root in self._roots:
            return
        for objects in reachable(root, self._repository.tree, self._seen):
            lacking = self._survey.use(objects.names)
            if lacking and not objects.chunks:
                raise Damaged(f"tree {lacking[0].hex()[:12]} is missing from the repository")
            self.missing.update(lacking)
        self._roots.add(root)


class Holders:
    """Which pack each needed object is counted in: of several copies, the one in the pack that stays. Where
    all of them are damaged, each counts.
    """

    def __init__(self, survey: Survey, condemned: Container[PackId]) -> None:
        self._survey = survey
        self._condemned = condemned
        self._holder = array("I", [NOBODY]) * len(survey.names)
        packs = survey.packs
        if sum(len(pack.numbers) for pack in packs) > len(survey.names):
            packs = sorted(packs, key=self._preference)
        self._packs = packs
        self._position = {pack.id: position for position, pack in enumerate(packs)}
        #: Of which no copy is sound: each counts, for what one has lost another, or its parity, may tell.
        self._unsound: set[int] = set()
        twice = bytearray(len(survey.names))
        for position, pack in enumerate(packs):
            for number in pack.numbers:
                if survey.used[number]:
                    if self._holder[number] == NOBODY:
                        self._holder[number] = position
                    elif self._holder[number] != position:
                        twice[number] = 1
        if any(twice):
            self._prefer_sound(twice)

    def _prefer_sound(self, undecided: bytearray) -> None:
        """A copy whose bytes have changed is none: the first sound one counts."""
        for position, pack in enumerate(self._packs):
            here = {self._survey.names[number]: number for number in pack.numbers if undecided[number]}
            if not here:
                continue
            damaged = self._survey.copies.damaged(pack.id, pack.size, set(here))
            for name, number in here.items():
                if name not in damaged:
                    self._holder[number] = position
                    undecided[number] = 0
        self._unsound = {number for number, left in enumerate(undecided) if left}

    def _counts(self, number: int, position: int) -> bool:
        """Whether a needed object is counted in the pack at this position, which holds it."""
        return self._holder[number] == position or number in self._unsound

    def _preference(self, pack: Contents) -> tuple[bool, float, PackId]:
        used = sum(self._survey.used[number] for number in pack.numbers)
        return pack.id in self._condemned, -used / max(len(pack.numbers), 1), pack.id

    def uses(self, young: Collection[PackId] = ()) -> list[PackUse]:
        return [self._use(position, pack, pack.id in young) for position, pack in enumerate(self._packs)]

    def _use(self, position: int, pack: Contents, young: bool) -> PackUse:
        mine = [place for place, number in enumerate(pack.numbers) if self._counts(number, position)]
        return PackUse(
            id=pack.id,
            size=pack.size,
            objects=len(pack.numbers),
            used_objects=len(mine),
            plain=sum(pack.lengths),
            used_plain=sum(pack.lengths[place] for place in mine),
            stored=sum(pack.shares),
            used_stored=sum(pack.shares[place] for place in mine),
            kind=pack.kind,
            condemned=pack.id in self._condemned,
            young=young,
        )

    def needed_in(self, pack: PackId) -> set[ObjectId]:
        """The objects that are counted in this pack."""
        position, names = self._position[pack], self._survey.names
        return {names[number] for number in self._packs[position].numbers if self._counts(number, position)}

    def rescued(self) -> set[PackId]:
        """Condemned packs that hold something needed which no other pack has."""
        return {
            pack.id
            for position, pack in enumerate(self._packs)
            if pack.id in self._condemned and any(self._counts(number, position) for number in pack.numbers)
        }
