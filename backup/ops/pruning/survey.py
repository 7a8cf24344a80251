"""What all packs hold, by the truth: segments, and a pack's own footer where no segment lists it.

Every object has a number, its position among all names in order; so a million objects take some 50 MB.
"""

from array import array
from collections.abc import Iterable, Iterator

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId
from backup.objects.pack import PackRecord
from backup.objects.reader import read_pack_footer
from backup.ops.pruning.copies import Copies
from backup.ops.pruning.monitor import Monitor
from backup.ops.pruning.names import Names, split
from backup.repository import Repository


class Contents:
    """One pack. Of each of its objects: the number, the length, and its share of the bytes on disk."""

    __slots__ = ("id", "kind", "lengths", "listed", "numbers", "shares", "size")

    def __init__(self, pack: PackRecord, numbers: "array[int]", listed: bool) -> None:
        self.id = pack.id
        self.size = pack.size
        self.listed = listed
        self.kind = pack.blocks[0].kind if pack.blocks else 0
        self.numbers = numbers
        self.lengths = array("I", (length for block in pack.blocks for _, length in block.objects))
        self.shares = array(
            "I",
            (
                block.size * length // max(block.plain, 1)
                for block in pack.blocks
                for _, length in block.objects
            ),
        )


class Survey:
    """`unreadable` are packs that neither a segment nor their own footer tells of: they are left alone."""

    def __init__(self, repository: Repository, monitor: Monitor) -> None:
        self._repository = repository
        self._monitor = monitor
        self.packs: list[Contents] = []
        self.unreadable: set[PackId] = set()
        self.copies = Copies(repository)
        #: What other processes stored after the look at all packs.
        self._late: set[ObjectId] = set()
        self._known: set[PackId] = set()
        self.names = self._read()
        #: Needed, by an object's number.
        self.used = bytearray(len(self.names))

    def _read(self) -> Names:
        standing = dict(self._repository.inventory.packs())
        self._monitor.step("packs", len(standing))
        waiting: list[tuple[Contents, bytes]] = []
        for pack, listed in self._records(standing):
            own = b"".join(name for block in pack.blocks for name, _ in block.objects)
            waiting.append((Contents(pack, array("I"), listed), own))
            self._monitor.advance(1)
        names = Names(own for _, own in waiting)
        # Taken from the end, so that the names of packs go while the arrays come.
        while waiting:
            contents, own = waiting.pop()
            contents.numbers = array("I", map(names.number, split(own)))
            self.packs.append(contents)
        return names

    def _records(self, standing: dict[PackId, int]) -> Iterator[tuple[PackRecord, bool]]:
        """Every pack that stands, once, and whether a segment lists it."""
        for pack in self._repository.inventory.listed_packs():
            if pack.id in standing and pack.id not in self._known:
                self._known.add(pack.id)
                yield pack, True
        for pack_id, size in standing.items():
            if pack_id not in self._known and (record := self._by_footer(pack_id, size)) is not None:
                yield record, False

    def _by_footer(self, pack: PackId, size: int) -> PackRecord | None:
        self._known.add(pack)
        try:
            return PackRecord(pack, size, read_pack_footer(self._repository.storage, pack, size))
        except FileNotFoundError:
            return None
        except Damaged as error:
            self.unreadable.add(pack)
            self._monitor.notice(f"{error}: it is left as it is; `imbfs check` tells more")
            return None

    def add(self, pack: PackRecord) -> None:
        """Takes in a pack that was made of objects that are known."""
        numbers = [self.names.number(name) for block in pack.blocks for name, _ in block.objects]
        self._known.add(pack.id)
        if -1 not in numbers:
            self.packs.append(Contents(pack, array("I", numbers), True))

    def use(self, names: Iterable[ObjectId]) -> list[ObjectId]:
        """Notes that these are needed; gives those that no pack holds."""
        lacking = []
        for name in names:
            number = self.names.number(name)
            if number >= 0:
                self.used[number] = 1
            elif name not in self._late:
                lacking.append(name)
        return self._look_again(lacking) if lacking else lacking

    def _look_again(self, names: list[ObjectId]) -> list[ObjectId]:
        """Another process may have stored them since; what it stored is not ours to prune."""
        for pack, size in self._repository.inventory.packs():
            if pack not in self._known and (record := self._by_footer(pack, size)) is not None:
                self._late.update(name for block in record.blocks for name, _ in block.objects)
        return [name for name in names if name not in self._late]
