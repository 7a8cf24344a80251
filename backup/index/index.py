"""The index of one repository, in one LMDB file.

Tables: `objects` (object → place), `packs` (number → pack), `segments` (segment → its packs'
numbers), `trees` (tree → plain bytes), `snapshots` (ids seen), `meta`. `docs/format.md`, "Index".
"""

import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import lmdb

from backup.model.errors import CannotStore, ImbfsError
from backup.model.ids import ID_SIZE, ObjectId, PackId, SegmentId, SnapshotId
from backup.objects.pack import PackRecord, Place, places

SCHEMA = b"imbfs index 2"
#: Address space, not disk space: the file grows as it is used.
MAP_SIZE = 1 << 40 if sys.maxsize > 1 << 32 else 1 << 30
#: LMDB takes a page again only two transactions after the one that freed it.
SETTLING = 3
_PLACE = struct.Struct("<IIIIIIB")
_NUMBER = struct.Struct(">I")

TABLES = ("meta", "objects", "packs", "segments", "snapshots", "trees")
#: Plain trees are bounded like blocks; a longer value is a damaged one.
MAX_VALUE = 64 << 20


class IndexStatus(NamedTuple):
    """Counts of rows, and the file's size in bytes."""

    path: str
    objects: int
    packs: int
    segments: int
    trees: int
    bytes: int


class Index:
    """Owned by one repository. Reads may come from several threads; one writes at a time."""

    def __init__(self, path: Path, repository_id: str) -> None:
        """Opens the index, or makes an empty one where none, or not ours, stands."""
        self.path = path
        #: Numbers of packs are never given twice, so what is known of one stays true.
        self._pack_of: dict[int, PackId] = {}
        self._identity = SCHEMA + b" " + repository_id.encode()
        self._open()
        if self._get("meta", b"identity") != self._identity:
            self.clear()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._open_env()
        except lmdb.Error:
            # Derived, so nothing is lost: what LMDB cannot open is made anew.
            self._remove_files()
            self._open_env()

    def _open_env(self) -> None:
        if self.path.exists() and not _whole(self.path):
            self._remove_files()
        self._env = lmdb.open(
            str(self.path), subdir=False, map_size=MAP_SIZE, max_dbs=len(TABLES), mode=0o600,
            max_readers=1022, readahead=False, max_spare_txns=16,
        )  # fmt: skip
        self._tables = {name: self._env.open_db(name.encode()) for name in TABLES}

    def _remove_files(self) -> None:
        for path in (self.path, Path(f"{self.path}-lock")):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        self._env.close()

    def clear(self) -> None:
        """Empties every table but that of the snapshots seen."""
        with self._write() as txn:
            for name, table in self._tables.items():
                # What was seen is kept: it is how a manifest that vanishes is noticed.
                if name not in ("snapshots", "meta"):
                    txn.drop(table, delete=False)
            txn.put(b"identity", self._identity, db=self._tables["meta"])

    def recreate(self) -> None:
        """Starts over with a new file."""
        self._env.close()
        self._remove_files()
        self._pack_of.clear()
        self._open_env()
        self.clear()

    @contextmanager
    def _write(self) -> "Iterator[lmdb.Transaction[bytes]]":
        """A transaction. Raises `CannotStore` where the file cannot be written."""
        try:
            with self._env.begin(write=True) as txn:
                yield txn
        except lmdb.Error as error:
            raise CannotStore(
                f"the index {self.path} cannot be written ({error}): free some space, or move it away"
            ) from error

    @contextmanager
    def _read(self) -> "Iterator[lmdb.Transaction[memoryview]]":
        try:
            with self._env.begin(buffers=True) as txn:
                yield txn
        except lmdb.Error as error:
            raise self._damaged(error) from error

    def _damaged(self, error: lmdb.Error) -> ImbfsError:
        return ImbfsError(f"the index {self.path} is damaged ({error}): run `imbfs index rebuild`")

    def _get(self, table: str, key: bytes) -> bytes | None:
        """A copy: a view into the map is good for as long as its transaction only."""
        try:
            with self._env.begin(self._tables[table], buffers=True) as txn:
                value = txn.get(key)
                # A length that cannot be is damage, and a copy of it would end the process.
                return None if value is None or len(value) > MAX_VALUE else bytes(value)
        except lmdb.Error as error:
            raise self._damaged(error) from error

    # Objects

    def place(self, object_id: ObjectId) -> Place | None:
        """Where the object is; None where no pack of a standing segment holds it."""
        row = self._get("objects", object_id)
        if row is None or len(row) != _PLACE.size:
            return None
        number, block_offset, block_size, plain, offset, length, codec = _PLACE.unpack(row)
        pack = self._pack_of.get(number) or self._pack(number)
        if pack is None:
            return None
        return Place(pack, block_offset, block_size, plain, codec, offset, length)

    def _pack(self, number: int) -> PackId | None:
        pack = self._get("packs", _NUMBER.pack(number))
        if pack is None or len(pack) != ID_SIZE:
            return None
        self._pack_of[number] = PackId(pack)
        return PackId(pack)

    def packs(self) -> set[PackId]:
        with self._read() as txn:
            return {PackId(bytes(pack)) for _, pack in txn.cursor(self._tables["packs"])}

    def objects(self) -> Iterator[ObjectId]:
        """Every object's name, in order; in one transaction."""
        with self._read() as txn:
            for key, _ in txn.cursor(self._tables["objects"]):
                yield ObjectId(bytes(key))

    # Trees

    def tree(self, tree_id: ObjectId) -> bytes | None:
        """The tree's plain bytes as kept here. Not checked against the name."""
        return self._get("trees", tree_id)

    def add_trees(self, trees: Iterable[tuple[ObjectId, bytes]]) -> None:
        with self._write() as txn, txn.cursor(self._tables["trees"]) as cursor:
            cursor.putmulti(sorted(trees), overwrite=True)

    # Segments

    def segments(self) -> set[SegmentId]:
        with self._read() as txn:
            return {SegmentId(bytes(key)) for key, _ in txn.cursor(self._tables["segments"])}

    def add_segment(
        self,
        segment: SegmentId,
        packs: Iterable[PackRecord],
        trees: Iterable[tuple[ObjectId, bytes]] = (),
    ) -> None:
        """Takes in what a segment lists, in one transaction. A newer place replaces an older one."""
        with self._write() as txn:
            number = self._next_number(txn)
            numbers: list[bytes] = []
            rows: list[tuple[bytes, bytes]] = []
            for pack in packs:
                txn.put(_NUMBER.pack(number), pack.id, db=self._tables["packs"])
                rows += [(name, _row(number, place)) for name, place in places(pack)]
                numbers.append(_NUMBER.pack(number))
                number += 1
            with txn.cursor(self._tables["objects"]) as cursor:
                cursor.putmulti(sorted(rows), overwrite=True)
            with txn.cursor(self._tables["trees"]) as cursor:
                cursor.putmulti(sorted(trees), overwrite=True)
            txn.put(segment, b"".join(numbers), db=self._tables["segments"])
            txn.put(b"next", _NUMBER.pack(number), db=self._tables["meta"])

    def _next_number(self, txn: "lmdb.Transaction[bytes]") -> int:
        value = txn.get(b"next", db=self._tables["meta"])
        return 0 if value is None else int(_NUMBER.unpack(value)[0])

    def begin_sync(self, standing: set[SegmentId]) -> list[SegmentId]:
        """The segments still to be added, given those that stand in the repository."""
        known = self.segments()
        if known - standing:
            # Its objects may lie in another segment's packs as well: only a rebuild tells.
            self.clear()
            known = set()
        return sorted(standing - known)

    def packs_of(self, objects: Iterable[ObjectId]) -> dict[ObjectId, PackId]:
        """The packs of those objects that are known; many are asked for at once."""
        found: dict[ObjectId, PackId] = {}
        with self._read() as txn, txn.cursor(self._tables["objects"]) as cursor:
            for key, row in cursor.getmulti(sorted(objects)):
                number = int.from_bytes(row[:4], "little")
                if len(row) == _PLACE.size and (pack := self._pack_of.get(number) or self._pack(number)):
                    found[ObjectId(bytes(key))] = pack
        return found

    # Snapshots seen, so that a manifest that vanishes is noticed

    def known_snapshots(self) -> set[SnapshotId]:
        with self._read() as txn:
            return {SnapshotId(bytes(key).decode()) for key, _ in txn.cursor(self._tables["snapshots"])}

    def note_snapshots(self, new: Iterable[SnapshotId]) -> None:
        with self._write() as txn:
            for snapshot in new:
                txn.put(snapshot.encode(), b"\0", db=self._tables["snapshots"])

    def drop_snapshots(self, gone: Iterable[SnapshotId]) -> None:
        with self._write() as txn:
            for snapshot in gone:
                txn.delete(snapshot.encode(), db=self._tables["snapshots"])

    def settle(self) -> None:
        """Leaves free pages behind after a large change, so that a small one does not grow the file."""
        for step in range(SETTLING):
            with self._write() as txn:
                txn.put(b"settled", bytes([step]), db=self._tables["meta"])

    def status(self) -> IndexStatus:
        with self._read() as txn:
            counts = {name: txn.stat(table)["entries"] for name, table in self._tables.items()}
        return IndexStatus(
            str(self.path),
            counts["objects"],
            counts["packs"],
            counts["segments"],
            counts["trees"],
            self.path.stat().st_size,
        )


def _row(number: int, place: Place) -> bytes:
    return _PLACE.pack(
        number,
        place.block_offset,
        place.block_size,
        place.plain,
        place.offset,
        place.length,
        place.codec,
    )


def _whole(path: Path) -> bool:
    """False where the file is shorter than LMDB's own account of it: reading on would be SIGBUS.

    LMDB's two meta pages (`struct MDB_meta`) hold the page size and the number of the last page used.
    """
    with suppress(OSError, struct.error), path.open("rb") as file:
        first = file.read(_META.size)
        if not first:
            return True
        page, last = _page_size_and_last(first)
        file.seek(page)
        last = max(last, _page_size_and_last(file.read(_META.size))[1])
        return page > 0 and path.stat().st_size >= page * (last + 1)
    return False


#: Page header (16), magic, version, address, map size; page size and the rest of two tables; last page.
_META = struct.Struct("<16xII8x8xI44x48xQ")


def _page_size_and_last(page: bytes) -> tuple[int, int]:
    """Raises struct.error where this is no meta page."""
    magic, version, size, last = _META.unpack(page)
    if magic != 0xBEEFC0DE or version != 1:
        raise struct.error("not a meta page of LMDB")
    return size, last
