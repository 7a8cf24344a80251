"""Writing to a repository: each object once, in the order that a crash cannot harm.

pack → segment → index → manifest: a file is durable before anything names it.
"""

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from backup.model.errors import CannotStore, ImbfsError
from backup.model.ids import ObjectId, PackId, SegmentId
from backup.objects.block import BlockKind
from backup.objects.hashing import Hasher, new_hasher
from backup.objects.pack import PackRecord
from backup.objects.segment import encode_segment, segment_key
from backup.objects.writer import PackWriter
from backup.repository.repository import Repository
from backup.snapshots.manifest import (
    Body,
    Labels,
    Snapshot,
    encode_manifest,
    manifest_key,
)

#: A segment is written when this many seconds, or this share of the run so far, have gone by:
#: what a kill can lose is bounded, and so is the number of segments.
SEGMENT_SECONDS = 1.0
SEGMENT_SHARE = 0.02
#: Plain bytes of trees held back for the index.
MAX_TREES = 16 << 20


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

    def __init__(self, repository: Repository, clock: Callable[[], float] = time.monotonic) -> None:
        self._repository = repository
        self._clock = clock
        self._started = self._flushed = clock()
        #: An object counts as stored only where its pack still stands.
        self._packs: set[PackId] = {pack for pack, _ in repository.stored_packs()}
        #: Written or waiting in this run, not yet in the index.
        self._pending: set[ObjectId] = set()
        self._trees: list[tuple[ObjectId, bytes]] = []
        self._trees_size = 0
        self._closed_packs: list[PackRecord] = []
        self._data = self._pack_writer(BlockKind.DATA)
        self._tree = self._pack_writer(BlockKind.TREE)
        #: Plain bytes that were new, and bytes that the repository grew by.
        self.bytes_added = 0
        self.bytes_stored = 0
        self._adopt(repository)

    def _adopt(self, repository: Repository) -> None:
        """Lists the packs that a killed run left unlisted: what it stored is not stored again."""
        self._closed_packs += repository.unlisted_packs()
        with storing():
            self._flush_segment()

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

    def new_hasher(self) -> Hasher:
        return new_hasher(self._repository.config.hash)

    def store(self, data: bytes | memoryview) -> ObjectId:
        """Names a chunk, and stores it where the repository lacks it."""
        return self._store(data, self._data)[0]

    def store_tree(self, data: bytes) -> ObjectId:
        object_id, new = self._store(data, self._tree)
        if new:
            self._trees.append((object_id, data))
            self._trees_size += len(data)
            if self._trees_size > MAX_TREES:
                self._flush_trees()
        return object_id

    def _flush_trees(self) -> None:
        # Ahead of their packs: the table of trees says nothing about what is stored.
        self._repository.index.add_trees(self._trees)
        self._trees = []
        self._trees_size = 0

    def _store(self, data: bytes | memoryview, writer: PackWriter) -> tuple[ObjectId, bool]:
        object_id = self._repository.name(data)
        if self.has(object_id):
            return object_id, False
        self._pending.add(object_id)
        self.bytes_added += len(data)
        with storing():
            writer.add(object_id, bytes(data))
        return object_id, True

    def has(self, object_id: ObjectId) -> bool:
        if object_id in self._pending:
            return True
        place = self._repository.index.place(object_id)
        return place is not None and place.pack in self._packs

    def _pack_done(self, pack: PackRecord) -> None:
        self._closed_packs.append(pack)
        self._packs.add(pack.id)
        self.bytes_stored += pack.size
        now = self._clock()
        if now - self._flushed >= max(SEGMENT_SECONDS, SEGMENT_SHARE * (now - self._started)):
            self._flush_segment()

    def _flush_segment(self) -> None:
        if not self._closed_packs:
            return
        repository = self._repository
        data = encode_segment(self._closed_packs, repository.config.compression)
        segment = SegmentId(repository.name(data))
        repository.storage.put(segment_key(segment), data)
        self.bytes_stored += len(data)
        listed = {name for pack in self._closed_packs for b in pack.blocks for name, _ in b.objects}
        repository.index.add_segment(segment, self._closed_packs, self._trees)
        self._trees = []
        self._trees_size = 0
        self._pending -= listed
        self._closed_packs = []
        self._flushed = self._clock()

    def finish(self) -> None:
        """Makes all that was stored durable and known to the index."""
        with storing():
            self._data.finish()
            self._tree.finish()
            self._flush_segment()

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
            self._flush_segment()
