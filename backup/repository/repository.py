"""A repository: its settings, its files, its index, and how to read an object or a snapshot."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from backup.index import Index, TreeReader, index_paths
from backup.index.location import INDEX_NAME
from backup.model.errors import CannotStore, Damaged, ImbfsError, is_full
from backup.model.ids import ObjectId, PackId, SnapshotId
from backup.objects.blocks import BlockReader
from backup.objects.hashing import name_of
from backup.objects.parity import Parity
from backup.objects.reader import ObjectReader
from backup.repository.config import KEY, Config, encode_config
from backup.repository.forgotten import forgotten_snapshots
from backup.repository.inventory import Inventory
from backup.repository.layout import PARTS, only_begun, read_config
from backup.repository.lookup import Lookup
from backup.repository.reserve import keep_reserve
from backup.snapshots.catalogue import Catalogue
from backup.snapshots.directory import Directory
from backup.snapshots.manifest import Snapshot
from backup.storage import LocalStorage
from backup.storage.local import make_directory, sync_directory

if TYPE_CHECKING:
    import tempfile

#: Why no index can be where it should be, and another place is taken.
NO_INDEX_THERE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.EISDIR}
)

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
        self.inventory = Inventory(self.storage, self.name, notice)
        #: What was found wrong with the index, which was made anew then.
        self.index_damage: list[str] = []
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self.lookup = self._open_lookup(cache)
        self.index = self.lookup.index
        self.reader = ObjectReader(
            self.storage, self.lookup.place, self.name, self.lookup.true_places, mend=self._mend
        )
        #: Packs that were told to have rotten bytes.
        self._rotten: set[PackId] = set()
        #: What was told of manifests: they are looked at several times.
        self._told_of_manifests: set[str] = set()

    @classmethod
    def create(cls, path: Path, config: Config) -> None:
        """Makes an empty repository. Raises `ImbfsError` where something stands already."""
        if (path / KEY).exists():
            raise ImbfsError(f"a repository exists at {path}: nothing was changed")
        if path.exists() and not only_begun(path):
            raise ImbfsError(f"{path} is not an empty directory: give a new one")
        make_directory(path.absolute())
        for part in PARTS:
            make_directory(path / part)
        # Last: a directory with a config is a repository.
        storage = LocalStorage(path)
        storage.put(KEY, encode_config(config))
        sync_directory(path)
        keep_reserve(storage)

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
        self.storage.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    def require_writable(self) -> None:
        """Raises `CannotStore`."""
        if not self.storage.writable:
            raise CannotStore(f"{self.path} cannot be written by this user, or is on a read-only file system")

    def require_outside(self, path: bytes) -> None:
        """Raises `ImbfsError` where a path leads into the repository."""
        own = os.fsencode(os.path.realpath(self.path))
        inside = os.path.realpath(path)
        if inside == own or inside.startswith(own + b"/"):
            raise ImbfsError(f"{os.fsdecode(path)} is in the repository: restore to a directory outside it")

    def _open_lookup(self, cache: Path) -> Lookup:
        """With the index in the first place that takes it. Raises OSError, `CannotStore`."""
        failed: OSError | CannotStore | None = None
        for path in self._index_places(cache):
            try:
                index = Index(path, self.config.id, self._index_was_damaged)
            except OSError as error:
                if error.errno not in NO_INDEX_THERE:
                    raise
                failed = error
                continue
            try:
                return Lookup(index, self.inventory, self.catalogue.ids, self._index_was_damaged)
            except CannotStore as error:
                index.close()
                if not is_full(error):
                    raise
                self.notice(f"{error}; another one is used meanwhile")
                failed = error
        assert failed is not None
        raise failed

    def _index_places(self, cache: Path) -> Iterator[Path]:
        yield from index_paths(self.path, self.config.id, cache, self.notice)
        # Seldom needed, and slow to import.
        import tempfile

        self._scratch = tempfile.TemporaryDirectory(prefix="imbfs-")
        yield Path(self._scratch.name) / INDEX_NAME

    def _index_was_damaged(self, text: str) -> None:
        self.index_damage.append(text)
        self.notice(text)

    # Objects and trees

    def tree(self, tree_id: ObjectId) -> bytes | memoryview:
        """A tree's plain bytes, checked against its name: from the index, else from its pack."""
        plain = self.index.tree(tree_id)
        if plain is not None and self.name(plain) == tree_id:
            return plain
        return self.reader.read(tree_id)

    def block_reader(self) -> BlockReader:
        """Reads packs with files of its own: for a process that was forked, too."""
        return BlockReader(LocalStorage(self.path))

    def closed(self) -> AbstractContextManager[None]:
        """The index is closed meanwhile: for forking a process that asks it. No thread may use it."""
        return self.index.closed()

    def reader_apart(self) -> Callable[[ObjectId], bytes]:
        """Reads trees as `tree` does, but from the index alone, and changes nothing: for a process that was
        forked while the index was closed. Raises OSError.
        """
        index = TreeReader(self.index.path)

        def read(tree_id: ObjectId) -> bytes:
            plain = index.tree(tree_id)
            if plain is None or self.name(plain) != tree_id:
                raise Damaged(f"tree {tree_id.hex()[:12]} is not in the index")
            return plain

        return read

    def directory(self, tree_id: ObjectId) -> Directory:
        return Directory(tree_id, self.tree)

    def root(self, snapshot: Snapshot) -> Directory:
        """A directory of one entry, named `.`: the snapshot's root."""
        return Directory(snapshot.root, self.tree, root=True)

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

    # Snapshots

    def snapshots(self, chosen: Callable[[Snapshot], bool] = lambda _: True) -> list[Snapshot]:
        """Of sources, oldest first. A damaged or vanished manifest is told to `notice`."""
        found = self.catalogue.snapshots(
            lambda snapshot: not snapshot.body.content and chosen(snapshot), problem=self._tell_damage
        )
        for snapshot in sorted(self.missing_snapshots()):
            self._tell_damage(f"snapshot {snapshot[:12]}: its manifest has vanished")
        return found

    def contents(self) -> list[Snapshot]:
        """References of the content store, oldest first. A damaged manifest is told to `notice`."""
        return self.catalogue.snapshots(lambda snapshot: snapshot.body.content, problem=self._tell_damage)

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
