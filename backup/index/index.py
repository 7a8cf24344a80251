"""The index of one repository, in one LMDB file.

Tables: `objects` (object → place), `packs` (number → pack), `numbers` (pack → number and count of
objects), `segments` (segment → its packs' numbers), `trees` (tree → its bytes, compressed), `snapshots` (ids
seen), `meta`. `docs/format.md`, "Index".
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backup.index.file import IndexFile, Notice
from backup.index.rows import (
    NUMBER,
    PLACE,
    count_objects,
    drop_segments,
    encode_number,
    number_of,
    place_rows,
    put_pack,
    reserve_numbers,
    reserved,
)
from backup.index.trees import MAX_TREE
from backup.model.errors import Damaged
from backup.model.ids import ID_SIZE, ObjectId, PackId, SegmentId, SnapshotId
from backup.objects.block import compress, decompress
from backup.objects.pack import PackRecord, Place

if TYPE_CHECKING:
    import lmdb

    from backup.index.file import Tables

SCHEMA = b"imbfs index 4"
#: LMDB takes a page again only two transactions after the one that freed it.
SETTLING = 3
TABLES = ("meta", "numbers", "objects", "packs", "segments", "snapshots", "trees")
#: Rows read in one transaction where all are gone through.
BATCH = 1 << 13
#: Rows of objects that are written in one transaction.
STEP = 1 << 14


class IndexStatus(NamedTuple):
    """Counts of rows, and the bytes that the file takes up."""

    path: str
    objects: int
    packs: int
    segments: int
    trees: int
    bytes: int


class Index:
    """Owned by one repository. Reads may come from several threads; one writes at a time.

    A file that turns out damaged is replaced by an empty one, and `notice` is told: `replaced` has grown.
    """

    def __init__(self, path: Path, repository_id: str, notice: Notice) -> None:
        """Opens the index, or makes an empty one where none, or not ours, stands. Raises OSError."""
        self.path = path
        #: Of the file that was opened last. Numbers of packs are never given twice in one file.
        self._pack_of: dict[int, PackId] = {}
        self._identity = SCHEMA + b" " + repository_id.encode()
        self._file = IndexFile(path, TABLES, self._put_identity, notice)
        self._seen = 0
        if self._get("meta", b"identity", len(self._identity)) != self._identity:
            self.clear()

    @property
    def replaced(self) -> int:
        """How often all that was known has gone, and segments are to be added again."""
        return self._file.replaced

    def close(self) -> None:
        self._file.close()

    def preload(self) -> None:
        """Reads the file ahead, as far as there is memory. For a thread of its own. Raises nothing."""
        self._file.preload()

    def closed(self) -> AbstractContextManager[None]:
        """The file is closed meanwhile, so that a process can be forked: LMDB does not stand that."""
        return self._file.closed()

    def clear(self) -> None:
        """Empties every table but that of the snapshots seen."""

        def empty(txn: "lmdb.Transaction[bytes]", tables: "Tables") -> None:
            for name, table in tables.items():
                # What was seen is kept: it is how a manifest that vanishes is noticed.
                if name not in ("snapshots", "meta"):
                    txn.drop(table, delete=False)
            self._put_identity(txn, tables)

        self._file.write(empty)

    def _put_identity(self, txn: "lmdb.Transaction[bytes]", tables: "Tables") -> None:
        txn.put(b"identity", self._identity, db=tables["meta"])

    def recreate(self) -> None:
        """Starts over with a new file."""
        self._file.replace()

    def problems(self) -> list[str]:
        """What is wrong with the file's structure; empty where nothing is. Reads all of it."""
        return self._file.problems()

    def _get(self, table: str, key: bytes, most: int) -> bytes | None:
        return self._file.get(table, key, most)

    # Objects

    def place(self, object_id: ObjectId) -> Place | None:
        """Where the object is; None where no pack of a standing segment holds it."""
        row = self._get("objects", object_id, PLACE.size)
        return None if row is None else self._place(row)

    def _place(self, row: bytes | memoryview) -> Place | None:
        if len(row) != PLACE.size:
            return None
        number, block_offset, block_size, plain, offset, length, codec = PLACE.unpack(row)
        pack = self._pack(number)
        if pack is None:
            return None
        return Place(pack, block_offset, block_size, plain, codec, offset, length)

    def _pack(self, number: int) -> PackId | None:
        if self._seen != self.replaced:
            self._seen, self._pack_of = self.replaced, {}
        found = self._pack_of.get(number)
        if found is None:
            pack = self._get("packs", NUMBER.pack(number), ID_SIZE)
            if pack is None or len(pack) != ID_SIZE:
                return None
            found = self._pack_of[number] = PackId(pack)
        return found

    def packs(self) -> set[PackId]:
        return self._file.read(
            lambda txn, tables: {
                PackId(bytes(pack)) for _, pack in txn.cursor(tables["packs"]) if len(pack) == ID_SIZE
            }
        )

    def places(self, objects: Iterable[ObjectId]) -> dict[ObjectId, Place]:
        """The places of those objects that are known; many are asked for at once."""
        asked = sorted(objects)
        rows = self._file.read(
            lambda txn, tables: [
                (ObjectId(bytes(key)), bytes(row))
                for key, row in txn.cursor(tables["objects"]).getmulti(asked)
                if len(row) == PLACE.size
            ]
        )
        found = {}
        for name, row in rows:
            number, block_offset, block_size, plain, offset, length, codec = PLACE.unpack(row)
            pack = self._pack(number)
            if pack is not None:
                found[name] = Place(pack, block_offset, block_size, plain, codec, offset, length)
        return found

    def packs_of(self, objects: Iterable[ObjectId]) -> dict[ObjectId, PackId]:
        """The packs of those objects that are known; many are asked for at once."""
        asked = sorted(objects)
        rows = self._file.read(
            lambda txn, tables: [
                (ObjectId(bytes(key)), int.from_bytes(row[:4], "little"))
                for key, row in txn.cursor(tables["objects"]).getmulti(asked)
                if len(row) == PLACE.size
            ]
        )
        return {name: pack for name, number in rows if (pack := self._pack(number))}

    def objects(self) -> Iterator[ObjectId]:
        """Every object's name, in order."""
        return map(ObjectId, self._keys("objects"))

    def _keys(self, table: str) -> Iterator[bytes]:
        after = b""
        while names := self._file.read(partial(_names, table, after)):
            yield from names
            after = names[-1]

    # Trees

    def tree(self, tree_id: ObjectId) -> bytes | None:
        """The tree's plain bytes; None where they are not kept, or damaged. Not checked against the name."""
        frame = self._get("trees", tree_id, MAX_TREE)
        if frame is None:
            return None
        try:
            return decompress(frame, MAX_TREE)
        except Damaged:
            return None

    def lacks_trees(self, trees: Iterable[ObjectId]) -> bool:
        """Whether any of these is not kept."""
        asked = list(trees)
        return self._file.read(
            lambda txn, tables: any(txn.get(name, db=tables["trees"]) is None for name in asked)
        )

    def trees(self) -> Iterator[ObjectId]:
        """The names of all trees that are kept, in order."""
        return map(ObjectId, self._keys("trees"))

    def add_trees(self, trees: Iterable[tuple[ObjectId, bytes]]) -> None:
        rows = _rows_of_trees(trees)

        def add(txn: "lmdb.Transaction[bytes]", tables: "Tables") -> None:
            with txn.cursor(tables["trees"]) as cursor:
                cursor.putmulti(rows, overwrite=True)

        self._file.write(add)

    # Segments

    def segments(self) -> set[SegmentId]:
        return self._file.read(
            lambda txn, tables: {
                SegmentId(bytes(key)) for key, _ in txn.cursor(tables["segments"]) if len(key) == ID_SIZE
            }
        )

    def add_segment(
        self,
        segment: SegmentId,
        packs: Iterable[PackRecord],
        trees: Iterable[tuple[ObjectId, bytes]] = (),
    ) -> None:
        """Takes in what a segment lists. A newer place replaces an older one.

        Of a pack that is known, all objects have their places already. Those of the others count from the
        last transaction on, which makes their numbers known.
        """
        packs = list(packs)
        if sum(count_objects(pack) for pack in packs) <= STEP:
            self._file.write(partial(_add_whole, segment, packs, _rows_of_trees(trees)))
        else:
            self.add_trees(trees)
            self._add_in_steps(segment, packs)

    def _add_in_steps(self, segment: SegmentId, packs: list[PackRecord]) -> None:
        numbers: dict[PackId, int] = {}
        self._file.write(partial(_reserve, packs, numbers))
        others = self._add_new(_rows_of_objects(packs, numbers))
        self._file.write(partial(_complete, segment, packs, numbers, others))

    def _add_new(self, rows: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Adds rows of objects that have none, some at a time; returns those that may be among the others.

        In the order of the names, so that each page is written once: what a transaction changes is in memory
        until its end, and all rows of a segment lie on nearly all pages.
        """
        others: list[tuple[bytes, bytes]] = []

        def add(some: list[tuple[bytes, bytes]], txn: "lmdb.Transaction[bytes]", tables: "Tables") -> None:
            with txn.cursor(tables["objects"]) as cursor:
                _, added = cursor.putmulti(some, overwrite=False)
            if added < len(some):
                others.extend(some)

        for at in range(0, len(rows), STEP):
            self._file.write(partial(add, rows[at : at + STEP]))
        return others

    def begin_sync(self, standing: set[SegmentId]) -> list[SegmentId]:
        """The segments still to be added, given those that stand in the repository."""
        self._file.follow()
        return sorted(standing - self.segments())

    def end_sync(self, standing: set[SegmentId], listed: Callable[[], Iterable[PackRecord]]) -> bool:
        """Drops what segments told that have gone, and no other tells. Call it when the new ones are added.

        `listed` gives the packs of the standing segments: asked where one of them may hold what a pack
        held that goes. Returns whether anything was dropped.
        """
        if self.segments() <= standing:
            return False
        self._file.write(partial(drop_segments, standing, listed))
        return True

    # Snapshots seen, so that a manifest that vanishes is noticed

    def known_snapshots(self) -> set[SnapshotId]:
        return self._file.read(
            lambda txn, tables: {
                SnapshotId(bytes(key).decode("latin-1"))
                for key, _ in txn.cursor(tables["snapshots"])
                if len(key) == 2 * ID_SIZE
            }
        )

    def note_snapshots(self, new: Iterable[SnapshotId]) -> None:
        names = [snapshot.encode() for snapshot in new]

        def note(txn: "lmdb.Transaction[bytes]", tables: "Tables") -> None:
            for name in names:
                txn.put(name, b"\0", db=tables["snapshots"])

        self._file.write(note)

    def drop_snapshots(self, gone: Iterable[SnapshotId]) -> None:
        names = [snapshot.encode() for snapshot in gone]

        def drop(txn: "lmdb.Transaction[bytes]", tables: "Tables") -> None:
            for name in names:
                txn.delete(name, db=tables["snapshots"])

        self._file.write(drop)

    def settle(self) -> None:
        """Leaves free pages behind after a large change, so that a small one does not grow the file."""
        for step in range(SETTLING):
            self._file.write(partial(_put_settled, bytes([step])))

    def shrink(self) -> None:
        """Gives space back to the file system, where most of a large file is free."""
        self._file.shrink()

    def status(self) -> IndexStatus:
        counts = self._file.read(
            lambda txn, tables: {name: txn.stat(table)["entries"] for name, table in tables.items()}
        )
        return IndexStatus(
            str(self.path),
            counts["objects"],
            counts["packs"],
            counts["segments"],
            counts["trees"],
            self.path.stat().st_blocks * 512,
        )


def _rows_of_objects(packs: list[PackRecord], numbers: dict[PackId, int]) -> list[tuple[bytes, bytes]]:
    """In the order of their names; of the packs that have a number here."""
    return sorted(row for pack in packs if pack.id in numbers for row in place_rows(numbers[pack.id], pack))


def _add_whole(
    segment: SegmentId,
    packs: list[PackRecord],
    rows_of_trees: list[tuple[ObjectId, bytes]],
    txn: "lmdb.Transaction[bytes]",
    tables: "Tables",
) -> None:
    numbers: dict[PackId, int] = {}
    _reserve(packs, numbers, txn, tables)
    with txn.cursor(tables["trees"]) as cursor:
        cursor.putmulti(rows_of_trees, overwrite=True)
    _complete(segment, packs, numbers, _rows_of_objects(packs, numbers), txn, tables)


def _reserve(
    packs: list[PackRecord],
    numbers: dict[PackId, int],
    txn: "lmdb.Transaction[bytes]",
    tables: "Tables",
) -> None:
    """Gives `numbers` to those packs that have none yet."""
    new = {pack.id: None for pack in packs if number_of(txn, tables, pack) is None}
    numbers.clear()
    numbers.update(zip(new, count(reserve_numbers(txn, tables, len(new))), strict=False))


def _complete(
    segment: SegmentId,
    packs: list[PackRecord],
    numbers: dict[PackId, int],
    rows: list[tuple[bytes, bytes]],
    txn: "lmdb.Transaction[bytes]",
    tables: "Tables",
) -> None:
    """Makes the packs known, with these rows; one that another process was first with keeps that one's."""
    listed = []
    if not reserved(txn, tables, numbers.values()):
        # Another file has taken the place of that one, which was damaged.
        numbers, rows = {}, []
    for pack in packs:
        number = number_of(txn, tables, pack)
        if number is None:
            if pack.id not in numbers:
                # Not any more: or another process has dropped it since.
                numbers[pack.id] = reserve_numbers(txn, tables, 1)
                rows = rows + _rows_of_objects([pack], numbers)
            number = numbers[pack.id]
            put_pack(txn, tables, pack, number)
        listed.append(number)
    ours = {encode_number(number) for number in listed}
    with txn.cursor(tables["objects"]) as cursor:
        cursor.putmulti([row for row in rows if row[1][: NUMBER.size] in ours], overwrite=True)
    txn.put(segment, b"".join(map(NUMBER.pack, listed)), db=tables["segments"])


def _names(table: str, after: bytes, txn: "lmdb.Transaction[memoryview]", tables: "Tables") -> list[bytes]:
    """The next keys that follow a key."""
    found: list[bytes] = []
    cursor = txn.cursor(tables[table])
    more = cursor.set_range(after + b"\0") if after else cursor.first()
    while more and len(found) < BATCH:
        found.append(bytes(cursor.key()))
        more = cursor.next()
    return found


def _rows_of_trees(trees: Iterable[tuple[ObjectId, bytes]]) -> list[tuple[ObjectId, bytes]]:
    rows = ((name, compress(plain)) for name, plain in trees if len(plain) <= MAX_TREE)
    return sorted(row for row in rows if len(row[1]) <= MAX_TREE)


def _put_settled(mark: bytes, txn: "lmdb.Transaction[bytes]", tables: "Tables") -> None:
    txn.put(b"settled", mark, db=tables["meta"])
