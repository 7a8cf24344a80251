"""A snapshot kept in dicts: read from a live tree or made by hand, and restored without a repository."""

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backup.model.entry import Entry, Extent
from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.ops.restore import RestoreOptions, RestoreSummary, restore
from backup.source.attributes import OwnerNames, read_target, read_xattrs
from backup.source.extents import data_extents

_CHUNK = 1 << 20
_NAMES = OwnerNames()

#: A time long before now, in ns, and not a whole second.
OLD = 1_600_000_000_123_456_789


@dataclass
class Snapshot:
    """Trees and chunks by name; `restore`'s reader."""

    trees: dict[ObjectId, list[Entry]] = field(default_factory=dict)
    chunks: dict[ObjectId, bytes] = field(default_factory=dict)
    #: Called before each chunk is handed out: to fail, or to change the target meanwhile.
    before_chunk: Callable[[], None] = lambda: None

    def entries(self, tree: ObjectId) -> list[Entry]:
        if tree not in self.trees:
            raise Damaged("tree is missing")
        return self.trees[tree]

    def chunk(self, object_id: ObjectId) -> bytes:
        self.before_chunk()
        if object_id not in self.chunks:
            raise Damaged("chunk is missing")
        return self.chunks[object_id]

    def file(self, name: bytes, data: bytes = b"", **fields: Any) -> Entry:
        return entry(name, stat.S_IFREG | 0o644, size=len(data), extents=self.extents(data), **fields)

    def directory(self, name: bytes, *entries: Entry, **fields: Any) -> Entry:
        tree = ObjectId(len(self.trees).to_bytes(32, "big"))
        self.trees[tree] = sorted(entries, key=lambda entry: entry.name)
        return entry(name, **{"mode": stat.S_IFDIR | 0o755, "tree": tree, **fields})

    def extents(self, data: bytes, start: int = 0) -> tuple[Extent, ...]:
        """The runs of `data` lying at offset `start`, whose chunks are kept."""
        found = []
        for offset in range(0, len(data), _CHUNK):
            piece = data[offset : offset + _CHUNK]
            name = ObjectId(hashlib.blake2b(piece, digest_size=32).digest())
            self.chunks[name] = piece
            found.append(Extent(start + offset + len(piece), name))
        return tuple(found)

    def of(self, path: Path | bytes) -> Entry:
        """The entry of a live directory, with all below it."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return self._directory(fd, b"")
        finally:
            os.close(fd)

    def _directory(self, fd: int, name: bytes) -> Entry:
        children = []
        for child in map(os.fsencode, os.listdir(fd)):
            status = os.lstat(child, dir_fd=fd)
            if stat.S_ISDIR(status.st_mode):
                inner = os.open(child, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                try:
                    children.append(self._directory(inner, child))
                finally:
                    os.close(inner)
            else:
                children.append(self._leaf(fd, child, status))
        tree = self.directory(name, *children).tree
        return _with_status(entry(name, tree=tree, xattrs=read_xattrs(fd, b".", fd)), os.fstat(fd))

    def _leaf(self, dir_fd: int, name: bytes, status: os.stat_result) -> Entry:
        found = _with_status(entry(name, xattrs=read_xattrs(dir_fd, name)), status)
        if stat.S_ISLNK(status.st_mode):
            return found._replace(target=read_target(dir_fd, name))
        if stat.S_ISREG(status.st_mode):
            return found._replace(extents=self._runs(dir_fd, name, status.st_size))
        return found

    def _runs(self, dir_fd: int, name: bytes, size: int) -> tuple[Extent, ...]:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dir_fd)
        try:
            runs: list[Extent] = []
            position = 0
            for start, end in data_extents(fd, size):
                if start > position:
                    runs.append(Extent(start, None))
                runs += self.extents(os.pread(fd, end - start, start), start)
                position = end
            return tuple([*runs, Extent(size, None)] if position < size else runs)
        finally:
            os.close(fd)


def entry(name: bytes, mode: int = stat.S_IFREG | 0o644, **fields: Any) -> Entry:
    """An entry of our own, with nothing special but what is said."""
    plain: dict[str, Any] = {
        "uid": os.geteuid(), "gid": os.getegid(), "nlink": 1, "size": 0, "mtime_ns": OLD, "ctime_ns": OLD,
        "ino": 0, "rdev": 0, "volume": 0, "flags": 0, "user": "", "group": "", "tree": None, "target": b"",
        "xattrs": (), "extents": (),
    }  # fmt: skip
    return Entry(name=name, mode=mode, **{**plain, **fields})


def _with_status(found: Entry, status: os.stat_result) -> Entry:
    return found._replace(
        mode=status.st_mode,
        uid=status.st_uid,
        gid=status.st_gid,
        nlink=status.st_nlink,
        size=status.st_size if stat.S_ISREG(status.st_mode) else 0,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        ino=status.st_ino,
        volume=status.st_dev,
        rdev=status.st_rdev,
        user=_NAMES.user(status.st_uid),
        group=_NAMES.group(status.st_gid),
    )


@dataclass
class Watcher:
    """A monitor that remembers."""

    notices: list[str] = field(default_factory=list)
    problems: list[tuple[bytes, str]] = field(default_factory=list)
    seen: list[tuple[int, int, bytes]] = field(default_factory=list)

    def progress(self, files: int, size: int, path: bytes) -> None:
        self.seen.append((files, size, path))

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def problem(self, path: bytes, text: str) -> None:
        self.problems.append((path, text))


@dataclass
class Restored:
    summary: RestoreSummary
    notices: list[str]
    problems: list[tuple[bytes, str]]
    seen: list[tuple[int, int, bytes]]


def put_back(snapshot: Snapshot, root: Entry, target: Path | bytes, **options: Any) -> Restored:
    """Restores, and returns what was said and counted."""
    watcher = Watcher()
    summary = restore(snapshot, root, os.fsencode(target), RestoreOptions(**options), watcher)
    assert summary.errors == len(watcher.problems)
    return Restored(summary, watcher.notices, watcher.problems, watcher.seen)


def put_back_whole(snapshot: Snapshot, root: Entry, target: Path | bytes, **options: Any) -> Restored:
    """Restores; nothing may go wrong."""
    restored = put_back(snapshot, root, target, **options)
    assert restored.problems == []
    return restored


def leftovers(top: Path) -> list[str]:
    """Temporary files below `top`."""
    return [name for _, _, files in os.walk(top) for name in files if name.startswith(".imbfs-restore-")]
