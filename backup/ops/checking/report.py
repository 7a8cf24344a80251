"""What a check finds."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from backup.model.ids import ObjectId, SnapshotId


class Monitor(Protocol):
    """Is told how a check goes on."""

    def step(self, text: str, total: int) -> None:
        """A part of the check begins; `total` is how much there is to do in it."""

    def advance(self, amount: int) -> None: ...


@dataclass
class Damage:
    """One thing that is wrong. `reaches`: the snapshots, and the paths in them, that it harms."""

    what: str
    text: str
    objects: set[ObjectId] = field(default_factory=set)
    reaches: list[tuple[SnapshotId, bytes]] = field(default_factory=list)


@dataclass
class Report:
    """Counts of what was looked at, and all damage. `leftovers`: packs that nothing names."""

    damage: list[Damage] = field(default_factory=list)
    snapshots: int = 0
    packs: int = 0
    objects: int = 0
    trees: int = 0
    bytes_read: int = 0
    leftovers: int = 0
    #: What is worth knowing and no damage.
    notes: list[str] = field(default_factory=list)
    #: Every object known to be missing or wrong, with the damage that says so.
    bad: dict[ObjectId, Damage] = field(default_factory=dict)

    def found(self, what: str, text: str, objects: Iterable[ObjectId] = ()) -> Damage:
        damage = Damage(what, text, set(objects))
        self.damage.append(damage)
        for object_id in damage.objects:
            self.bad.setdefault(object_id, damage)
        return damage
