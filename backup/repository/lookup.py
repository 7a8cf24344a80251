"""Where each object is: by the index, which follows the segments; where that fails, by what stands."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import TypeVar

from backup.index import Index
from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId, SegmentId, SnapshotId
from backup.objects.block import BlockKind
from backup.objects.hashing import NameOf
from backup.objects.pack import PackRecord, Place, places
from backup.objects.reader import read_pack_footer
from backup.repository.comparison import compare_index
from backup.repository.inventory import Inventory
from backup.repository.missing import read_missing

#: A missing object makes the index look for new segments, at most this often.
RESYNC_SECONDS = 1.0
#: A sync that meets damage begins again, so often.
SYNC_TRIES = 3

T = TypeVar("T")


class Lookup:
    """Owned by one repository. Threads may share it for reading."""

    def __init__(
        self,
        index: Index,
        inventory: Inventory,
        snapshots: Callable[[], Iterable[SnapshotId]],
        index_was_damaged: Callable[[str], None],
    ) -> None:
        """`snapshots` tells those that stand: an index that is made anew has to know of them."""
        self.index = index
        self._inventory = inventory
        self._snapshots = snapshots
        self._index_was_damaged = index_was_damaged
        self._unlisted: dict[ObjectId, Place] | None = None
        #: Places that the segments tell and the index does not; None until they were compared.
        self._others: dict[ObjectId, list[Place]] | None = None
        self._lock = threading.RLock()
        self._synced = 0.0
        self._filled = 0
        self.sync()

    def place(self, object_id: ObjectId) -> Place | None:
        """Where an object is, by the index; where that fails, by all segments and by the packs."""
        place = self.index.place(object_id)
        if place is None:
            if self.index.replaced != self._filled or time.monotonic() - self._synced > RESYNC_SECONDS:
                self.sync()
            place = next(self.true_places(object_id), None)
        return place

    def true_places(self, object_id: ObjectId) -> Iterator[Place]:
        """All places of an object by the segments and the packs' own footers, whatever the index says.

        The first ones are quickly told; for the others, all segments are read, once.
        """
        with self._lock:
            if self.index.segments() != set(self._inventory.segments()) - self._inventory.damaged_segments:
                # As after a prune by another machine: it has moved what the index says is elsewhere.
                self.sync()
            places = [self.index.place(object_id), self.unlisted().get(object_id)]
        yield from filter(None, places)
        with self._lock:
            if self._others is None:
                self.compare()
                places = [self.index.place(object_id)]
            else:
                places = []
            places += (self._others or {}).get(object_id, [])
        yield from filter(None, places)

    def packs_of(self, objects: Iterable[ObjectId]) -> dict[ObjectId, PackId]:
        """The packs of those objects that are stored, as far as segments list them."""
        asked = list(objects)
        return self._ask(lambda: self.index.packs_of(asked))

    def lacks_something(self) -> bool:
        """Whether a pack that a segment lists has gone, or a repair found that objects are missing."""
        if read_missing(self._inventory.storage) is not None:
            return True
        return not self._ask(self.index.packs) <= {pack for pack, _ in self._inventory.packs()}

    def unlisted(self) -> dict[ObjectId, Place]:
        """Objects of packs that no segment lists: their own footers still tell."""
        with self._lock:
            if self._unlisted is None:
                self._unlisted = {}
                for pack in self.unlisted_packs():
                    self._unlisted.update(places(pack))
            return self._unlisted

    def unlisted_packs(self) -> Iterator[PackRecord]:
        """Packs that no segment lists, as far as their footers can be read."""
        listed = self._ask(self.index.packs)
        for pack, size in self._inventory.packs():
            if pack not in listed:
                try:
                    yield PackRecord(pack, size, read_pack_footer(self._inventory.storage, pack, size))
                except (Damaged, FileNotFoundError):
                    continue

    def _ask(self, question: Callable[[], T]) -> T:
        """What the index answers; it is asked again where it turned out damaged meanwhile."""
        answer = question()
        if self.index.replaced != self._filled:
            self.sync()
            answer = question()
        return answer

    # The index follows the segments

    def sync(self) -> None:
        """Brings the index up to date with the segments. Damaged ones are told and left out."""
        with self._lock:
            news = False
            for _ in range(SYNC_TRIES):
                before = self.index.replaced
                news |= self._take_in_segments()
                if self.index.replaced == before:
                    break
            if news or self.index.replaced != self._filled:
                self._filled = self.index.replaced
                self.index.note_snapshots(self._snapshots())
            self._unlisted = None
            self._synced = time.monotonic()

    def _take_in_segments(self) -> bool:
        """Whether there were any that the index did not know."""
        news = False
        for _ in range(SYNC_TRIES):
            standing = set(self._inventory.segments())
            for segment in self.index.begin_sync(standing):
                if (packs := self._inventory.load_segment(segment)) is not None:
                    self._others = None
                    news = True
                    self.index.add_segment(segment, packs)
                    self._index_trees(packs)
            if self.index.end_sync(standing, partial(self._inventory.listed_packs, standing)):
                self._others = None
            # Prune may have put others in their place meanwhile.
            if standing <= set(self._inventory.segments()):
                break
        return news

    def _index_trees(self, packs: list[PackRecord]) -> None:
        """So that a mount of what another machine wrote is as quick. Damage is met when read."""
        for pack in packs:
            for block in pack.blocks:
                if block.kind == BlockKind.TREE and self.index.lacks_trees(name for name, _ in block.objects):
                    with suppress(Damaged, OSError):
                        self.index.add_trees(
                            self._inventory.read_tree_block(pack.id, block.offset, block.size)
                        )

    # Is the index true?

    def compare(self) -> None:
        """Compares the index with all segments, and makes it anew where it is wrong."""
        with self._lock:
            self.sync()
            self._others, wrong = self._compare()
            if wrong:
                self._remake(wrong)
                self._others, _ = self._compare()

    def _compare(self) -> tuple[dict[ObjectId, list[Place]], str]:
        while True:
            known: set[SegmentId] = self.index.segments()
            others, wrong = compare_index(self.index, partial(self._inventory.listed_packs, known))
            # Another process may have changed the index meanwhile.
            if not wrong or known == self.index.segments() <= set(self._inventory.segments()):
                return others, wrong
            self.sync()

    def examine(self, name: NameOf) -> None:
        """Looks at every page, place and tree of the index, and makes it anew where one is wrong."""
        if problems := self.index.problems():
            self._remake(problems[0])
        self.compare()
        for tree in self.index.trees():
            if name(self.index.tree(tree) or b"") != tree:
                self._remake(f"tree {tree.hex()[:12]} has changed")
                break

    def _remake(self, reason: str) -> None:
        self._index_was_damaged(f"the index {self.index.path} is damaged ({reason}): it is made anew")
        self.index.recreate()
        self.sync()
