"""What comes out of a stream, stored in this process: cut, named, compressed."""

from typing import NamedTuple

from backup.model.ids import ObjectId
from backup.objects.chunker import Chunker, ReadInto
from backup.ops.storing.dry_writer import DryWriter
from backup.ops.storing.intake import append_blocks
from backup.ops.storing.monitor import Counts, Monitor
from backup.ops.storing.part import Part, encode_in_place, group, plain_size, spans
from backup.ops.storing.reader import BatchReader
from backup.ops.storing.slots import slot_size
from backup.repository import Repository, Writer
from backup.snapshots.extents import encode_content
from backup.snapshots.tree import encode_extra


class StoredStream(NamedTuple):
    """What an entry keeps of it: object and extra; and its size in bytes."""

    object: ObjectId
    extra: bytes
    size: int


class StreamStore:
    """Reused for many streams; memory is bounded however much comes."""

    def __init__(
        self, repository: Repository, writer: Writer | DryWriter, counts: Counts, monitor: Monitor
    ) -> None:
        config = repository.config
        self._reader = BatchReader(config.hash, Chunker(config.chunker))
        self._compression = config.compression
        self._room = memoryview(bytearray(slot_size(config.chunker)))
        self._writer = writer
        self._counts = counts
        self._monitor = monitor

    def store(self, read_into: ReadInto) -> StoredStream:
        """Reads to the end. Raises OSError; `CannotStore`."""
        content = self._reader.read_stream(read_into, self._room, self._take)
        object_id, extents = encode_content(content.extents, self._writer.store_tree)
        size = content.extents[-1].end if content.extents else 0
        return StoredStream(object_id, encode_extra(b"", (), extents, content.hash), size)

    def _take(self, part: Part) -> memoryview:
        before = self._writer.bytes_added
        blocks = group(part.objects, self._writer.claim(part.objects))
        sizes = encode_in_place(self._room, spans(part.objects, blocks), self._compression)
        append_blocks(self._writer, part, blocks, sizes, self._room)
        size = plain_size(part)
        self._counts.bytes_read += size
        self._counts.bytes_deduplicated += size - (self._writer.bytes_added - before)
        self._monitor.read(size)
        self._monitor.entries(0, size)
        return self._room
