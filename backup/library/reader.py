"""A snapshot, read like a file system."""

import io
import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from backup.library.paths import Pathlike
from backup.library.repositories import find_snapshot
from backup.model.entry import FLAG_NO_CONTENT, Entry
from backup.model.errors import Damaged, NotFound
from backup.repository import Repository
from backup.repository.reading import Reading
from backup.snapshots.manifest import Snapshot
from backup.snapshots.paths import find_entry
from backup.views.content import FileContent
from backup.views.snapshot import allocated

#: Bytes that an open file reads ahead.
BUFFER = 1 << 17


class SnapshotReader:
    """Use it in a `with`: meanwhile no prune takes what it reads. Threads may share it for reading.

    Paths are relative to the snapshot's root, or with a leading slash as at the source. Names are bytes.
    Symlinks are never followed. Methods raise `NotFound` for what is not there, `Damaged` for what
    cannot be read as it was stored; both are an `ImbfsError`.
    """

    def __init__(self, repository: Repository, snapshot: Snapshot | str = "latest") -> None:
        """`snapshot` may be a selector. Raises `NotFound`; `UsageError`."""
        self._repository = repository
        self.snapshot = find_snapshot(repository, snapshot) if isinstance(snapshot, str) else snapshot
        self._reading = Reading(repository, "library")

    def __enter__(self) -> Self:
        """Raises `NotFound` where the snapshot was forgotten meanwhile."""
        self._reading.show([self.snapshot])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.__exit__(kind, error, trace)

    def entry(self, path: Pathlike = b"") -> Entry:
        """All that the snapshot keeps of a name: kind, mode, owners, times, extents, hash."""
        return find_entry(self.snapshot, os.fsencode(path), self._repository.tree)[0]

    def exists(self, path: Pathlike) -> bool:
        try:
            self.entry(path)
        except NotFound:
            return False
        return True

    def stat(self, path: Pathlike = b"") -> os.stat_result:
        """What lstat(2) told of it. Times of access are not kept: that of modification stands for them."""
        return _stat_result(self.entry(path))

    def scandir(self, path: Pathlike = b"") -> Iterator[Entry]:
        """A directory's entries, sorted by their names as bytes."""
        yield from self._directory(self.entry(path), path)

    def listdir(self, path: Pathlike = b"") -> list[bytes]:
        return [entry.name for entry in self.scandir(path)]

    def walk(self, path: Pathlike = b"") -> Iterator[tuple[bytes, Entry]]:
        """Path and entry of all below a directory, each directory before what is in it. Not recursive."""
        waiting = [(b"", self.scandir(path))]
        while waiting:
            above, entries = waiting[-1]
            if (entry := next(entries, None)) is None:
                waiting.pop()
                continue
            below = above + entry.name
            yield below, entry
            if entry.tree is not None:
                waiting.append((below + b"/", self._directory(entry, below)))

    def _directory(self, entry: Entry, path: Pathlike) -> Iterator[Entry]:
        if entry.tree is None:
            raise NotFound(f"{os.fsdecode(path)} is a {entry.kind_noun}: name a directory")
        return self._repository.directory(entry.tree).entries()

    def readlink(self, path: Pathlike) -> bytes:
        entry = self.entry(path)
        if entry.kind != "symlink":
            raise NotFound(f"{os.fsdecode(path)} is a {entry.kind_noun}: name a symlink")
        return entry.target

    def xattrs(self, path: Pathlike = b"") -> dict[bytes, bytes]:
        """Extended attributes by name, ACLs and capabilities among them."""
        return dict(self.entry(path).xattrs)

    def open(self, path: Pathlike) -> io.BufferedReader:
        """A file, open for reading bytes at any place. Several may be open at once."""
        return open_entry(self._repository, self.entry(path), os.fsencode(path))


def open_entry(repository: Repository, entry: Entry, path: bytes) -> io.BufferedReader:
    """`path` is for messages. Raises `NotFound` where it is no file, `Damaged` where it was never read."""
    if entry.kind != "file":
        raise NotFound(f"{os.fsdecode(path) or 'the root'} is a {entry.kind_noun}: name a file")
    if entry.flags & FLAG_NO_CONTENT:
        raise Damaged(f"{os.fsdecode(path)}: the snapshot has its metadata alone")
    content = FileContent(repository.reader, entry.extents, lambda: path, allow_damaged=False)
    return io.BufferedReader(_OpenFile(content), BUFFER)


class _OpenFile(io.RawIOBase):
    """Where in the content the next bytes are read. Each object is checked against its hash."""

    def __init__(self, content: FileContent) -> None:
        self._content = content
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._content.size}
        if whence not in starts or starts[whence] + offset < 0:
            raise ValueError(f"there is no place {offset} of whence {whence}")
        self._at = starts[whence] + offset
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self._content.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _stat_result(entry: Entry) -> os.stat_result:
    seconds = [entry.mtime_ns // 10**9, entry.mtime_ns // 10**9, entry.ctime_ns // 10**9]
    times = {"atime": entry.mtime_ns, "mtime": entry.mtime_ns, "ctime": entry.ctime_ns}
    blocks = allocated(entry.extents) if stat.S_ISREG(entry.mode) else 0
    return os.stat_result(
        (entry.mode, entry.ino, entry.volume, entry.nlink, entry.uid, entry.gid, entry.size, *seconds),
        {
            **{f"st_{name}": ns / 1e9 for name, ns in times.items()},
            **{f"st_{name}_ns": ns for name, ns in times.items()},
            "st_blksize": 4096,
            "st_blocks": blocks,
            "st_rdev": entry.rdev,
        },
    )
