"""Looking for the bytes of a missing object: in the index, in another repository, in the source."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial

from backup.model.errors import Damaged, ImbfsError
from backup.model.ids import ObjectId
from backup.objects.block import MAX_PLAIN, BlockKind
from backup.ops.repairing.needs import Range
from backup.ops.repairing.plan import Remedy
from backup.repository import Repository


class Remedies:
    """`other` has the same hash; `sources` are directories that a snapshot's paths may lie below."""

    def __init__(self, repository: Repository, other: Repository | None, sources: Iterable[bytes]) -> None:
        self._repository = repository
        self._other = other
        self._sources = list(sources)

    def tree(self, name: ObjectId) -> Remedy | None:
        found = Remedy(BlockKind.TREE, "the index", partial(self._from_index, name))
        return self._first(name, [found, *self._elsewhere(name, BlockKind.TREE)])

    def chunk(self, name: ObjectId, ranges: Iterable[Range]) -> Remedy | None:
        return self._first(name, [*self._elsewhere(name, BlockKind.DATA), *self._in_source(ranges)])

    def _first(self, name: ObjectId, candidates: Iterable[Remedy]) -> Remedy | None:
        for remedy in candidates:
            with suppress(ImbfsError, OSError):
                if self._repository.name(remedy.fetch()) == name:
                    return remedy
        return None

    def _from_index(self, name: ObjectId) -> bytes:
        plain = self._repository.index.tree(name)
        if plain is None:
            raise Damaged("not there")
        return plain

    def _elsewhere(self, name: ObjectId, kind: BlockKind) -> Iterator[Remedy]:
        if (other := self._other) is not None:
            yield Remedy(kind, str(other.path), lambda: bytes(other.reader.read(name)))

    def _in_source(self, ranges: Iterable[Range]) -> Iterator[Remedy]:
        for place in ranges:
            if place.length <= MAX_PLAIN:
                for top in (place.top, *self._sources):
                    path = os.path.join(top, place.path)
                    yield Remedy(BlockKind.DATA, os.fsdecode(path), partial(_read_range, path, place))


def _read_range(path: bytes, place: Range) -> bytes:
    """Only of a regular file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Damaged("not a regular file")
        return os.pread(descriptor, place.length, place.start)
    finally:
        os.close(descriptor)
