"""Writing objects: gathered into blocks, blocks into packs."""

import secrets
from collections.abc import Callable, Container

from backup.model.errors import ImbfsError
from backup.model.ids import ObjectId, PackId
from backup.objects.block import MAX_PLAIN, BlockKind, CompressionSettings, encode_block
from backup.objects.hashing import HashName, name_of, new_hasher
from backup.objects.pack import (
    FILE_MAGIC,
    BlockRecord,
    PackRecord,
    encode_footer,
    encode_trailer,
    pack_key,
    read_footer,
    total_length,
)
from backup.objects.parity import write_parity
from backup.storage import Staged, Storage

#: Small objects are compressed together up to this many plain bytes. From some above 256 KiB on, zstd has
#: larger tables: less than a tenth more to decode, for 0.2 % less space.
BLOCK_SIZE = 272 << 10
#: Bounds a footer's size, whatever the objects' sizes.
MAX_OBJECTS = 1 << 16


class PackWriter:
    """Turns objects of one kind into packs. Owned by one writer; not for several threads.

    `on_pack` is called with each pack once it is durable under its name.
    """

    def __init__(
        self,
        storage: Storage,
        kind: BlockKind,
        hash_name: HashName,
        compression: CompressionSettings,
        pack_size: int,
        on_pack: Callable[[PackRecord], None],
        taken: Container[PackId] = (),
        parity: int = 0,
    ) -> None:
        """`taken` are names that no new pack may have: those of packs that are about to be deleted.
        `parity`: how much of it is written beside each pack, in percent.
        """
        self._storage = storage
        self._kind = kind
        self._hash_name = hash_name
        self._compression = compression
        self._pack_size = pack_size
        self._on_pack = on_pack
        self._taken = taken
        self._parity = parity
        self._waiting: list[tuple[ObjectId, bytes]] = []
        self._waiting_size = 0
        self._pack: _OpenPack | None = None

    def add(self, object_id: ObjectId, data: bytes) -> None:
        """Takes one object in. It is durable after the `on_pack` that names it."""
        if len(data) > MAX_PLAIN:
            raise ImbfsError(f"an object of {len(data)} bytes is more than the format holds")
        if len(data) >= BLOCK_SIZE:
            self._write_block([(object_id, data)])
            return
        if self._waiting_size + len(data) > BLOCK_SIZE:
            self._flush_block()
        self._waiting.append((object_id, data))
        self._waiting_size += len(data)

    def append(self, block: bytes | memoryview, objects: list[tuple[ObjectId, int]]) -> None:
        """Takes in a whole block that was encoded elsewhere, with its objects' names and lengths."""
        # A pack that Ctrl-C or a full disk cuts into is given up: it must not be written on after that.
        pack, self._pack = self._pack or _OpenPack(self._storage, self._hash_name), None
        try:
            pack.append_block(block, self._kind, objects)
        except BaseException:
            pack.staged.discard()
            raise
        self._pack = pack
        if pack.size >= self._pack_size or pack.objects >= MAX_OBJECTS:
            self._close_pack()

    def finish(self) -> None:
        """Writes out all that waits."""
        self._flush_block()
        self._close_pack()

    def discard(self) -> None:
        """Forgets what is not written; for when a backup fails."""
        self._waiting.clear()
        if self._pack is not None:
            self._pack.staged.discard()
            self._pack = None

    def _flush_block(self) -> None:
        if self._waiting:
            self._write_block(self._waiting)
            self._waiting = []
            self._waiting_size = 0

    def _write_block(self, objects: list[tuple[ObjectId, bytes]]) -> None:
        block = encode_block(self._kind, [data for _, data in objects], self._compression)
        self.append(block, [(object_id, len(data)) for object_id, data in objects])

    def _close_pack(self) -> None:
        pack, self._pack = self._pack, None
        if pack is None:
            return
        try:
            record = pack.publish(self._kind, self._compression, self._taken)
        except BaseException:
            pack.staged.discard()
            raise
        if self._parity:
            write_parity(self._storage, record.id, record.size, self._parity)
        self._on_pack(record)


class _OpenPack:
    """A pack being written."""

    def __init__(self, storage: Storage, hash_name: HashName) -> None:
        self.staged: Staged = storage.stage()
        self.size = 0
        self.objects = 0
        self._hash_name = hash_name
        self._hasher = new_hasher(hash_name)
        self._blocks: list[BlockRecord] = []

    def _append(self, data: bytes | memoryview) -> None:
        self.staged.append(data)
        self._hasher.update(data)
        self.size += len(data)

    def append_block(self, block: bytes | memoryview, kind: int, objects: list[tuple[ObjectId, int]]) -> None:
        if not self._blocks:
            self._append(FILE_MAGIC)
        members = tuple(objects)
        table = 4 * len(members) if len(members) > 1 else 0
        plain = total_length(members) + table
        self._blocks.append(BlockRecord(self.size, len(block), plain, block[4], kind, members))
        self.objects += len(members)
        self._append(block)

    def publish(self, kind: int, compression: CompressionSettings, taken: Container[PackId]) -> PackRecord:
        trailer = self._trailer(compression)
        while self._name_with(trailer) in taken:
            # The same blocks make the same pack: one more object makes it another.
            salt = secrets.token_bytes(32)
            name = ObjectId(name_of(self._hash_name)(salt))
            self.append_block(encode_block(BlockKind(kind), [salt], compression), kind, [(name, len(salt))])
            trailer = self._trailer(compression)
        pack = self._name_with(trailer)
        self._append(trailer)
        # What leaves must be readable: a pack with a footer that does not decode is lost data.
        assert read_footer(trailer, self.size, "new pack") == tuple(self._blocks)
        self.staged.publish(pack_key(pack))
        return PackRecord(pack, self.size, tuple(self._blocks))

    def _trailer(self, compression: CompressionSettings) -> bytes:
        footer = encode_block(BlockKind.FOOTER, [encode_footer(self._blocks)], compression)
        return encode_trailer(footer)

    def _name_with(self, trailer: bytes) -> PackId:
        hasher = self._hasher.copy()
        hasher.update(trailer)
        return PackId(hasher.digest())
