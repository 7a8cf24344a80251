"""The names of all objects: of a million, in 32 MB."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from backup.model.ids import ID_SIZE, ObjectId


class Names:
    """Distinct names in order. The number of a name is its position."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        """Each piece holds names one after the other; a name may come more than once."""
        self._names = _in_order(pieces)
        counts = array("I", bytes(4 * ((1 << 16) + 1)))
        for at in range(0, len(self._names), ID_SIZE):
            counts[int.from_bytes(self._names[at : at + 2]) + 1] += 1
        #: By the first two bytes: how many names come before those that begin with them.
        self._starts = array("I", accumulate(counts))

    def __len__(self) -> int:
        return len(self._names) // ID_SIZE

    def __getitem__(self, number: int) -> ObjectId:
        return ObjectId(self._names[number * ID_SIZE : (number + 1) * ID_SIZE])

    def number(self, name: ObjectId) -> int:
        """-1 where there is no such name."""
        first = int.from_bytes(name[:2])
        start, end = self._starts[first], self._starts[first + 1]
        number = start + bisect_left(range(start, end), name, key=self.__getitem__)
        return number if number < end and self[number] == name else -1


def _in_order(pieces: Iterable[bytes]) -> bytes:
    """A part at a time, so that few names are Python's objects at once."""
    parts = [bytearray() for _ in range(256)]
    for piece in pieces:
        for name in split(piece):
            parts[name[0]] += name
    parts.reverse()
    ordered = bytearray()
    while parts:
        ordered += b"".join(sorted(set(split(bytes(parts.pop())))))
    return bytes(ordered)


def split(piece: bytes) -> Iterable[ObjectId]:
    """The names that a piece holds."""
    return (ObjectId(piece[at : at + ID_SIZE]) for at in range(0, len(piece), ID_SIZE))
