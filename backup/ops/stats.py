"""What a repository takes, and which snapshot how much of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from backup.model.ids import ObjectId, SnapshotId
from backup.objects.pack import Place
from backup.ops.measuring.amounts import Amount, Divided, by_references, divide, total
from backup.ops.measuring.reach import Reach
from backup.repository import Repository
from backup.repository.layout import QUARANTINE
from backup.snapshots.manifest import Snapshot

#: Objects that are looked up at once.
BATCH = 1 << 14


@dataclass
class Stats:
    """`snapshots` are oldest first, `divided` in their order. Sizes in bytes.

    `missing` counts objects that are reached and have no place; `damaged` trees that cannot be read, and
    with them all below is not counted. `contents` is what only the content store reaches, `unreachable` what
    nothing does. `quarantined` are files that repairs moved aside.
    """

    snapshots: list[Snapshot]
    divided: list[Divided]
    #: What each set of snapshots reaches; a set is a number, with a bit for each of `snapshots`.
    by_set: dict[int, Amount]
    data: Amount
    trees: Amount
    contents: Amount
    unreachable: Amount
    missing: int
    damaged: int
    packs: int
    packs_size: int
    segments: int
    segments_size: int
    index_size: int
    quarantined: int
    quarantined_size: int
    references: dict[int, Amount] = field(default_factory=dict)

    @property
    def reached(self) -> Amount:
        return self.data + self.trees

    def only_in(self, chosen: Iterable[SnapshotId]) -> Amount:
        """What none but these reach: what pruning frees once they are forgotten."""
        wanted = set(chosen)
        bits = sum(1 << number for number, each in enumerate(self.snapshots) if each.id in wanted)
        return total(amount for snapshots, amount in self.by_set.items() if not snapshots & ~bits)


def stats(repository: Repository) -> Stats:
    """Looks at every tree that a snapshot reaches, and at where each object lies; reads no data."""
    snapshots = repository.snapshots()
    reach = Reach(repository.tree)
    reach.add([snapshot.root for snapshot in snapshots])
    held = Reach(repository.tree)
    held.add([content.root for content in repository.contents()])
    count = _Count(reach, held)
    packs = dict(repository.inventory.packs())
    for name, place in _places(repository):
        if place.pack in packs:
            count.add(name, place)
    segments = [size for _, size in repository.storage.list("index")]
    quarantined = [size for _, size in repository.storage.list(QUARANTINE)]
    return Stats(
        snapshots=snapshots,
        divided=divide(len(snapshots), count.by_set),
        by_set=count.by_set,
        data=count.data,
        trees=count.trees,
        contents=count.contents,
        unreachable=count.unreachable,
        missing=reach.objects - count.data.objects - count.trees.objects,
        damaged=len(reach.damaged),
        packs=len(packs),
        packs_size=sum(packs.values()),
        segments=len(segments),
        segments_size=sum(segments),
        index_size=repository.index.status().bytes,
        quarantined=len(quarantined),
        quarantined_size=sum(quarantined),
        references=by_references(count.by_set),
    )


class _Count:
    def __init__(self, reach: Reach, held: Reach) -> None:
        self._reach = reach
        self._held = held
        self.by_set: dict[int, Amount] = {}
        self.data = Amount()
        self.trees = Amount()
        self.contents = Amount()
        self.unreachable = Amount()

    def add(self, name: ObjectId, place: Place) -> None:
        stored = place.block_size * place.length / max(place.plain, 1)
        for objects, kind in ((self._reach.data, self.data), (self._reach.trees, self.trees)):
            if (snapshots := objects.get(name)) is not None:
                kind.add(place.length, stored)
                self.by_set.setdefault(snapshots, Amount()).add(place.length, stored)
                return
        kept = name in self._held.data or name in self._held.trees
        (self.contents if kept else self.unreachable).add(place.length, stored)


def _places(repository: Repository) -> Iterator[tuple[ObjectId, Place]]:
    """Every object of the repository, once, and where it is read from."""
    names = repository.index.objects()
    while batch := list(islice(names, BATCH)):
        yield from repository.index.places(batch).items()
    unlisted = repository.lookup.unlisted()
    listed = repository.index.places(unlisted)
    yield from ((name, place) for name, place in unlisted.items() if name not in listed)
