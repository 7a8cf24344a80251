"""What comes out of a stream, stored in this process: cut, named, compressed."""

from typing import NamedTuple

from backup.model.ids import ObjectId
from backup.objects.chunker import ReadInto
from backup.ops.storing.dry_writer import DryWriter
from backup.ops.storing.monitor import Counts, Monitor
from backup.ops.storing.part import Part, plain_size
from backup.ops.storing.reader import BatchReader
from backup.ops.storing.straight import Straight
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
        self._straight = Straight(repository, writer, counts, monitor)
        self._reader = BatchReader(repository.config.hash, self._straight.chunker)
        self._writer = writer
        self._monitor = monitor

    def store(self, read_into: ReadInto) -> StoredStream:
        """Reads to the end. Raises OSError; `CannotStore`."""
        content = self._reader.read_stream(read_into, self._straight.room, self._take)
        object_id, extents = encode_content(content.extents, self._writer.store_tree)
        size = content.extents[-1].end if content.extents else 0
        return StoredStream(object_id, encode_extra(b"", (), extents, content.hash), size)

    def _take(self, part: Part) -> memoryview:
        self._monitor.entries(0, plain_size(part))
        return self._straight.take(part)
