"""Decoded blocks that are kept for a while, and the objects in them by name."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from itertools import accumulate

from backup.model.ids import ObjectId, PackId
from backup.objects.block import BlockHeader, object_lengths
from backup.objects.hashing import NameOf

#: A block's pack, and where in it the block begins.
BlockKey = tuple[PackId, int]
Buffer = bytes | memoryview


class Block:
    """A decoded block."""

    __slots__ = ("checked", "following", "header", "names", "plain")

    def __init__(self, header: BlockHeader, plain: Buffer) -> None:
        self.header = header
        self.plain = plain
        #: Of a block decoded ahead and not read yet: the one after it.
        self.following: BlockKey | None = None
        #: What was found to hash to its name: name, offset and length.
        self.checked: set[tuple[ObjectId, int, int]] = set()
        #: All objects, where the cache knows them by name.
        self.names: tuple[ObjectId, ...] = ()


class BlockCache:
    """The blocks used last. Each is decoded by one thread, however many ask for it."""

    def __init__(self, size: int) -> None:
        """`size` is in plain bytes."""
        self._room = size
        self._blocks: OrderedDict[BlockKey, Block] = OrderedDict()
        self._loading: dict[BlockKey, threading.Event] = {}
        self._lock = threading.Lock()
        #: An object's bytes, which were hashed to get its name, and the block they are in. To look only.
        self.named: dict[ObjectId, tuple[memoryview, Block]] = {}

    def __contains__(self, key: BlockKey) -> bool:
        return key in self._blocks

    def get(self, key: BlockKey, load: Callable[[], Block]) -> Block:
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
                self._let_go(block)

    def name_objects(self, key: BlockKey, name: NameOf, what: str) -> None:
        """Hashes all objects of a block that is kept: from then on they are in `named`. Raises `Damaged`."""
        block = self._blocks.get(key)
        if block is None:
            return
        plain = memoryview(block.plain)
        starts = accumulate(lengths := object_lengths(block.header, plain, what), initial=0)
        pieces = [plain[start : start + length] for start, length in zip(starts, lengths, strict=False)]
        names = tuple(map(name, pieces))
        with self._lock:
            if self._blocks.get(key) is block:
                block.names = names
                for object_id, piece in zip(names, pieces, strict=True):
                    self.named[object_id] = piece, block

    def _keep(self, key: BlockKey, block: Block) -> None:
        self._blocks[key] = block
        self._room -= len(block.plain)
        while self._room < 0 and len(self._blocks) > 1:
            self._let_go(self._blocks.popitem(last=False)[1])

    def _let_go(self, block: Block) -> None:
        self._room += len(block.plain)
        for object_id in block.names:
            self.named.pop(object_id, None)
