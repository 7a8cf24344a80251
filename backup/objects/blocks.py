"""Whole blocks of packs, at places that are known; for a reader that goes through them in order."""

from collections import OrderedDict

from backup.model.errors import Damaged
from backup.model.ids import PackId
from backup.objects.block import decode_block
from backup.objects.pack import pack_key
from backup.storage import Storage

#: Plain bytes of the blocks that are kept.
KEPT = 8 << 20

#: The pack, and where in it the block begins and how long it is, in bytes.
Spot = tuple[PackId, int, int]


class BlockReader:
    """For one thread. Objects are not checked against their names: that is for whoever takes them out."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._blocks: OrderedDict[Spot, memoryview] = OrderedDict()
        self._size = 0

    def read(self, spot: Spot) -> memoryview:
        """The block's plain bytes. Raises `Damaged`, or `OSError` where the storage fails."""
        plain = self._blocks.get(spot)
        if plain is not None:
            self._blocks.move_to_end(spot)
            return plain
        pack, offset, size = spot
        what = f"pack {pack.hex()[:12]}"
        try:
            data = self._storage.read(pack_key(pack), offset, size)
        except FileNotFoundError:
            raise Damaged(f"{what}: the pack is missing from the repository") from None
        plain = self._blocks[spot] = memoryview(decode_block(data, what)[1])
        self._size += len(plain)
        while self._size > KEPT and len(self._blocks) > 1:
            self._size -= len(self._blocks.popitem(last=False)[1])
        return plain
