"""What all packs hold, by the truth: segments, and a pack's own footer where no segment lists it.

Every object has a number, its position among all names in order; so a million objects take some 100 MB.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId
from backup.objects.pack import PackRecord
from backup.objects.reader import read_pack_footer
from backup.ops.pruning.monitor import Monitor
from backup.repository import Repository


class Contents:
    """One pack. Of each of its objects: the number, the length, and its share of the bytes on disk."""

    __slots__ = ("id", "lengths", "listed", "numbers", "shares", "size")

    def __init__(self, pack: PackRecord, numbers: "array[int]", listed: bool) -> None:
        self.id = pack.id
        self.size = pack.size
        self.listed = listed
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
        self.names: list[ObjectId] = []
        self.packs: list[Contents] = []
        self.unreadable: set[PackId] = set()
        #: Needed, by an object's number.
        self.used = bytearray()
        #: What other processes stored after the look at all packs.
        self._late: set[ObjectId] = set()
        self._known: set[PackId] = set()
        self._read()

    def _read(self) -> None:
        standing = dict(self._repository.stored_packs())
        self._monitor.step("packs", len(standing))
        names: list[ObjectId] = []
        waiting: list[tuple[Contents, list[ObjectId]]] = []
        for pack, listed in self._records(standing):
            own = [name for block in pack.blocks for name, _ in block.objects]
            waiting.append((Contents(pack, array("I"), listed), own))
            names += own
            self._monitor.advance(1)
        names.sort()
        self.names = [name for number, name in enumerate(names) if not number or names[number - 1] != name]
        self.used = bytearray(len(self.names))
        # Taken from the end, so that the lists of names go while the arrays come.
        while waiting:
            contents, own = waiting.pop()
            contents.numbers = self._numbers(own)
            self.packs.append(contents)

    def _records(self, standing: dict[PackId, int]) -> Iterator[tuple[PackRecord, bool]]:
        """Every pack that stands, once, and whether a segment lists it."""
        for pack in self._repository.listed_packs():
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

    def _numbers(self, names: Iterable[ObjectId]) -> "array[int]":
        return array("I", (bisect_left(self.names, name) for name in names))

    def add(self, pack: PackRecord) -> None:
        """Takes in a pack that was made of objects that are known."""
        known = [name for block in pack.blocks for name, _ in block.objects]
        self._known.add(pack.id)
        if all(map(self._is_known, known)):
            self.packs.append(Contents(pack, self._numbers(known), True))

    def _is_known(self, name: ObjectId) -> bool:
        number = bisect_left(self.names, name)
        return number < len(self.names) and self.names[number] == name

    def use(self, names: Iterable[ObjectId]) -> list[ObjectId]:
        """Notes that these are needed; gives those that no pack holds."""
        lacking = []
        for name in names:
            number = bisect_left(self.names, name)
            if number < len(self.names) and self.names[number] == name:
                self.used[number] = 1
            elif name not in self._late:
                lacking.append(name)
        return self._look_again(lacking) if lacking else lacking

    def _look_again(self, names: list[ObjectId]) -> list[ObjectId]:
        """Another process may have stored them since; what it stored is not ours to prune."""
        for pack, size in self._repository.stored_packs():
            if pack not in self._known and (record := self._by_footer(pack, size)) is not None:
                self._late.update(name for block in record.blocks for name, _ in block.objects)
        return [name for name in names if name not in self._late]
