"""Parity: a file beside a pack from which some lost bytes can be computed. `docs/format.md`, "Parity".

A pack is laid out in `data` columns of `rows` cells, and Reed-Solomon adds `extra` cells to each row. A cell
whose checksum is wrong counts as lost; as many as `extra` in a row can be computed from the others. So a run
of rotten bytes is spread over rows, and is mended up to `extra` columns' length.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from backup.model.errors import Damaged, ImbfsError
from backup.model.ids import ID_SIZE, PackId
from backup.objects.hashing import HashName, new_hasher
from backup.objects.pack import pack_key
from backup.storage import Storage

MAGIC = b"imbpari\x01"
CELL = 4096
#: Parity cells in a row: two bad sectors that fall into one row are mended as well.
EXTRA = 2
MAX_PERCENT = 100
_HEAD = struct.Struct(f"<8s{ID_SIZE}sQHHI")
HEAD_SIZE = _HEAD.size + 4
#: Rows encoded at a time.
BATCH = 16
_CRC = struct.Struct("<I")

Read = Callable[[int, int], bytes]


class Layout(NamedTuple):
    """`size` of the pack in bytes; `data` and `extra` columns."""

    pack: PackId
    size: int
    data: int
    extra: int

    @property
    def rows(self) -> int:
        return max(1, -(-self.size // (self.data * CELL)))

    @property
    def width(self) -> int:
        """All columns: checksums stand in this order, row after row."""
        return self.data + self.extra

    @property
    def table(self) -> int:
        """Where the first table of checksums begins."""
        return HEAD_SIZE + self.rows * self.extra * CELL

    @property
    def table_size(self) -> int:
        return _CRC.size * (self.rows * self.width + 1)


def parity_key(pack: PackId) -> str:
    name = pack.hex()
    return f"parity/{name[:2]}/{name}"


def pack_files(pack: PackId) -> tuple[str, str]:
    """The keys of all files that belong to a pack: the pack first."""
    return pack_key(pack), parity_key(pack)


def require_library() -> None:
    """Raises `ImbfsError` where Reed-Solomon is not installed."""
    try:
        import zfec  # noqa: F401
    except ImportError:
        raise ImbfsError("parity needs the package zfec: install imbfs[parity]") from None


def columns(percent: int) -> int:
    """How many columns of data there are for so much parity."""
    return max(1, round(EXTRA * 100 / percent))


def parity_size(size: int, percent: int) -> int:
    """How many bytes the parity of a pack of `size` bytes takes."""
    layout = Layout(PackId(b""), size, columns(percent), EXTRA)
    return layout.table + 2 * layout.table_size + HEAD_SIZE


# Writing


def write_parity(storage: Storage, pack: PackId, size: int, percent: int) -> None:
    """Writes the parity file of a pack that stands. Raises OSError, or `ImbfsError`."""
    require_library()
    layout = Layout(pack, size, columns(percent), EXTRA)
    parts = _encode(layout, lambda offset, length: storage.read(pack_key(pack), offset, length))
    write_parts(storage, parity_key(pack), parts)


def write_parts(storage: Storage, key: str, parts: Iterable[bytes]) -> None:
    """A file whose parts are made as it is written. Where making them raises, nothing is written."""
    staged = storage.stage()
    try:
        for part in parts:
            staged.append(part)
        staged.publish(key)
    except BaseException:
        staged.discard()
        raise


def _encode(layout: Layout, read: Read) -> Iterator[bytes]:
    import zfec

    encoder = zfec.Encoder(layout.data, layout.width)
    numbers = list(range(layout.data, layout.width))
    yield _head(layout)
    table = bytearray()
    for first in range(0, layout.rows, BATCH):
        count = min(BATCH, layout.rows - first)
        cells = [_column(layout, read, column, first, count) for column in range(layout.data)]
        extra = encoder.encode(cells, numbers)
        for row in range(count):
            span = slice(row * CELL, (row + 1) * CELL)
            for column in (*cells, *extra):
                table += _CRC.pack(zlib.crc32(column[span]))
            yield b"".join(column[span] for column in extra)
    table += _CRC.pack(zlib.crc32(table))
    # All that is needed to mend stands twice, at both ends.
    yield bytes(table) * 2 + _head(layout)


def _head(layout: Layout) -> bytes:
    head = _HEAD.pack(MAGIC, layout.pack, layout.size, layout.data, layout.extra, CELL)
    return head + _CRC.pack(zlib.crc32(head))


def _column(layout: Layout, read: Read, column: int, first: int, count: int) -> bytes:
    """Some cells of a column: zeros where the pack has ended."""
    begin = (column * layout.rows + first) * CELL
    length = max(0, min(layout.size - begin, count * CELL))
    return (read(begin, length) if length else b"").ljust(count * CELL, b"\0")


# Reading


class Parity:
    """The parity of one pack. Raises `Damaged` where its file is of no use, OSError where there is none."""

    def __init__(self, storage: Storage, pack: PackId) -> None:
        self._storage = storage
        self._key = parity_key(pack)
        self.layout = self._read_head(pack)
        self._table = self._read_table()

    def _read_head(self, pack: PackId) -> Layout:
        size = self._storage.size(self._key)
        for offset in (0, max(0, size - HEAD_SIZE)):
            head = self._storage.read(self._key, offset, HEAD_SIZE)
            if len(head) == HEAD_SIZE and _CRC.pack(zlib.crc32(head[:-4])) == head[-4:]:
                magic, name, pack_size, data, extra, cell = _HEAD.unpack(head[:-4])
                if (magic, name, cell) == (MAGIC, pack, CELL) and data and extra and data + extra <= 256:
                    return Layout(pack, pack_size, data, extra)
        raise Damaged(f"the parity of pack {pack.hex()[:12]} is damaged")

    def _read_table(self) -> bytes:
        layout = self.layout
        end = self._storage.size(self._key) - HEAD_SIZE
        for offset in (layout.table, end - layout.table_size):
            table = self._storage.read(self._key, max(0, offset), layout.table_size)
            if len(table) == layout.table_size and _CRC.pack(zlib.crc32(table[:-4])) == table[-4:]:
                return table
        raise Damaged(f"the parity of pack {layout.pack.hex()[:12]} is damaged")

    def sound(self) -> bool:
        """Whether the parity file itself is as it was written."""
        layout = self.layout
        whole = layout.table + 2 * layout.table_size + HEAD_SIZE
        if self._storage.size(self._key) != whole:
            return False
        ends = self._storage.read(self._key, layout.table, whole - layout.table)
        head = self._storage.read(self._key, 0, HEAD_SIZE)
        if head != _head(layout) or ends != self._table * 2 + head:
            return False
        return all(
            self._is_sound(row, column, self._parity_cell(row, column))
            for row in range(layout.rows)
            for column in range(layout.data, layout.width)
        )

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the pack, mended where they are rotten. Raises `Damaged` where too many are."""
        layout = self.layout
        parts = []
        end = min(offset + length, layout.size)
        cell = offset // CELL
        while cell * CELL < end:
            column, row = divmod(cell, layout.rows)
            data = self._cell(row, column)
            if not self._is_sound(row, column, data):
                data = self._mend(row, column)
            parts.append(data)
            cell += 1
        skip = offset % CELL
        return b"".join(parts)[skip : skip + end - offset]

    def _mend(self, row: int, column: int) -> bytes:
        """The cell, from others of its row."""
        require_library()
        import zfec

        layout = self.layout
        found, numbers = [], []
        for other in range(layout.width):
            data = self._cell(row, other) if other < layout.data else self._parity_cell(row, other)
            if self._is_sound(row, other, data):
                found.append(data)
                numbers.append(other)
            if len(found) == layout.data:
                break
        else:
            raise Damaged(f"pack {layout.pack.hex()[:12]} has lost more than its parity can mend")
        # The decoder wants each cell of data that is there in its own position.
        for position in range(layout.data):
            while (number := numbers[position]) < layout.data and number != position:
                numbers[position], numbers[number] = numbers[number], number
                found[position], found[number] = found[number], found[position]
        decoded = zfec.Decoder(layout.data, layout.width).decode(found, numbers)
        return bytes(decoded[column])

    def _cell(self, row: int, column: int) -> bytes:
        layout = self.layout
        with suppress(OSError):
            return _column(layout, self._read_pack, column, row, 1)
        return b""

    def _read_pack(self, offset: int, length: int) -> bytes:
        data = self._storage.read(pack_key(self.layout.pack), offset, length)
        # A pack that was cut short has lost these bytes: zeros are what was there beyond its end only.
        return data if len(data) == length else b"\xff" * length

    def _parity_cell(self, row: int, column: int) -> bytes:
        layout = self.layout
        offset = HEAD_SIZE + (row * layout.extra + column - layout.data) * CELL
        with suppress(OSError):
            return self._storage.read(self._key, offset, CELL)
        return b""

    def _is_sound(self, row: int, column: int, data: bytes) -> bool:
        at = _CRC.size * (row * self.layout.width + column)
        return len(data) == CELL and _CRC.pack(zlib.crc32(data)) == self._table[at : at + _CRC.size]


def mended_pack(storage: Storage, pack: PackId, hash_name: HashName) -> Iterator[bytes]:
    """The pack's bytes, mended, in pieces. Raises `Damaged` where they do not hash to its name even so."""
    parity = Parity(storage, pack)
    hasher, offset = new_hasher(hash_name), 0
    piece = BATCH * CELL
    while offset < parity.layout.size:
        data = parity.read(offset, piece)
        hasher.update(data)
        offset += len(data)
        yield data
    if hasher.digest() != pack:
        raise Damaged(f"pack {pack.hex()[:12]} cannot be mended")
