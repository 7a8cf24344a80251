"""Writing to a repository: each object once, in the order that a crash cannot harm.

pack → segment → index → manifest: a file is durable before anything names it.
"""

import errno
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress

from backup.model.errors import CannotStore, Damaged, ImbfsError, is_full
from backup.model.ids import ObjectId, PackId
from backup.objects.block import BlockKind
from backup.objects.pack import PackRecord, pack_key
from backup.objects.parity import parity_key, parity_size
from backup.objects.segment import segment_key
from backup.objects.writer import PackWriter
from backup.repository.condemned import condemned_notes
from backup.repository.leases import HeldLease, take_writer_lease
from backup.repository.missing import settle_missing
from backup.repository.repository import Repository
from backup.repository.reserve import keep_reserve
from backup.repository.segments import fills_segment, write_segment
from backup.snapshots.manifest import (
    Body,
    Labels,
    Snapshot,
    encode_manifest,
    manifest_key,
)
from backup.snapshots.reach import reachable

#: Plain bytes of trees held back for the index.
MAX_TREES = 32 << 20


@contextmanager
def storing() -> Iterator[None]:
    """Tells what goes wrong at the repository from what goes wrong at the source."""
    try:
        yield
    except OSError as error:
        hint = ": free some space and run it again" if is_full(error) else ""
        # Who writes also reads: a disk that fails does not say at which of them.
        failing = error.errno == errno.EIO
        what = "the disk of the repository fails" if failing else "the repository cannot be written"
        raise CannotStore(f"{what}: {error.strerror}{hint}; nothing stored before is lost") from error


class Writer:
    """One backup's way into a repository. Not for several threads. Finish it or discard it, then close it.

    It holds a lease from its making on: what it finds stored stays, but for what was condemned before.
    Snapshots that it builds on are to be looked for after that.
    """

    def __init__(
        self, repository: Repository, command: str = "backup", without: Set[PackId] = frozenset()
    ) -> None:
        """What lies in the packs `without` does not count as stored."""
        self._repository = repository
        self._command = command
        #: Packs that prune is about to delete: what they hold counts as not stored.
        self.condemned: frozenset[PackId] = frozenset()
        #: An object counts as stored only where its pack still stands.
        self._packs: set[PackId] = set()
        self._without = without
        #: Whether trees may be damaged, and those that are: they count as not stored.
        self._distrusts_trees = False
        self._damaged: set[ObjectId] = set()
        #: Packs written in this run.
        self.written: set[PackId] = set()
        #: The keys of all files written in this run, in their order.
        self.keys: list[str] = []
        keep_reserve(repository.storage)
        with storing():
            self._lease = self._take_lease()
        #: Written or waiting in this run, not yet in the index.
        self._pending: set[ObjectId] = set()
        self._trees: list[tuple[ObjectId, bytes]] = []
        self._trees_size = 0
        #: Packs that no segment lists yet. Data and trees apart: which comes first may depend on timing.
        self._closed: dict[int, list[PackRecord]] = {BlockKind.DATA: [], BlockKind.TREE: []}
        self._data = self._pack_writer(BlockKind.DATA)
        self._tree = self._pack_writer(BlockKind.TREE)
        #: Plain bytes that were new, and bytes that the repository grew by.
        self.bytes_added = 0
        self.bytes_stored = 0
        try:
            self._adopt(repository)
        except BaseException:
            self.close()
            raise

    def _take_lease(self) -> HeldLease:
        """The order is what makes it safe: lease, then condemned notes, then segments and packs."""
        storage = self._repository.storage
        lease = take_writer_lease(storage, self._command)
        try:
            self.condemned = frozenset().union(*condemned_notes(storage).values())
            self._repository.lookup.sync()
            self._packs = {pack for pack, _ in self._repository.inventory.packs()}
            self._packs -= self.condemned | self._without
        except BaseException:
            lease.release()
            raise
        return lease

    def close(self) -> None:
        """Gives the lease back. What was stored and no snapshot reaches may be pruned from now on."""
        self._lease.release()

    def _adopt(self, repository: Repository) -> None:
        """Lists the packs that a killed run left unlisted: what it stored is not stored again."""
        with storing():
            unlisted = repository.lookup.unlisted_packs()
            self._write_segment([pack for pack in unlisted if pack.id in self._packs])

    def _pack_writer(self, kind: BlockKind) -> PackWriter:
        config = self._repository.config
        return PackWriter(
            self._repository.storage,
            kind,
            config.hash,
            config.compression,
            config.pack_size,
            self._pack_done,
            _Condemned(self),
            config.parity,
        )

    def claim(self, objects: Sequence[tuple[ObjectId, int]]) -> list[int]:
        """The positions of the objects, named with their lengths, that the repository lacks: each once.

        They count as stored from now on: the caller is to `append` them, in blocks, in any order.
        """
        self._lease.beat()
        pending = self._pending
        asked = [name for name, _ in objects if name not in pending]
        places = self._repository.lookup.packs_of(asked) if asked else {}
        new = []
        for position, (name, length) in enumerate(objects):
            if name not in pending and not (name in places and self._stands(name, places[name])):
                pending.add(name)
                self.bytes_added += length
                new.append(position)
        return new

    def append(self, block: bytes | memoryview, objects: list[tuple[ObjectId, int]]) -> None:
        """Takes in a block of chunks that were claimed, with their names and lengths."""
        with storing():
            self._data.append(block, objects)

    def store(self, data: bytes | memoryview) -> ObjectId:
        """Names a chunk, and stores it where the repository lacks it."""
        object_id = self._repository.name(data)
        self._add(object_id, data, self._data)
        return object_id

    def store_tree(self, data: bytes) -> ObjectId:
        object_id = self._repository.name(data)
        if self._distrusts_trees and object_id not in self._pending and self._is_damaged(object_id):
            self._damaged.add(object_id)
        if self._add(object_id, data, self._tree):
            self._trees.append((object_id, data))
            self._trees_size += len(data)
            if self._trees_size > MAX_TREES:
                self._flush_trees()
        return object_id

    def save(self, object_id: ObjectId, data: bytes, kind: int) -> None:
        """Stores an object that a block of this kind held, where the repository lacks it."""
        self._add(object_id, data, self._tree if kind == BlockKind.TREE else self._data)

    def _flush_trees(self) -> None:
        # Ahead of their packs: the table of trees says nothing about what is stored.
        self._repository.index.add_trees(self._trees)
        self._trees = []
        self._trees_size = 0

    def _add(self, object_id: ObjectId, data: bytes | memoryview, writer: PackWriter) -> bool:
        if not self.claim([(object_id, len(data))]):
            return False
        with storing():
            writer.add(object_id, bytes(data))
        return True

    def has(self, object_id: ObjectId) -> bool:
        return object_id in self._pending or self._stands(
            object_id, self._repository.lookup.packs_of([object_id]).get(object_id)
        )

    def _stands(self, name: ObjectId, pack: PackId | None) -> bool:
        """Whether the pack that holds an object, by the index, can be counted on."""
        return pack in self._packs and (name not in self._damaged or pack in self.written)

    def distrust_trees(self) -> None:
        """From now on a tree is read before it counts as stored."""
        self._distrusts_trees = True

    def _is_damaged(self, tree: ObjectId) -> bool:
        try:
            self._repository.tree(tree)
        except Damaged:
            return True
        return False

    def _pack_done(self, pack: PackRecord) -> None:
        self._packs.add(pack.id)
        self.written.add(pack.id)
        self.keys.append(pack_key(pack.id))
        self.bytes_stored += pack.size
        if percent := self._repository.config.parity:
            self.keys.append(parity_key(pack.id))
            self.bytes_stored += parity_size(pack.size, percent)
        closed = self._closed[pack.blocks[0].kind]
        closed.append(pack)
        if fills_segment(closed):
            self._write_segment(closed)
            closed.clear()

    def _write_segment(self, packs: list[PackRecord]) -> None:
        if not packs:
            return
        segment, size = write_segment(self._repository, packs, self._trees)
        self.keys.append(segment_key(segment))
        self.bytes_stored += size
        self._trees = []
        self._trees_size = 0
        self._pending -= {name for pack in packs for block in pack.blocks for name, _ in block.objects}

    def _write_last_segment(self) -> None:
        self._write_segment([pack for closed in self._closed.values() for pack in closed])
        for closed in self._closed.values():
            closed.clear()

    def finish(self) -> None:
        """Makes all that was stored durable and known to the index."""
        with storing():
            self._data.finish()
            self._tree.finish()
            self._write_last_segment()
            settle_missing(self._repository.storage, self.has)

    def commit(self, body: Body, labels: Labels) -> Snapshot:
        """Writes the manifest: from here on the snapshot exists. Call `finish` before.

        Raises `ImbfsError` where prune has taken what the snapshot needs, because this process was
        suspended for hours; there is no snapshot then.
        """
        snapshot_id, data = encode_manifest(body, labels, self._repository.name)
        root = ObjectId(bytes.fromhex(body.root))
        storage, key = self._repository.storage, manifest_key(snapshot_id)
        with storing():
            if self.condemned or not self._lease.stands():
                self._secure(root)
            storage.put(key, data)
            # Looked at again: it may have been suspended just before that.
            if not self._lease.stands():
                try:
                    self._secure(root)
                except BaseException:
                    storage.delete(key)
                    raise
        self.keys.append(key)
        self._repository.index.note_snapshots([snapshot_id])
        if self.bytes_stored:
            self._repository.index.settle()
        return Snapshot(snapshot_id, body, labels)

    def _secure(self, root: ObjectId) -> None:
        """Sees to it that all that a root reaches lies in packs that stay; stores again what does not."""
        if not self._lease.stands():
            self._lease = self._take_lease()
        try:
            for objects in reachable(root, self._repository.tree, set()):
                standing = self._repository.index.packs_of(objects.names)
                for name in objects.names:
                    if name not in self._pending and standing.get(name) not in self._packs:
                        data = self._repository.reader.read(name)
                        self._add(name, data, self._data if objects.chunks else self._tree)
            self.finish()
        except Damaged as error:
            raise ImbfsError(
                f"prune has removed what this {self._command} found stored ({error}): run it again"
            ) from error

    def discard(self) -> None:
        """Gives up: temporary files go, finished packs stay for the next run to use."""
        self._data.discard()
        self._tree.discard()
        # Only a wish: the disk may be full, and the next run finds the packs all the same.
        with suppress(OSError, ImbfsError):
            self._write_last_segment()


class _Condemned:
    """The packs that are condemned as far as the writer knows; it may learn of more."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def __contains__(self, pack: object) -> bool:
        return pack in self._writer.condemned
