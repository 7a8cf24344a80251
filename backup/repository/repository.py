"""A repository: its settings, its files, its index, and how to read an object or a snapshot."""

import errno
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from backup.index import Index, index_paths
from backup.index.location import INDEX_NAME
from backup.model.errors import CannotStore, Damaged, ImbfsError, NoRepository
from backup.model.ids import ObjectId, PackId, SegmentId, SnapshotId
from backup.objects.block import HEADER_SIZE, BlockKind, decode_block, object_lengths
from backup.objects.hashing import name_of
from backup.objects.pack import PackRecord, Place, pack_key, places
from backup.objects.parity import Parity
from backup.objects.reader import ObjectReader, read_pack_footer
from backup.objects.segment import PREFIX as SEGMENTS
from backup.objects.segment import decode_segment, segment_key
from backup.repository.comparison import compare_index
from backup.repository.config import KEY, Config, decode_config, encode_config
from backup.repository.forgotten import forgotten_snapshots
from backup.repository.missing import read_missing
from backup.snapshots.catalogue import Catalogue
from backup.snapshots.directory import Directory
from backup.snapshots.manifest import Snapshot
from backup.storage import LocalStorage
from backup.storage.local import STAGING, make_directory, sync_directory

if TYPE_CHECKING:
    import tempfile

#: Why no index can be where it should be, and another place is taken.
NO_INDEX_THERE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.EISDIR}
)
#: Directories that make a repository recognisable, whatever else is lost.
PARTS = ("packs", SEGMENTS, "snapshots")
#: Where a repair moves what is damaged: below it, files have the keys that they had.
QUARANTINE = "quarantine"
#: A missing object makes the index look for new segments, at most this often.
RESYNC_SECONDS = 1.0

#: A sync that meets damage begins again, so often.
SYNC_TRIES = 3
#: More than any config.json has.
MAX_CONFIG = 1 << 20

T = TypeVar("T")
Notice = Callable[[str], None]


class Repository:
    """Opened by one process; threads may share it for reading. Close it when done."""

    def __init__(self, path: Path, config: Config, cache: Path, notice: Notice) -> None:
        self.path = path
        self.config = config
        self.notice = notice
        self.name = name_of(config.hash)
        self.storage = LocalStorage(path)
        self.catalogue = Catalogue(self.storage, self.name)
        #: What was found wrong with the index, which was made anew then.
        self.index_damage: list[str] = []
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self.index = self._open_index(cache)
        self.reader = ObjectReader(self.storage, self.locate, self.name, self.true_places, mend=self._mend)
        #: Packs that were told to have rotten bytes.
        self._rotten: set[PackId] = set()
        self._unlisted: dict[ObjectId, Place] | None = None
        #: Places that the segments tell and the index does not; None until they were compared.
        self._others: dict[ObjectId, list[Place]] | None = None
        self._lock = threading.RLock()
        self._synced = 0.0
        self._filled = 0
        self._told: set[SegmentId] = set()
        #: What was told of manifests: they are looked at several times.
        self._told_of_manifests: set[str] = set()
        self.sync_index()

    @classmethod
    def create(cls, path: Path, config: Config) -> None:
        """Makes an empty repository. Raises `ImbfsError` where something stands already."""
        if (path / KEY).exists():
            raise ImbfsError(f"a repository exists at {path}: nothing was changed")
        if path.exists() and not _only_begun(path):
            raise ImbfsError(f"{path} is not an empty directory: give a new one")
        make_directory(path.absolute())
        for part in PARTS:
            make_directory(path / part)
        # Last: a directory with a config is a repository.
        LocalStorage(path).put(KEY, encode_config(config))
        sync_directory(path)

    @classmethod
    def open(cls, path: Path, cache: Path, notice: Notice) -> Self:
        """`cache` is the user's cache directory; `notice` is told what a person should know.

        Raises `NoRepository`, `Damaged`, or `ImbfsError`.
        """
        return cls(path, read_config(path), cache, notice)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.index.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    # The index

    def _open_index(self, cache: Path) -> Index:
        for path in index_paths(self.path, self.config.id, cache, self.notice):
            try:
                return Index(path, self.config.id, self._index_was_damaged)
            except OSError as error:
                if error.errno not in NO_INDEX_THERE:
                    raise
        # Seldom needed, and slow to import.
        import tempfile

        self._scratch = tempfile.TemporaryDirectory(prefix="imbfs-")
        return Index(Path(self._scratch.name) / INDEX_NAME, self.config.id, self._index_was_damaged)

    def _index_was_damaged(self, text: str) -> None:
        self.index_damage.append(text)
        self.notice(text)

    def sync_index(self) -> None:
        """Brings the index up to date with the segments. Damaged ones are told and left out."""
        with self._lock:
            for _ in range(SYNC_TRIES):
                before = self.index.replaced
                self._take_in_segments()
                if self.index.replaced == before:
                    break
            if self.index.replaced != self._filled:
                self._filled = self.index.replaced
                self.index.note_snapshots(self.catalogue.ids())
            self._unlisted = None
            self._synced = time.monotonic()

    def _take_in_segments(self) -> None:
        for _ in range(SYNC_TRIES):
            standing = set(self.stored_segments())
            for segment in self.index.begin_sync(standing):
                if (packs := self._load_segment(segment)) is not None:
                    self._others = None
                    self.index.add_segment(segment, packs)
                    self._index_trees(packs)
            if self.index.end_sync(standing, lambda: self._listed_packs(standing)):  # noqa: B023
                self._others = None
            # Prune may have put others in their place meanwhile.
            if standing <= set(self.stored_segments()):
                break

    def _ask(self, question: Callable[[], T]) -> T:
        """What the index answers; it is asked again where it turned out damaged meanwhile."""
        answer = question()
        if self.index.replaced != self._filled:
            self.sync_index()
            answer = question()
        return answer

    def stored_segments(self) -> list[SegmentId]:
        """The segments that stand in the repository, in no order."""
        return [name for key, _ in self.storage.list(SEGMENTS) if (name := _segment_id(key))]

    def read_segment(self, segment: SegmentId) -> list[PackRecord]:
        """Raises `Damaged`, or OSError."""
        try:
            data = self.storage.read(segment_key(segment))
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Damaged(f"index segment {segment.hex()[:12]} is a link") from None
            raise
        return decode_segment(data, segment, self.name)

    def _load_segment(self, segment: SegmentId) -> list[PackRecord] | None:
        try:
            return self.read_segment(segment)
        except FileNotFoundError:
            # Prune has put others in its place: the next look finds them.
            return None
        except Damaged as error:
            if segment not in self._told:
                self._told.add(segment)
                self.notice(f"{error}; `imbfs check` tells what it reaches")
            return None

    def _index_trees(self, packs: list[PackRecord]) -> None:
        """So that a mount of what another machine wrote is as quick. Damage is met when read."""
        for pack in packs:
            for block in pack.blocks:
                if block.kind == BlockKind.TREE and self.index.lacks_trees(name for name, _ in block.objects):
                    with suppress(Damaged, OSError):
                        self.index.add_trees(self.read_tree_block(pack.id, block.offset, block.size))

    def locate(self, object_id: ObjectId) -> Place | None:
        """Where an object is, by the index; where that fails, by all segments and by the packs."""
        place = self.index.place(object_id)
        if place is None:
            if self.index.replaced != self._filled or time.monotonic() - self._synced > RESYNC_SECONDS:
                self.sync_index()
            place = next(self.true_places(object_id), None)
        return place

    def true_places(self, object_id: ObjectId) -> Iterator[Place]:
        """All places of an object by the segments and the packs' own footers, whatever the index says.

        The first ones are quickly told; for the others, all segments are read, once.
        """
        with self._lock:
            if self.index.segments() != set(self.stored_segments()) - self._told:
                # As after a prune by another machine: it has moved what the index says is elsewhere.
                self.sync_index()
            places = [self.index.place(object_id), self.unlisted().get(object_id)]
        yield from filter(None, places)
        with self._lock:
            if self._others is None:
                self.compare_index()
                places = [self.index.place(object_id)]
            else:
                places = []
            places += (self._others or {}).get(object_id, [])
        yield from filter(None, places)

    def compare_index(self) -> None:
        """Compares the index with all segments, and makes it anew where it is wrong."""
        with self._lock:
            self.sync_index()
            self._others, wrong = self._compare()
            if wrong:
                self.remake_index(wrong)
                self._others, _ = self._compare()

    def _compare(self) -> tuple[dict[ObjectId, list[Place]], str]:
        while True:
            known = self.index.segments()
            others, wrong = compare_index(self.index, partial(self._listed_packs, known))
            # Another process may have changed the index meanwhile.
            if not wrong or known == self.index.segments() <= set(self.stored_segments()):
                return others, wrong
            self.sync_index()

    def examine_index(self) -> None:
        """Looks at every page, place and tree of the index; what is wrong is added to `index_damage`."""
        if problems := self.index.problems():
            self.remake_index(problems[0])
        self.compare_index()
        for tree in self.index.trees():
            if self.name(self.index.tree(tree) or b"") != tree:
                self.remake_index(f"tree {tree.hex()[:12]} has changed")
                break

    def remake_index(self, reason: str) -> None:
        self._index_was_damaged(f"the index {self.index.path} is damaged ({reason}): it is made anew")
        self.index.recreate()
        self.sync_index()

    def _listed_packs(self, segments: set[SegmentId]) -> Iterator[PackRecord]:
        for segment in sorted(segments):
            yield from self._load_segment(segment) or ()

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
        for pack, size in self.stored_packs():
            if pack not in listed:
                try:
                    yield PackRecord(pack, size, read_pack_footer(self.storage, pack, size))
                except (Damaged, FileNotFoundError):
                    continue

    def listed_packs(self) -> Iterator[PackRecord]:
        """What the segments say, whatever the index does. A pack may come more than once."""
        for _, packs in self.segments():
            yield from packs

    def segments(self) -> Iterator[tuple[SegmentId, list[PackRecord]]]:
        """The segments that stand and are sound, with the packs that they list."""
        for key, _ in self.storage.list(SEGMENTS):
            if (segment := _segment_id(key)) and (packs := self._load_segment(segment)) is not None:
                yield segment, packs

    def stored_packs(self) -> Iterator[tuple[PackId, int]]:
        """The packs that stand in the repository, with their sizes in bytes."""
        for key, size in self.storage.list("packs"):
            pack = _pack_id(key)
            if pack is not None:
                yield pack, size

    def packs_since(self, moment: int) -> Iterator[PackId]:
        """Packs written from then on, in ns by the storage's clock."""
        for pack, _ in self.stored_packs():
            with suppress(FileNotFoundError):
                if self.storage.modified(pack_key(pack)) >= moment:
                    yield pack

    def lacks_something(self) -> bool:
        """Whether a pack that a segment lists has gone, or a repair found that objects are missing."""
        if read_missing(self.storage) is not None:
            return True
        return not self._ask(self.index.packs) <= {pack for pack, _ in self.stored_packs()}

    def packs_of(self, objects: Iterable[ObjectId]) -> dict[ObjectId, PackId]:
        """The packs of those objects that are stored, as far as segments list them."""
        asked = list(objects)
        return self._ask(lambda: self.index.packs_of(asked))

    def stored_parity(self) -> Iterator[tuple[PackId, int]]:
        """The packs that have a parity file, with that file's size in bytes."""
        for key, size in self.storage.list("parity"):
            pack = _pack_id(key)
            if pack is not None:
                yield pack, size

    def _mend(self, pack: PackId, offset: int, size: int) -> bytes:
        """Some bytes of a pack, by its parity. Raises `Damaged`, or OSError."""
        what = f"pack {pack.hex()[:12]}"
        try:
            data = Parity(self.storage, pack).read(offset, size)
            text = f"{what} has rotten bytes, which its parity mends: `imbfs repair` writes it anew"
        except Damaged:
            raise
        except ImbfsError as error:
            data, text = b"", f"{what} has rotten bytes: {error}"
        if pack not in self._rotten:
            self._rotten.add(pack)
            self.notice(text)
        return data

    def require_writable(self) -> None:
        """Raises `CannotStore`."""
        if not self.storage.writable:
            raise CannotStore(f"{self.path} cannot be written by this user, or is on a read-only file system")

    # Reading

    def tree(self, tree_id: ObjectId) -> bytes | memoryview:
        """A tree's plain bytes, checked against its name: from the index, else from its pack."""
        plain = self.index.tree(tree_id)
        if plain is not None and self.name(plain) == tree_id:
            return plain
        return self.reader.read(tree_id)

    def pack_reader(self) -> ObjectReader:
        """Reads at places that are known, with files of its own: for a process that was forked."""
        return ObjectReader(LocalStorage(self.path), lambda _: None, self.name)

    def directory(self, tree_id: ObjectId) -> Directory:
        return Directory(tree_id, self.tree)

    def root(self, snapshot: Snapshot) -> Directory:
        """A directory of one entry, named `.`: the snapshot's root."""
        return Directory(snapshot.root, self.tree, root=True)

    def snapshots(self, chosen: Callable[[Snapshot], bool] = lambda _: True) -> list[Snapshot]:
        """Oldest first. A damaged or vanished manifest is told to `notice`."""
        found = self.catalogue.snapshots(chosen, problem=self._tell_damage)
        for snapshot in sorted(self.missing_snapshots()):
            self._tell_damage(f"snapshot {snapshot[:12]}: its manifest has vanished")
        return found

    def missing_snapshots(self) -> set[SnapshotId]:
        """Snapshots that the index has seen and that are gone, though nobody forgot them."""
        missing = self.index.known_snapshots() - set(self.catalogue.ids())
        # Asked after the manifests: whoever forgets puts the tombstone first.
        if missing and (forgotten := missing & forgotten_snapshots(self.storage)):
            self.index.drop_snapshots(forgotten)
        # And one that was forgotten without a tombstone, for want of space, is not known any more.
        return missing & self.index.known_snapshots() if missing else missing

    def _tell_damage(self, text: str) -> None:
        if text not in self._told_of_manifests:
            self._told_of_manifests.add(text)
            self.notice(f"{text}; `imbfs check` tells more")

    def read_tree_block(self, pack: PackId, offset: int, size: int) -> Iterable[tuple[ObjectId, bytes]]:
        """The objects of one block with their names, from the block alone. Raises `Damaged`."""
        what = f"pack {pack.hex()[:12]}"
        data = self.storage.read(pack_key(pack), offset, size)
        header, plain = decode_block(data, what)
        if header.kind != BlockKind.TREE or HEADER_SIZE + header.stored != size:
            raise Damaged(f"{what}: holds a block of another kind")
        start = 0
        for length in object_lengths(header, plain, what):
            data = bytes(plain[start : start + length])
            yield self.name(data), data
            start += length


def read_config(path: Path) -> Config:
    """Raises `NoRepository`, `Damaged`, or `ImbfsError`."""
    try:
        # A link is not followed, a FIFO not waited for.
        data = LocalStorage(path).read(KEY, 0, MAX_CONFIG)
    except PermissionError:
        raise ImbfsError(f"{path} may not be read by this user") from None
    except OSError as error:
        if all((path / part).is_dir() for part in PARTS):
            what = _NOT_A_FILE.get(error.errno or 0, "damaged")
            nothing = ", and nothing is stored: `imbfs init` makes it anew"
            hint = nothing if _only_begun(path) else ": `imbfs repair` makes it anew"
            raise Damaged(f"{path}/{KEY} is {what}{hint}") from None
        reason = "is not a repository" if path.exists() else "does not exist"
        raise NoRepository(f"{path} {reason}: name one with --repo, or make one with `imbfs init`") from None
    try:
        return decode_config(data)
    except Damaged as error:
        raise Damaged(f"{error}: `imbfs repair` makes it anew") from error


_NOT_A_FILE = {errno.ENOENT: "missing", errno.EISDIR: "a directory", errno.ELOOP: "a link"}


def _only_begun(path: Path) -> bool:
    """Whether this is an empty directory, or what a killed `init` left: no file but temporary ones."""
    if not path.is_dir() or not {each.name for each in path.iterdir()} <= {*PARTS, STAGING}:
        return False
    return not any((path / part).is_dir() and any((path / part).iterdir()) for part in PARTS)


def _segment_id(key: str) -> SegmentId | None:
    name = _hex_name(key)
    return None if name is None else SegmentId(name)


def _pack_id(key: str) -> PackId | None:
    name = _hex_name(key)
    return None if name is None else PackId(name)


def _hex_name(key: str) -> bytes | None:
    """What is not named by a hash was not written by imbfs, and is left alone."""
    name = os.path.basename(key)
    return bytes.fromhex(name) if re.fullmatch(r"[0-9a-f]{64}", name) else None
