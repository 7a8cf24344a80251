"""Reading objects by name: located, decoded, checked against the name, and kept for a while."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId
from backup.objects.block import HEADER_SIZE, BlockKind, decode_block, read_header
from backup.objects.hashing import NameOf, misnamed
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
        #: Where the block begins that follows the one decoded last.
        self._following: BlockKey | None = None
        #: The block that is likely to be read next, where blocks are read in order.
        self._ahead: BlockKey | None = None

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
        if block.following is not None:
            self._ahead, block.following = block.following, None
        data = memoryview(block.plain)[place.offset : place.offset + place.length]
        # Checked once for as long as the block is kept; the index may be wrong, so for this very range.
        checked = object_id, place.offset, place.length
        if checked not in block.checked:
            if self._name(data) != object_id:
                self._cache.drop(key)
                raise misnamed(_what(object_id, place))
            block.checked.add(checked)
        return data

    def read_ahead(self) -> None:
        """Decodes the block that is likely to be read next, if it is small. Damage is met when it is read."""
        key, self._ahead = self._ahead, None
        if key is not None and key not in self._cache:
            with suppress(Damaged, OSError):
                self._decode_small(key)

    def _decode_small(self, key: BlockKey) -> None:
        pack, offset = key
        what = f"pack {pack.hex()[:12]}"
        header = read_header(self._read_pack(pack, offset, HEADER_SIZE, what), what)
        if header.kind == BlockKind.DATA and header.plain <= QUICK_SIZE:
            size = HEADER_SIZE + header.stored
            block = _Block(decode_block(self._read_pack(pack, offset, size, what), what)[1])
            block.following = self._following = pack, offset + size
            self._cache.get(key, lambda: block)

    def _decode(self, object_id: ObjectId, place: Place) -> "_Block":
        following = place.pack, place.block_offset + place.block_size
        if self._following == (place.pack, place.block_offset):
            self._ahead = following
        self._following = following
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
    __slots__ = ("checked", "following", "plain")

    def __init__(self, plain: Buffer) -> None:
        self.plain = plain
        #: Of a block decoded ahead and not read yet: the one after it.
        self.following: BlockKey | None = None
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
