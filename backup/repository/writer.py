"""Writing to a repository: each object once, in the order that a crash cannot harm.

pack → segment → index → manifest: a file is durable before anything names it.
"""

import errno
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress

from backup.model.errors import CannotStore, ImbfsError
from backup.model.ids import ObjectId, PackId, SegmentId
from backup.objects.block import BlockKind
from backup.objects.pack import PackRecord
from backup.objects.segment import encode_segment, segment_key
from backup.objects.writer import PackWriter
from backup.repository.missing import settle_missing
from backup.repository.repository import Repository
from backup.snapshots.manifest import (
    Body,
    Labels,
    Snapshot,
    encode_manifest,
    manifest_key,
)

#: A segment is written when so many objects, or packs, of one kind wait for it, and at the end. Counted, not
#: timed: so what is written depends on what is stored alone. A kill loses nothing by it: the next run
#: reads the footers of packs that no segment lists.
SEGMENT_OBJECTS = 1 << 17
SEGMENT_PACKS = 64
#: Plain bytes of trees held back for the index.
MAX_TREES = 32 << 20


@contextmanager
def storing() -> Iterator[None]:
    """Tells what goes wrong at the repository from what goes wrong at the source."""
    try:
        yield
    except OSError as error:
        hint = ": free some space and run it again" if error.errno == errno.ENOSPC else ""
        raise CannotStore(
            f"the repository cannot be written: {error.strerror}{hint}; nothing stored before is lost"
        ) from error


class Writer:
    """One backup's way into a repository. Not for several threads. Finish it or discard it."""

    def __init__(self, repository: Repository, without: Set[PackId] = frozenset()) -> None:
        """What lies in the packs `without` does not count as stored."""
        self._repository = repository
        #: An object counts as stored only where its pack still stands.
        self._packs: set[PackId] = {pack for pack, _ in repository.stored_packs()} - without
        #: Packs written in this run.
        self.written: set[PackId] = set()
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
        self._adopt(repository)

    def _adopt(self, repository: Repository) -> None:
        """Lists the packs that a killed run left unlisted: what it stored is not stored again."""
        with storing():
            self._write_segment([pack for pack in repository.unlisted_packs() if pack.id in self._packs])

    def _pack_writer(self, kind: BlockKind) -> PackWriter:
        config = self._repository.config
        return PackWriter(
            self._repository.storage,
            kind,
            config.hash,
            config.compression,
            config.pack_size,
            self._pack_done,
        )

    def claim(self, objects: Sequence[tuple[ObjectId, int]]) -> list[int]:
        """The positions of the objects, named with their lengths, that the repository lacks: each once.

        They count as stored from now on: the caller is to `append` them, in blocks, in any order.
        """
        asked = [name for name, _ in objects if name not in self._pending]
        places = self._repository.packs_of(asked) if asked else {}
        new = []
        for position, (name, length) in enumerate(objects):
            if name not in self._pending and places.get(name) not in self._packs:
                self._pending.add(name)
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
        return object_id in self._pending or (
            self._repository.packs_of([object_id]).get(object_id) in self._packs
        )

    def _pack_done(self, pack: PackRecord) -> None:
        self._packs.add(pack.id)
        self.written.add(pack.id)
        self.bytes_stored += pack.size
        closed = self._closed[pack.blocks[0].kind]
        closed.append(pack)
        if len(closed) >= SEGMENT_PACKS or sum(map(_objects, closed)) >= SEGMENT_OBJECTS:
            self._write_segment(closed)
            closed.clear()

    def _write_segment(self, packs: list[PackRecord]) -> None:
        if not packs:
            return
        repository = self._repository
        data = encode_segment(packs, repository.config.compression)
        segment = SegmentId(repository.name(data))
        repository.storage.put(segment_key(segment), data)
        self.bytes_stored += len(data)
        repository.index.add_segment(segment, packs, self._trees)
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
        """Writes the manifest: from here on the snapshot exists. Call `finish` before."""
        snapshot_id, data = encode_manifest(body, labels, self._repository.name)
        with storing():
            self._repository.storage.put(manifest_key(snapshot_id), data)
        self._repository.index.note_snapshots([snapshot_id])
        if self.bytes_stored:
            self._repository.index.settle()
        return Snapshot(snapshot_id, body, labels)

    def discard(self) -> None:
        """Gives up: temporary files go, finished packs stay for the next run to use."""
        self._data.discard()
        self._tree.discard()
        # Only a wish: the disk may be full, and the next run finds the packs all the same.
        with suppress(OSError, ImbfsError):
            self._write_last_segment()


def _objects(pack: PackRecord) -> int:
    return sum(len(block.objects) for block in pack.blocks)
