"""Of an object that several packs hold, one copy stays: one whose bytes are what its name says."""

from collections.abc import Iterator

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId
from backup.objects.block import decode_block
from backup.objects.pack import BlockRecord, pack_key
from backup.objects.reader import read_pack_footer
from backup.repository import Repository


class Copies:
    """Reads each copy that is asked about once."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._sound: dict[tuple[PackId, ObjectId], bool] = {}

    def damaged(self, pack: PackId, size: int, names: set[ObjectId]) -> set[ObjectId]:
        """Those of the names that a pack of `size` bytes does not give back."""
        new = {name for name in names if (pack, name) not in self._sound}
        if new:
            sound = set(self._read(pack, size, new))
            self._sound.update({(pack, name): name in sound for name in new})
        return {name for name in names if not self._sound[pack, name]}

    def _read(self, pack: PackId, size: int, names: set[ObjectId]) -> Iterator[ObjectId]:
        try:
            blocks = read_pack_footer(self._repository.storage, pack, size)
        except (Damaged, OSError):
            return
        for block in blocks:
            if not names.isdisjoint(name for name, _ in block.objects):
                yield from self._sound_in(pack, block)

    def _sound_in(self, pack: PackId, block: BlockRecord) -> Iterator[ObjectId]:
        try:
            data = self._repository.storage.read(pack_key(pack), block.offset, block.size)
            plain = memoryview(decode_block(data, f"pack {pack.hex()[:12]}")[1])
        except (Damaged, OSError):
            return
        start = 0
        for name, length in block.objects:
            if self._repository.name(plain[start : start + length]) == name:
                yield name
            start += length
