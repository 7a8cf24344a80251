"""Which packs are listed by which segments: written, and replaced.

A pack stands before a segment lists it, and a segment stands before the one that it replaces goes.
"""

from collections.abc import Container, Iterable, Sequence
from contextlib import suppress

from backup.model.ids import ObjectId, PackId, SegmentId
from backup.objects.pack import PackRecord
from backup.objects.segment import encode_segment, segment_key
from backup.repository.repository import Repository

#: A segment is written when so many objects, or packs, of one kind wait for it, and at the end. Counted, not
#: timed: so what is written depends on what is stored alone. A kill loses nothing by it: the next run
#: reads the footers of packs that no segment lists.
SEGMENT_OBJECTS = 1 << 17
SEGMENT_PACKS = 64


def fills_segment(packs: Sequence[PackRecord]) -> bool:
    """Whether so many packs are worth a segment of their own."""
    return len(packs) >= SEGMENT_PACKS or sum(map(_objects, packs)) >= SEGMENT_OBJECTS


def write_segment(
    repository: Repository, packs: list[PackRecord], trees: Sequence[tuple[ObjectId, bytes]] = ()
) -> tuple[SegmentId, int]:
    """Lists packs that stand, in a segment and then in the index. Gives its name and its size in bytes."""
    segment, size = _put_segment(repository, packs)
    repository.index.add_segment(segment, packs, trees)
    return segment, size


def _put_segment(repository: Repository, packs: list[PackRecord]) -> tuple[SegmentId, int]:
    data = encode_segment(packs, repository.config.compression)
    segment = SegmentId(repository.name(data))
    repository.storage.put(segment_key(segment), data)
    return segment, len(data)


def write_segments(repository: Repository, packs: Iterable[PackRecord]) -> set[SegmentId]:
    """As many segments as it takes. The index takes them in with its next look at all."""
    written = set()
    waiting: list[PackRecord] = []
    for pack in packs:
        waiting.append(pack)
        if fills_segment(waiting):
            written.add(_put_segment(repository, waiting)[0])
            waiting = []
    if waiting:
        written.add(_put_segment(repository, waiting)[0])
    return written


def replace_segments(repository: Repository, gone: Container[PackId]) -> None:
    """Segments that list a pack of `gone` make room for others without those, which stand first."""
    old: list[SegmentId] = []
    written: set[SegmentId] = set()
    waiting: list[PackRecord] = []
    known: set[PackId] = set()
    for segment, packs in repository.inventory.loaded_segments():
        if any(pack.id in gone for pack in packs):
            old.append(segment)
            new = [pack for pack in packs if pack.id not in gone and pack.id not in known]
            known.update(pack.id for pack in new)
            waiting += new
        if sum(map(_objects, waiting)) >= SEGMENT_OBJECTS:
            written |= write_segments(repository, waiting)
            waiting = []
    written |= write_segments(repository, waiting)
    for segment in old:
        if segment not in written:
            with suppress(FileNotFoundError):
                repository.storage.delete(segment_key(segment))


def _objects(pack: PackRecord) -> int:
    return sum(len(block.objects) for block in pack.blocks)
