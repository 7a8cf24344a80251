"""Reading objects by name: located, decoded, checked against the name, and kept for a while."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId
from backup.objects.block import decode_block
from backup.objects.hashing import NameOf, require_name
from backup.objects.pack import BlockRecord, Place, pack_key, read_footer
from backup.storage import Storage

#: Decoded blocks kept, in plain bytes.
CACHE_SIZE = 32 << 20
#: Plain bytes of a block that decodes in less time than it takes to hand the work to a thread.
QUICK_SIZE = 512 << 10
#: Read from a pack's end at first: holds most footers.
TAIL_SIZE = 64 << 10

BlockKey = tuple[PackId, int]
Buffer = bytes | memoryview


class ObjectReader:
    """Reads objects of one repository. Safe to use from several threads.

    Every object is checked against its name before it is given out. `locate` is quick; `locate_again`
    is slow, gives all places that an object has, and is asked where `locate` led to damage.
    """

    def __init__(
        self,
        storage: Storage,
        locate: Callable[[ObjectId], Place | None],
        name: NameOf,
        locate_again: Callable[[ObjectId], Iterable[Place]] = lambda _: (),
        cache_size: int = CACHE_SIZE,
    ) -> None:
        self._storage = storage
        self._locate = locate
        self._locate_again = locate_again
        self._name = name
        self._cache = _BlockCache(cache_size)

    def place(self, object_id: ObjectId) -> Place:
        """Raises `Damaged` where no pack is known to hold the object."""
        place = self._locate(object_id)
        if place is None:
            raise Damaged(f"object {object_id.hex()[:12]} is missing from the repository")
        return place

    def read(self, object_id: ObjectId) -> Buffer:
        """The object's plain bytes. Raises `Damaged`, or `OSError` where the storage fails."""
        place = self.place(object_id)
        try:
            return self.read_at(object_id, place)
        except Damaged:
            # The place may be what is wrong, or there may be another copy.
            for other in self._locate_again(object_id):
                if other != place:
                    with suppress(Damaged):
                        return self.read_at(object_id, other)
            raise

    def read_quickly(self, object_id: ObjectId) -> Buffer | None:
        """As `read`, where the object's block is small, or decoded already; else None."""
        place = self.place(object_id)
        if place.plain > QUICK_SIZE and (place.pack, place.block_offset) not in self._cache:
            return None
        try:
            return self.read_at(object_id, place)
        except Damaged:
            return self.read(object_id)

    def read_at(self, object_id: ObjectId, place: Place) -> Buffer:
        key = (place.pack, place.block_offset)
        block = self._cache.get(key, lambda: self._decode(object_id, place))
        data = memoryview(block.plain)[place.offset : place.offset + place.length]
        # Checked once for as long as the block is kept; the index may be wrong, so for this very range.
        checked = object_id, place.offset, place.length
        if checked not in block.checked:
            try:
                require_name(self._name, data, object_id, _what(object_id, place))
            except Damaged:
                self._cache.drop(key)
                raise
            block.checked.add(checked)
        return data

    def _decode(self, object_id: ObjectId, place: Place) -> "_Block":
        what = _what(object_id, place)
        data = self._read_pack(place.pack, place.block_offset, place.block_size, what)
        return _Block(decode_block(data, what)[1])

    def _read_pack(self, pack: PackId, offset: int, size: int, what: str) -> bytes:
        try:
            return self._storage.read(pack_key(pack), offset, size)
        except FileNotFoundError:
            raise Damaged(f"{what}: the pack is missing from the repository") from None


def _what(object_id: ObjectId, place: Place) -> str:
    return f"object {object_id.hex()[:12]} in pack {place.pack.hex()[:12]}"


def read_pack_footer(storage: Storage, pack: PackId, size: int) -> tuple[BlockRecord, ...]:
    """The blocks of a pack of `size` bytes, from its own footer. Raises `Damaged`."""
    what = f"pack {pack.hex()[:12]}"
    need = min(TAIL_SIZE, size)
    while True:
        tail = storage.read(pack_key(pack), size - need, need)
        if len(tail) != need:
            raise Damaged(f"{what}: the pack is cut short")
        blocks = read_footer(tail, size, what)
        if not isinstance(blocks, int):
            return blocks
        need = blocks


class _Block:
    __slots__ = ("checked", "plain")

    def __init__(self, plain: Buffer) -> None:
        self.plain = plain
        self.checked: set[tuple[ObjectId, int, int]] = set()


class _BlockCache:
    """The blocks used last. Each is decoded by one thread, however many ask for it."""

    def __init__(self, size: int) -> None:
        self._room = size
        self._blocks: OrderedDict[BlockKey, _Block] = OrderedDict()
        self._loading: dict[BlockKey, threading.Event] = {}
        self._lock = threading.Lock()

    def __contains__(self, key: BlockKey) -> bool:
        return key in self._blocks

    def get(self, key: BlockKey, load: Callable[[], _Block]) -> _Block:
        while True:
            with self._lock:
                block = self._blocks.get(key)
                if block is not None:
                    self._blocks.move_to_end(key)
                    return block
                waiting = self._loading.get(key)
                if waiting is None:
                    self._loading[key] = threading.Event()
                    break
            waiting.wait()
        try:
            block = load()
            with self._lock:
                self._keep(key, block)
            return block
        finally:
            with self._lock:
                self._loading.pop(key).set()

    def drop(self, key: BlockKey) -> None:
        with self._lock:
            block = self._blocks.pop(key, None)
            if block is not None:
                self._room += len(block.plain)

    def _keep(self, key: BlockKey, block: _Block) -> None:
        self._blocks[key] = block
        self._room -= len(block.plain)
        while self._room < 0 and len(self._blocks) > 1:
            self._room += len(self._blocks.popitem(last=False)[1].plain)
