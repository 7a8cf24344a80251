"""What a repair will do: decided before anything is changed, and printed as it stands by a dry run."""

from collections.abc import Callable
from dataclasses import dataclass, field

from backup.model.ids import ObjectId, PackId, SegmentId, SnapshotId
from backup.objects.pack import Place


@dataclass(frozen=True)
class BrokenPack:
    """A pack that does not hash to its name, or that is not there (`missing`).

    `sound`: the objects that its blocks still hold and no sound pack does, with the kind of their block.
    `lost`: how many others it held, as far as anything tells.
    """

    id: PackId
    reason: str
    missing: bool
    sound: dict[ObjectId, tuple[int, Place]]
    lost: int


@dataclass(frozen=True)
class ManifestRepair:
    """A damaged manifest. `data` and `id`: what can be made of it; else it is moved aside. `told`: what it
    still says, for people.
    """

    key: str
    reason: str
    told: str
    id: SnapshotId | None = None
    data: bytes = b""


@dataclass(frozen=True)
class Remedy:
    """Where a missing object's bytes are: `origin` for people; `fetch` raises `Damaged` or OSError."""

    kind: int
    origin: str
    fetch: Callable[[], bytes]


@dataclass
class Plan:
    """`mended`: packs that their parity makes whole; `parity`: those that lack it, with their sizes in bytes.
    `unlisted`: sound packs that no sound segment lists. `segments`: damaged ones, with what is wrong.
    `vanished`: snapshots without their manifest. `missing`: objects that stay so; `reaches`: who needs them,
    snapshots and paths. `discarded`: files in quarantine/ that are deleted, with their sizes in bytes.
    """

    config: str = ""
    packs: list[BrokenPack] = field(default_factory=list)
    unlisted: list[PackId] = field(default_factory=list)
    segments: list[tuple[SegmentId, str]] = field(default_factory=list)
    manifests: list[ManifestRepair] = field(default_factory=list)
    mended: list[PackId] = field(default_factory=list)
    parity: list[tuple[PackId, int]] = field(default_factory=list)
    vanished: list[SnapshotId] = field(default_factory=list)
    remedies: dict[ObjectId, Remedy] = field(default_factory=dict)
    missing: set[ObjectId] = field(default_factory=set)
    reaches: list[tuple[SnapshotId, bytes]] = field(default_factory=list)
    discarded: list[tuple[str, int]] = field(default_factory=list)

    @property
    def lost(self) -> list[ManifestRepair]:
        """Snapshots of which nothing can be made."""
        return [manifest for manifest in self.manifests if manifest.id is None]

    @property
    def broken(self) -> set[PackId]:
        return {pack.id for pack in self.packs}

    @property
    def empty(self) -> bool:
        """Nothing has to be done; something may be missing all the same."""
        return not (
            self.config
            or self.packs
            or self.mended
            or self.parity
            or self.unlisted
            or self.segments
            or self.manifests
            or self.vanished
            or self.remedies
        )
