"""Plain files on their way to whoever writes them, and the directories that wait for them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from backup.index import Index
from backup.objects.blocks import Spot
from backup.ops.restoring.plain import NOWHERE, Chunks, Places, PlainFile
from backup.snapshots.tree import Page


class Folder:
    """A directory whose plain files are being written. Owns a descriptor until they all are."""

    __slots__ = ("awaited", "fd", "finish", "path", "there")

    def __init__(self, fd: int, path: bytes, there: set[bytes]) -> None:
        self.fd = fd
        self.path = path
        #: Names that it had before.
        self.there = there
        self.awaited = 0
        #: What is still to be done with the directory, given its descriptor, when its files are written.
        self.finish: Callable[[int], None] | None = None

    def inner(self, name: bytes) -> bytes:
        return self.path + b"/" + name if self.path else name


@dataclass(slots=True)
class Batch:
    """Plain files of a few folders."""

    #: And where each is in its tree.
    files: list[PlainFile] = field(default_factory=list)
    rows: list[tuple[Page, int]] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    #: How many files are in each of them.
    counts: list[int] = field(default_factory=list)
    #: Bytes, with holes and without.
    size: int = 0
    data: int = 0

    def placed(self, index: Index) -> tuple[list[Places], list[Spot]]:
        """For each file, where its chunks are; the blocks that those are in. Counts the data."""
        found = index.places({name for file in self.files for _, _, name in file[8]})
        spots: dict[Spot, int] = {}
        placed: list[Places] = []
        for file in self.files:
            places = []
            for _, length, name in file[8]:
                self.data += length
                place = found.get(name)
                # A chunk without a place is for the one that looks everywhere.
                if place is None:
                    places.append(NOWHERE)
                else:
                    places.append((spots.setdefault(place[:3], len(spots)), place.offset))
            placed.append(places)
        return placed, list(spots)


def data_of(chunks: Chunks) -> int:
    """Bytes that are no holes."""
    return sum(length for _, length, _ in chunks)
