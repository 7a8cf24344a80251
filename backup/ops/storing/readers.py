"""Who reads batches: worker processes, or this process itself where that is not worth a fork."""

from typing import Protocol

from backup.objects.block import CompressionSettings
from backup.objects.chunker import Chunker, ChunkerSettings
from backup.objects.hashing import HashName
from backup.ops.storing.batch import Batch
from backup.ops.storing.crew import Crew
from backup.ops.storing.inline import Inline
from backup.ops.storing.intake import Intake
from backup.ops.storing.reader import BatchReader
from backup.ops.storing.slots import slot_size
from backup.source.seals import Seals


class ContentSettings(Protocol):
    """How a repository cuts, names and compresses what files hold."""

    @property
    def hash(self) -> HashName: ...

    @property
    def chunker(self) -> ChunkerSettings: ...

    @property
    def compression(self) -> CompressionSettings: ...


class Readers:
    """Starts workers with the first full batch. Close it. Files that are read get `seals`."""

    def __init__(
        self, intake: Intake, settings: ContentSettings, workers: int, seals: Seals | None = None
    ) -> None:
        self._intake = intake
        self._reader = BatchReader(settings.hash, Chunker(settings.chunker), seals)
        self._compression = settings.compression
        self._size = slot_size(settings.chunker)
        self._workers = workers
        self._crew: Crew | None = None
        self._inline: Inline | None = None

    def submit(self, batch: Batch) -> None:
        """The batch will be read; perhaps it is already. May wait for batches before it."""
        if self._crew is None and self._workers and batch.full:
            self._crew = Crew(self._intake, self._reader, self._compression, self._size, self._workers)
        if self._crew is not None:
            self._crew.submit(batch)
            return
        if self._inline is None:
            self._inline = Inline(self._intake, self._reader, self._compression, self._size)
        self._inline.submit(batch)

    @property
    def busy(self) -> bool:
        return self._crew is not None and self._crew.busy

    def poll(self) -> None:
        """Takes what was read meanwhile."""
        if self._crew is not None:
            self._crew.poll()

    def wait(self) -> None:
        """Waits for something that is under way."""
        if self._crew is not None and self._crew.busy:
            self._crew.wait()

    def finish(self) -> None:
        """Waits until all is read and stored."""
        while self.busy:
            self.wait()

    def settle(self) -> None:
        """Waits for what would be lost otherwise: for a backup that stops."""
        if self._crew is not None:
            self._crew.settle()

    def close(self) -> None:
        if self._crew is not None:
            self._crew.close()
