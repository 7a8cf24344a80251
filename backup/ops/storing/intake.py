"""What was read, on its way into the repository: in the order of the walk, whoever read it."""

from typing import Protocol

from backup.model.ids import ObjectId
from backup.ops.storing.batch import Batch, Wanted
from backup.ops.storing.part import Part, Result, group, plain_size


class ObjectWriter(Protocol):
    """What storing files' content needs of the repository."""

    @property
    def bytes_added(self) -> int: ...

    def claim(self, objects: list[tuple[ObjectId, int]]) -> list[int]: ...

    def append(self, block: memoryview, objects: list[tuple[ObjectId, int]]) -> None: ...


class Taker(Protocol):
    """Is told of each file, in the order of the batches, of the bytes read for them, and of those among
    them that were stored already."""

    def take(self, wanted: Wanted, result: Result) -> None: ...

    def read(self, size: int) -> None: ...

    def deduplicated(self, size: int) -> None: ...


class Intake:
    """Parts come in order; so do their blocks, perhaps later."""

    def __init__(self, writer: ObjectWriter, taker: Taker) -> None:
        self._writer = writer
        self._taker = taker

    def claim(self, part: Part) -> list[list[int]]:
        """The blocks that are to be made: the positions of the objects in each."""
        before = self._writer.bytes_added
        new = self._writer.claim(part.objects)
        self._taker.deduplicated(plain_size(part) - (self._writer.bytes_added - before))
        return group(part.objects, new)

    def deliver(self, batch: Batch, done: int, part: Part) -> int:
        """Hands out a part's results, those of the batch's files from number `done` on."""
        # The last thing done with a part: the taker may stop the backup.
        for result in part.results:
            self._taker.take(batch.wanted[done], result)
            done += 1
        self._taker.read(plain_size(part))
        return done

    def append(self, part: Part, blocks: list[list[int]], sizes: list[int], room: memoryview) -> None:
        append_blocks(self._writer, part, blocks, sizes, room)


def append_blocks(
    writer: ObjectWriter, part: Part, blocks: list[list[int]], sizes: list[int], room: memoryview
) -> None:
    """Stores a part's blocks, which lie in `room` one after the other."""
    at = 0
    for block, size in zip(blocks, sizes, strict=True):
        writer.append(room[at : at + size], [part.objects[number] for number in block])
        at += size
