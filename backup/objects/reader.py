"""Reading objects by name: located, decoded, checked against the name, and kept for a while."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId
from backup.objects.block import HEADER_SIZE, BlockKind, decode_block, read_header
from backup.objects.cache import Block, BlockCache, BlockKey, Buffer
from backup.objects.hashing import NameOf, misnamed
from backup.objects.pack import BlockRecord, Place, pack_key, read_footer
from backup.storage import Storage

#: Decoded blocks kept, in plain bytes.
CACHE_SIZE = 32 << 20
#: Plain bytes of a block that decodes in less time than it takes to hand the work to a thread.
QUICK_SIZE = 512 << 10
#: Bytes of a pack that a reader may leave out and still be reading it in order.
NEAR = 1 << 20
#: Read from a pack's end at first: holds most footers.
TAIL_SIZE = 64 << 10

Run = Callable[[Callable[[], None]], None]


class ObjectReader:
    """Reads objects of one repository. Safe to use from several threads.

    Every object is checked against its name before it is given out. `locate` is quick; `locate_again`
    is slow, gives all places that an object has, and is asked where `locate` led to damage. `mend` gives
    a range of a pack, by its parity, and is asked last.
    """

    def __init__(
        self,
        storage: Storage,
        locate: Callable[[ObjectId], Place | None],
        name: NameOf,
        locate_again: Callable[[ObjectId], Iterable[Place]] = lambda _: (),
        cache_size: int = CACHE_SIZE,
        mend: Callable[[PackId, int, int], bytes] = lambda *_: b"",
    ) -> None:
        self._storage = storage
        self._locate = locate
        self._locate_again = locate_again
        self._mend = mend
        self._name = name
        self._cache = BlockCache(cache_size)
        #: Where the block begins that follows the one decoded last.
        self._following: BlockKey | None = None
        self._run_ahead: Run = _drop

    def read_ahead(self, run: Run) -> None:
        """From now on, where blocks are read in order, `run` is given the next small one to decode, and to
        hash all of its objects. It does that in another thread. Damage is met when it is read."""
        self._run_ahead = run

    def place(self, object_id: ObjectId) -> Place:
        """Raises `Damaged` where no pack is known to hold the object."""
        place = self._locate(object_id)
        if place is None:
            raise Damaged(f"object {object_id.hex()[:12]} is missing from the repository")
        return place

    def read(self, object_id: ObjectId) -> Buffer:
        """The object's plain bytes. Raises `Damaged`, or `OSError` where the storage fails."""
        data = self._named(object_id)
        if data is not None:
            return data
        place = self.place(object_id)
        try:
            return self.read_at(object_id, place)
        except (Damaged, OSError):
            # The place may be what is wrong, or there may be another copy; a disk may give it no more.
            for other in self._locate_again(object_id):
                if other != place:
                    with suppress(Damaged, OSError):
                        return self.read_at(object_id, other)
            with suppress(Damaged, OSError):
                return self._mended(object_id, place)
            raise

    def _mended(self, object_id: ObjectId, place: Place) -> Buffer:
        """The bytes, with what is rotten computed from the pack's parity."""
        data = self._mend(place.pack, place.block_offset, place.block_size)
        block = Block(*decode_block(data, _what(object_id, place)))
        key = place.pack, place.block_offset
        self._cache.drop(key)
        self._cache.get(key, lambda: block)
        return self.read_at(object_id, place)

    def read_quickly(self, object_id: ObjectId) -> Buffer | None:
        """As `read`, where the object's block is small, or decoded already; else None."""
        data = self._named(object_id)
        if data is not None:
            return data
        place = self.place(object_id)
        if place.plain > QUICK_SIZE and (place.pack, place.block_offset) not in self._cache:
            return None
        try:
            return self.read_at(object_id, place)
        except (Damaged, OSError):
            return self.read(object_id)

    def _named(self, object_id: ObjectId) -> Buffer | None:
        """The bytes, where all objects of their block were hashed: nothing is to be looked up or checked."""
        found = self._cache.named.get(object_id)
        if found is None:
            return None
        data, block = found
        if block.following is not None:
            self._go_on(block)
        return data

    def read_at(self, object_id: ObjectId, place: Place) -> Buffer:
        key = (place.pack, place.block_offset)
        block = self._cache.get(key, lambda: self._decode(object_id, place))
        if block.following is not None:
            self._go_on(block)
        try:
            return self._check(object_id, place, block)
        except Damaged:
            self._cache.drop(key)
            raise

    def _is_near(self, key: BlockKey) -> bool:
        """Whether the block follows the one decoded last, or comes soon after it."""
        return self._following is not None and (
            key[0] == self._following[0] and 0 <= key[1] - self._following[1] <= NEAR
        )

    def _go_on(self, block: Block) -> None:
        """The first object is read of a block that was decoded ahead."""
        key, block.following = block.following, None
        if key is not None:
            self._run_ahead(partial(self._prepare, key))

    def _prepare(self, key: BlockKey) -> None:
        what = f"pack {key[0].hex()[:12]}"
        with suppress(Damaged, OSError):
            if key not in self._cache:
                self._decode_small(key, what)
            self._cache.name_objects(key, self._name, what)

    def _decode_small(self, key: BlockKey, what: str) -> None:
        pack, offset = key
        header = read_header(self._read_pack(pack, offset, HEADER_SIZE, what), what)
        if header.kind == BlockKind.DATA and header.plain <= QUICK_SIZE:
            size = HEADER_SIZE + header.stored
            block = Block(*decode_block(self._read_pack(pack, offset, size, what), what))
            block.following = self._following = pack, offset + size
            self._cache.get(key, lambda: block)

    def _decode(self, object_id: ObjectId, place: Place) -> Block:
        key, following = (place.pack, place.block_offset), (place.pack, place.block_offset + place.block_size)
        if self._is_near(key):
            # This one is in the making, and is only hashed there.
            self._run_ahead(partial(self._prepare, key))
            self._run_ahead(partial(self._prepare, following))
        self._following = following
        what = _what(object_id, place)
        data = self._read_pack(place.pack, place.block_offset, place.block_size, what)
        block = Block(*decode_block(data, what))
        if block.header.count == 1:
            # Here, where others wait for it: two that read one chunk at once would both hash it.
            self._check(object_id, place, block)
        return block

    def _check(self, object_id: ObjectId, place: Place, block: Block) -> memoryview:
        """The object's bytes. Hashed once for as long as the block is kept; the index may be wrong, so for
        this very range. Raises `Damaged`."""
        data = memoryview(block.plain)[place.offset : place.offset + place.length]
        checked = object_id, place.offset, place.length
        if checked not in block.checked:
            if self._name(data) != object_id:
                raise misnamed(_what(object_id, place))
            block.checked.add(checked)
        return data

    def _read_pack(self, pack: PackId, offset: int, size: int, what: str) -> bytes:
        try:
            return self._storage.read(pack_key(pack), offset, size)
        except FileNotFoundError:
            raise Damaged(f"{what}: the pack is missing from the repository") from None


def _drop(task: Callable[[], None]) -> None:
    """Reads nothing ahead."""


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
