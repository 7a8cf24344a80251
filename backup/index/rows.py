"""The rows of an index, and what is done to several tables in one transaction.

`docs/format.md`, "Index".
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from backup.index.file import DamagedFile
from backup.model.ids import ObjectId, SegmentId
from backup.objects.pack import PackRecord

if TYPE_CHECKING:
    import lmdb

    from backup.index.file import Tables

PLACE = struct.Struct("<IIIIIIB")
NUMBER = struct.Struct(">I")
#: Number of a pack, count of its objects.
_COUNTED = struct.Struct(">II")


def place_rows(number: int, pack: PackRecord) -> Iterator[tuple[ObjectId, bytes]]:
    """Every object of the pack that has this number, with its place."""
    for offset, size, plain, codec, _, objects in pack.blocks:
        at = 0
        for name, length in objects:
            yield name, PLACE.pack(number, offset, size, plain, at, length, codec)
            at += length


def encode_number(number: int) -> bytes:
    """A pack's number as its places begin with it: in another order of bytes than in the other tables."""
    return number.to_bytes(NUMBER.size, "little")


def count_objects(pack: PackRecord) -> int:
    return sum(len(block.objects) for block in pack.blocks)


def number_of(txn: "lmdb.Transaction[bytes]", tables: "Tables", pack: PackRecord) -> int | None:
    """The number that the pack has; None where it is not known."""
    known = txn.get(pack.id, db=tables["numbers"])
    return int(_COUNTED.unpack(known)[0]) if known is not None and len(known) == _COUNTED.size else None


def reserve_numbers(txn: "lmdb.Transaction[bytes]", tables: "Tables", count: int) -> int:
    """The first of as many numbers, which no other pack gets."""
    value = txn.get(b"next", db=tables["meta"], default=bytes(NUMBER.size))
    if len(value) != NUMBER.size or txn.get(value, db=tables["packs"]) is not None:
        raise DamagedFile("its number of packs is wrong")
    number = int(NUMBER.unpack(value)[0])
    txn.put(b"next", NUMBER.pack(number + count), db=tables["meta"])
    return number


def reserved(txn: "lmdb.Transaction[bytes]", tables: "Tables", numbers: Iterable[int]) -> bool:
    """Whether these numbers were taken in this very file, and no pack has them."""
    end = int.from_bytes(txn.get(b"next", db=tables["meta"], default=b""), "big")
    return all(
        number < end and txn.get(NUMBER.pack(number), db=tables["packs"]) is None for number in numbers
    )


def put_pack(txn: "lmdb.Transaction[bytes]", tables: "Tables", pack: PackRecord, number: int) -> None:
    """From now on the pack is known, and places with its number are its."""
    txn.put(NUMBER.pack(number), pack.id, db=tables["packs"])
    txn.put(pack.id, _COUNTED.pack(number, count_objects(pack)), db=tables["numbers"])


def drop_segments(
    standing: set[SegmentId],
    listed: Callable[[], Iterable[PackRecord]],
    txn: "lmdb.Transaction[bytes]",
    tables: "Tables",
) -> None:
    """In one transaction: nobody is to see an object missing that a pack still holds."""
    kept: set[bytes] = set()
    gone: set[bytes] = set()
    vanished = []
    for segment, row in txn.cursor(tables["segments"]):
        (kept if segment in standing else gone).update(
            row[at : at + NUMBER.size] for at in range(0, len(row), NUMBER.size)
        )
        if segment not in standing:
            vanished.append(segment)
    for segment in vanished:
        txn.delete(segment, db=tables["segments"])
    gone -= kept
    if gone:
        _drop_packs(gone, txn, tables)
        _restore_places(listed, txn, tables)


def _drop_packs(numbers: set[bytes], txn: "lmdb.Transaction[bytes]", tables: "Tables") -> None:
    """With all objects whose place is in one of them, and their trees."""
    for number in numbers:
        pack = txn.get(number, db=tables["packs"])
        txn.delete(number, db=tables["packs"])
        if pack is not None:
            txn.delete(pack, db=tables["numbers"])
    marks = {encode_number(*NUMBER.unpack(number)) for number in numbers}
    names = [name for name, row in txn.cursor(tables["objects"]) if row[: NUMBER.size] in marks]
    for name in names:
        txn.delete(name, db=tables["objects"])
        txn.delete(name, db=tables["trees"])


def _restore_places(
    listed: Callable[[], Iterable[PackRecord]], txn: "lmdb.Transaction[bytes]", tables: "Tables"
) -> None:
    """Where packs hold more objects than there are places, one that went may have had another copy."""
    held = sum(
        _COUNTED.unpack(row)[1] for _, row in txn.cursor(tables["numbers"]) if len(row) == _COUNTED.size
    )
    if held == txn.stat(tables["objects"])["entries"]:
        return
    for pack in listed():
        known = txn.get(pack.id, db=tables["numbers"])
        if known is not None and len(known) == _COUNTED.size:
            number = _COUNTED.unpack(known)[0]
            rows = sorted(place_rows(number, pack))
            with txn.cursor(tables["objects"]) as cursor:
                cursor.putmulti(rows, overwrite=False)
