"""What stands in a repository's directories, whatever the index says of it."""

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId, SegmentId
from backup.objects.block import HEADER_SIZE, BlockKind, decode_block, object_lengths
from backup.objects.hashing import NameOf
from backup.objects.pack import PackRecord, pack_key
from backup.objects.segment import PREFIX as SEGMENTS
from backup.objects.segment import decode_segment, segment_key
from backup.storage import Storage


class Inventory:
    """Looks at the storage at each call. Threads may share it."""

    def __init__(self, storage: Storage, name: NameOf, notice: Callable[[str], None]) -> None:
        self.storage = storage
        self._name = name
        self._notice = notice
        #: Segments that were told to be damaged.
        self.damaged_segments: set[SegmentId] = set()

    def packs(self) -> Iterator[tuple[PackId, int]]:
        """The packs that stand, with their sizes in bytes."""
        return self._packs("packs")

    def parity(self) -> Iterator[tuple[PackId, int]]:
        """The packs that have a parity file, with that file's size in bytes."""
        return self._packs("parity")

    def _packs(self, prefix: str) -> Iterator[tuple[PackId, int]]:
        for key, size in self.storage.list(prefix):
            if (name := _hex_name(key)) is not None:
                yield PackId(name), size

    def packs_since(self, moment: int) -> Iterator[PackId]:
        """Packs written from then on, in ns by the storage's clock."""
        for pack, _ in self.packs():
            with suppress(FileNotFoundError):
                if self.storage.modified(pack_key(pack)) >= moment:
                    yield pack

    def segments(self) -> list[SegmentId]:
        """The segments that stand, damaged ones too, in no order."""
        return [SegmentId(name) for key, _ in self.storage.list(SEGMENTS) if (name := _hex_name(key))]

    def read_segment(self, segment: SegmentId) -> list[PackRecord]:
        """Raises `Damaged`, or OSError."""
        try:
            data = self.storage.read(segment_key(segment))
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Damaged(f"index segment {segment.hex()[:12]} is a link") from None
            raise
        return decode_segment(data, segment, self._name)

    def load_segment(self, segment: SegmentId) -> list[PackRecord] | None:
        """None where it is damaged, which is told once, or has gone."""
        try:
            return self.read_segment(segment)
        except FileNotFoundError:
            # Prune has put others in its place: the next look finds them.
            return None
        except Damaged as error:
            if segment not in self.damaged_segments:
                self.damaged_segments.add(segment)
                self._notice(f"{error}; `imbfs check` tells what it reaches")
            return None

    def loaded_segments(self) -> Iterator[tuple[SegmentId, list[PackRecord]]]:
        """The segments that stand and are sound, with the packs that they list."""
        for segment in self.segments():
            if (packs := self.load_segment(segment)) is not None:
                yield segment, packs

    def listed_packs(self, segments: Iterable[SegmentId] | None = None) -> Iterator[PackRecord]:
        """The packs that these segments list, or all that stand. One may come more than once."""
        for segment in self.segments() if segments is None else sorted(segments):
            yield from self.load_segment(segment) or ()

    def read_tree_block(self, pack: PackId, offset: int, size: int) -> Iterator[tuple[ObjectId, bytes]]:
        """The objects of one block with their names, from the block alone. Raises `Damaged`."""
        what = f"pack {pack.hex()[:12]}"
        data = self.storage.read(pack_key(pack), offset, size)
        header, plain = decode_block(data, what)
        if header.kind != BlockKind.TREE or HEADER_SIZE + header.stored != size:
            raise Damaged(f"{what}: holds a block of another kind")
        start = 0
        for length in object_lengths(header, plain, what):
            data = bytes(plain[start : start + length])
            yield self._name(data), data
            start += length


def _hex_name(key: str) -> bytes | None:
    """What is not named by a hash was not written by imbfs, and is left alone."""
    name = os.path.basename(key)
    return bytes.fromhex(name) if re.fullmatch(r"[0-9a-f]{64}", name) else None
