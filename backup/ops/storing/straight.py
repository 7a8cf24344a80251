"""Storing what is read one thing after the other: in this very process."""

from backup.objects.chunker import Chunker
from backup.ops.storing.dry_writer import DryWriter
from backup.ops.storing.intake import append_blocks
from backup.ops.storing.monitor import Counts, Monitor
from backup.ops.storing.part import Part, encode_in_place, group, plain_size, spans
from backup.ops.storing.slots import slot_size
from backup.repository import Repository, Writer


class Straight:
    """Memory for plain objects, and what stores them. Counts what is read; for one thread."""

    def __init__(
        self, repository: Repository, writer: Writer | DryWriter, counts: Counts, monitor: Monitor
    ) -> None:
        config = repository.config
        self.chunker = Chunker(config.chunker)
        self.room = memoryview(bytearray(slot_size(config.chunker)))
        self._compression = config.compression
        self._writer = writer
        self._counts = counts
        self._monitor = monitor

    def take(self, part: Part) -> memoryview:
        """Stores the part that fills the memory; that memory, to go on with."""
        before = self._writer.bytes_added
        blocks = group(part.objects, self._writer.claim(part.objects))
        sizes = encode_in_place(self.room, spans(part.objects, blocks), self._compression)
        append_blocks(self._writer, part, blocks, sizes, self.room)
        size = plain_size(part)
        self._counts.bytes_read += size
        self._counts.bytes_deduplicated += size - (self._writer.bytes_added - before)
        self._monitor.read(size)
        return self.room
