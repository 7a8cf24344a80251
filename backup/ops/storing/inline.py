"""Reading batches in this very process: for small backups, and where no workers are wanted."""

from backup.objects.block import CompressionSettings
from backup.ops.storing.batch import Batch
from backup.ops.storing.intake import Intake
from backup.ops.storing.part import Part, encode_in_place, spans
from backup.ops.storing.reader import BatchReader


class Inline:
    """Everything is done when `submit` returns."""

    def __init__(
        self, intake: Intake, reader: BatchReader, compression: CompressionSettings, size: int
    ) -> None:
        self._intake = intake
        self._reader = reader
        self._compression = compression
        self._room = memoryview(bytearray(size))

    def submit(self, batch: Batch) -> None:
        done = 0

        def take(part: Part) -> memoryview:
            nonlocal done
            blocks = self._intake.claim(part)
            sizes = encode_in_place(self._room, spans(part.objects, blocks), self._compression)
            self._intake.append(part, blocks, sizes, self._room)
            done = self._intake.deliver(batch, done, part)
            return self._room

        try:
            take(self._reader.read(batch.directories, batch.files, self._room, take))
        finally:
            batch.close()
