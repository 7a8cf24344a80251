"""A storage in a directory of this machine's file systems."""

import contextlib
import errno
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from backup.model.process import mark

#: Where files are written before they have a key. What a crash leaves here is nobody's.
STAGING = "tmp"
#: Open packs kept for reading.
MAX_OPEN = 64


class LocalStorage:
    """Files below one directory. Safe to use from several threads."""

    staging = STAGING

    def __init__(self, root: Path) -> None:
        self.root = root
        self._owner = owner_below(root)
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()
        self._durable: set[Path] = set()
        self._lock = threading.Lock()

    @property
    def writable(self) -> bool:
        return os.access(self.root, os.W_OK | os.X_OK)

    def stage(self) -> "LocalStaged":
        return LocalStaged(self.root, self._durable, self._let_go, self._owner)

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        staged = self.stage()
        try:
            staged.append(data)
            staged.publish(key, durable=durable)
        except BaseException:
            staged.discard()
            raise

    def read(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        if size is None:
            # A whole file is small, and its key may have been given to another one meanwhile.
            file = _OpenFile(self.root / key)
            size = os.fstat(file.descriptor).st_size - offset
        else:
            file = self._file(key)
        parts = []
        while size > 0 and (part := os.pread(file.descriptor, size, offset)):
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _file(self, key: str) -> "_OpenFile":
        with self._lock:
            file = self._open.get(key)
            if file is None:
                file = self._open[key] = _OpenFile(self.root / key)
                if len(self._open) > MAX_OPEN:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(key)
            return file

    def size(self, key: str) -> int:
        return (self.root / key).lstat().st_size

    def modified(self, key: str) -> int:
        return (self.root / key).lstat().st_mtime_ns

    def touch(self, key: str) -> None:
        # With no time given, a file server takes its own clock.
        os.utime(self.root / key, follow_symlinks=False)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        try:
            entries = sorted(os.scandir(self.root / prefix), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        for entry in entries:
            key = f"{prefix}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from self.list(key)
            else:
                with contextlib.suppress(FileNotFoundError):
                    yield key, entry.stat(follow_symlinks=False).st_size

    def _let_go(self, key: str) -> None:
        """What is read of it from now on is read of the file that stands there now."""
        with self._lock:
            self._open.pop(key, None)

    def close(self) -> None:
        """Lets go of all files that are open for reading. It may be used again."""
        with self._lock:
            self._open.clear()

    def delete(self, key: str, *, durable: bool = True) -> None:
        with self._lock:
            self._open.pop(key, None)
        refuse_links(self.root, (self.root / key).parent)
        (self.root / key).unlink()
        if durable:
            sync_directory((self.root / key).parent)

    def move(self, key: str, new_key: str) -> None:
        with self._lock:
            self._open.pop(key, None)
            self._open.pop(new_key, None)
        old, new = self.root / key, self.root / new_key
        old.lstat()
        make_directory(new.parent, self._owner)
        os.replace(old, new)
        sync_directory(new.parent)
        sync_directory(old.parent)


class _OpenFile:
    """Closed when its last reader lets go of it, never under one."""

    def __init__(self, path: Path) -> None:
        # Without blocking: a FIFO in a file's place must not hold whoever reads.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self.descriptor = os.open(path, flags)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self.descriptor)


class LocalStaged:
    """A temporary file, gathered in few large writes by the caller, synced before it is named."""

    def __init__(
        self,
        root: Path,
        durable: set[Path],
        published: Callable[[str], None] = lambda _: None,
        owner: "Owner | None" = None,
    ) -> None:
        """`durable` are directories known to be so; those that files go to are added."""
        self._published = published
        self._owner = owner
        self._root = root
        self._directories = durable
        refuse_links(root, root / STAGING)
        make_directory(root / STAGING, owner)
        self._path = root / STAGING / f"{secrets.token_hex(16)}.{mark()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor: int | None = os.open(self._path, flags, 0o400)
        if owner is not None:
            owner.take(self._descriptor)

    def append(self, data: bytes | memoryview) -> None:
        assert self._descriptor is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def publish(self, key: str, *, durable: bool = True) -> None:
        assert self._descriptor is not None
        target = self._root / key
        if durable:
            os.fsync(self._descriptor)
            self._close()
            refuse_links(self._root, target.parent)
            self._require_directory(target.parent)
            os.replace(self._path, target)
            sync_directory(target.parent)
        else:
            self._close()
            refuse_links(self._root, target.parent)
            make_directory(target.parent, self._owner)
            os.replace(self._path, target)
        self._published(key)

    def _require_directory(self, path: Path) -> None:
        """One that stands may be another process's, which was killed before it made it durable."""
        make_directory(path, self._owner)
        if path not in self._directories:
            sync_directory(path.parent)
            self._directories.add(path)

    def discard(self) -> None:
        self._close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        # Not kept where close fails: it is closed all the same, and its number may be another file's.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class Owner(NamedTuple):
    """Whom new files are given to."""

    user: int
    group: int

    def take(self, descriptor: int) -> None:
        # Only a wish: a file server may refuse it.
        with contextlib.suppress(OSError):
            os.fchown(descriptor, self.user, self.group)


def owner_below(root: Path) -> Owner | None:
    """Who gets what this process makes there: where root writes in a user's directory, that user, who could
    read none of it otherwise. None: who makes it.
    """
    try:
        status = root.stat()
    except OSError:
        return None
    return Owner(status.st_uid, status.st_gid) if os.geteuid() == 0 != status.st_uid else None


def refuse_links(root: Path, path: Path) -> None:
    """Raises OSError where a directory below `root`, on the way to `path`, is a link: what is written would
    go where the link leads."""
    while path != root:
        if path.is_symlink():
            raise OSError(errno.ELOOP, f"{path} is a link, and nothing is written or deleted through it")
        path = path.parent


def make_directory(path: Path, owner: Owner | None = None) -> None:
    """Makes one directory, durably and for the owner alone, where it does not stand yet."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_directory(path.parent, owner)
        path.mkdir(mode=0o700, exist_ok=True)
    if owner is not None:
        _give_directory(path, owner)
    sync_directory(path.parent)


def _give_directory(path: Path, owner: Owner) -> None:
    """Only an empty one: whom it goes to may have put another of root's in its place meanwhile."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_uid == os.geteuid() and not os.listdir(descriptor):
                owner.take(descriptor)
        finally:
            os.close(descriptor)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
