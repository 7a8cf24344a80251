"""Copying what is needed out of packs that are mostly unused."""

from collections.abc import Container, Iterable, Sequence

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId
from backup.objects.block import BlockKind, decode_block
from backup.objects.pack import BlockRecord, PackRecord, pack_key
from backup.objects.reader import read_pack_footer
from backup.objects.writer import PackWriter
from backup.ops.pruning.monitor import Monitor
from backup.ops.pruning.need import Holders
from backup.ops.pruning.plan import PackUse
from backup.ops.pruning.survey import Survey
from backup.repository import Repository
from backup.repository.segments import fills_segment, write_segments


class Repack:
    """Used once. Blocks that are needed as a whole are copied as they are; every object is checked."""

    def __init__(
        self,
        repository: Repository,
        survey: Survey,
        holders: Holders,
        condemned: Container[PackId],
        monitor: Monitor,
    ) -> None:
        """`condemned` are packs that go, those to be repacked among them."""
        self._repository = repository
        self._survey = survey
        self._holders = holders
        self._monitor = monitor
        #: Packs that no segment lists yet.
        self._made: list[PackRecord] = []
        config = repository.config
        self._writers = {
            kind: PackWriter(
                repository.storage,
                kind,
                config.hash,
                config.compression,
                config.pack_size,
                self._pack_done,
                condemned,
                config.parity,
            )
            for kind in (BlockKind.DATA, BlockKind.TREE)
        }

    def run(self, packs: Sequence[PackUse]) -> list[PackId]:
        """Gives the packs that are not needed any more: one that is damaged stays. Raises OSError."""
        self._monitor.step("repacking", sum(pack.stored for pack in packs))
        copied = []
        try:
            for pack in packs:
                try:
                    self._copy(pack)
                    copied.append(pack.id)
                except Damaged as error:
                    self._monitor.notice(f"{error}: its pack stays; `imbfs check --read-data` tells more")
                self._monitor.advance(pack.stored)
            for writer in self._writers.values():
                writer.finish()
        except BaseException:
            for writer in self._writers.values():
                writer.discard()
            raise
        self._list()
        return copied

    def _pack_done(self, pack: PackRecord) -> None:
        self._made.append(pack)
        if fills_segment(self._made):
            self._list()

    def _list(self) -> None:
        write_segments(self._repository, self._made)
        for made in self._made:
            self._survey.add(made)
        self._made = []

    def _copy(self, pack: PackUse) -> None:
        needed = self._holders.needed_in(pack.id)
        for block in read_pack_footer(self._repository.storage, pack.id, pack.size):
            wanted = [name for name, _ in block.objects if name in needed]
            if wanted:
                self._copy_block(pack.id, block, wanted)

    def _copy_block(self, pack: PackId, block: BlockRecord, wanted: Iterable[ObjectId]) -> None:
        what = f"pack {pack.hex()[:12]}"
        data = self._repository.storage.read(pack_key(pack), block.offset, block.size)
        plain = memoryview(decode_block(data, what)[1])
        pieces: dict[ObjectId, memoryview] = {}
        start = 0
        for name, length in block.objects:
            pieces[name] = plain[start : start + length]
            start += length
        wanted = list(dict.fromkeys(wanted))
        for name in wanted:
            if self._repository.name(pieces[name]) != name:
                raise Damaged(f"object {name.hex()[:12]} in {what} does not hash to its name")
        writer = self._writers[BlockKind(block.kind)]
        if len(wanted) == len(block.objects):
            writer.append(data, list(block.objects))
        else:
            for name in wanted:
                writer.add(name, bytes(pieces[name]))
