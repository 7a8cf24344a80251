"""What to do with each pack. Decided from figures alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from backup.model.ids import PackId

#: A pack below this part of the size, and of the objects, that make one full is small.
SMALL = 0.25
FULL_OBJECTS = 1 << 16
#: So many small packs of a kind may stay: what a few backups have left.
FEW = 8


class PackUse(NamedTuple):
    """How much of a pack is needed: objects, plain bytes, and bytes on disk (`size` is the whole file).

    An object that several packs hold counts as needed in one of them. `kind` is that of its blocks.
    `young`: a backup that is still running may have written it, and no snapshot needs it yet.
    """

    id: PackId
    size: int
    objects: int
    used_objects: int
    plain: int
    used_plain: int
    stored: int
    used_stored: int
    kind: int = 0
    condemned: bool = False
    young: bool = False

    @property
    def unused(self) -> int:
        """Bytes on disk that nothing needs."""
        return self.stored - self.used_stored


@dataclass(frozen=True)
class Plan:
    """`unused` packs go; of `repacked` ones, what is needed is copied first, then they go; so it is with
    small ones that are `merged`. `condemned` is what an earlier prune left to be deleted, and `unused_left`
    the unused bytes that stay.
    """

    unused: list[PackUse] = field(default_factory=list)
    repacked: list[PackUse] = field(default_factory=list)
    merged: list[PackUse] = field(default_factory=list)
    condemned: list[PackUse] = field(default_factory=list)
    kept: list[PackUse] = field(default_factory=list)

    @property
    def going(self) -> list[PackUse]:
        return [*self.condemned, *self.unused, *self.copied]

    @property
    def copied(self) -> list[PackUse]:
        return [*self.repacked, *self.merged]

    @property
    def objects_removed(self) -> int:
        return sum(pack.objects - pack.used_objects for pack in self.going)

    @property
    def bytes_plain(self) -> int:
        """Of the objects that are removed."""
        return sum(pack.plain - pack.used_plain for pack in self.going)

    @property
    def bytes_freed(self) -> int:
        """On disk, less what is copied."""
        return sum(pack.size - pack.used_stored for pack in self.going)

    @property
    def bytes_copied(self) -> int:
        return sum(pack.used_stored for pack in self.copied)

    @property
    def unused_left(self) -> int:
        return sum(pack.unused for pack in self.kept)


def make_plan(packs: Sequence[PackUse], max_unused: float, pack_size: int) -> Plan:
    """`max_unused` is a share (0.05: 5 %): so much of what stays may be unused. `pack_size` is a full one's.

    Packs with the largest unused share are repacked first, until the rest is below that. Small ones are
    merged where more than a few of a kind would stay.
    """
    condemned = [pack for pack in packs if pack.condemned and not pack.used_objects]
    standing = [pack for pack in packs if not pack.condemned]
    unused = [pack for pack in standing if not pack.used_objects and not pack.young]
    kept = [pack for pack in standing if pack.used_objects or pack.young]
    left = sum(pack.unused for pack in kept)
    total = sum(pack.size for pack in kept)
    repacked: list[PackUse] = []
    for pack in sorted(kept, key=lambda pack: (-pack.unused / max(pack.stored, 1), pack.id)):
        if pack.unused == 0 or left <= max_unused * total:
            break
        if not pack.young:
            repacked.append(pack)
            left -= pack.unused
            total -= pack.size - pack.used_stored
    chosen = {pack.id for pack in repacked}
    merged = _too_many_small([pack for pack in kept if pack.id not in chosen], pack_size)
    chosen |= {pack.id for pack in merged}
    return Plan(unused, repacked, merged, condemned, [pack for pack in kept if pack.id not in chosen])


def _too_many_small(packs: Sequence[PackUse], pack_size: int) -> list[PackUse]:
    merged: list[PackUse] = []
    small = [
        pack
        for pack in packs
        if pack.size < SMALL * pack_size and pack.objects < SMALL * FULL_OBJECTS and not pack.young
    ]
    for kind in sorted({pack.kind for pack in small}):
        alike = [pack for pack in small if pack.kind == kind]
        merged += alike if len(alike) > FEW else []
    return merged
