"""The LMDB file of an index: looked at before it is mapped, and replaced where it turns out damaged.

What was in it can be made again, so damage is no error here: it is told, and the file is an empty one.
"""

import errno
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import lmdb

from backup.index.look import identity, is_own_file, what_is_wrong
from backup.index.shrinking import is_mostly_free, write_compact
from backup.model.errors import CannotStore

if TYPE_CHECKING:
    Tables = dict[str, lmdb._Database]

T = TypeVar("T")
Notice = Callable[[str], None]

#: Address space, not disk space: the file grows as it is used.
MAP_SIZE = 1 << 40 if sys.maxsize > 1 << 32 else 1 << 30
#: Zeros kept behind the last page, as a hole where the file system has holes: a size or an offset that is
#: damaged leads there, and not beyond the file's end, where reading would be SIGBUS.
TAIL = 9 << 20
#: Of the lock file: 64 bytes each, and 128 before them.
MAX_READERS = 1022
LOCK_SIZE = (MAX_READERS + 2) * 64
#: Opening takes milliseconds: whoever holds others up for longer has been stopped.
GUARD_SECONDS = 5.0
_GUARD_STEP = 0.005
#: Of the machine's memory, one in so many bytes may be taken by what is read ahead of the file.
PRELOADED_PART = 8
#: Bytes that the kernel reads for one asking; of more it may leave out the rest.
_PRELOAD_STEP = 128 << 10


class DamagedFile(Exception):
    """The file is not one that LMDB should go on with."""


class _Opened(NamedTuple):
    """One environment. Threads may go on with it while another one takes its place."""

    env: lmdb.Environment
    tables: "Tables"
    identity: tuple[int, int] | None


class IndexFile:
    """Owned by one index. Reads may come from several threads; one writes at a time."""

    def __init__(
        self, path: Path, tables: tuple[str, ...], begin: "Callable[[lmdb.Transaction[bytes], Tables], None]",
        notice: Notice,
    ) -> None:  # fmt: skip
        """`begin` writes what a new file holds. Raises OSError where none can be had, or it is not ours."""
        self.path = path
        #: Counts how often all that was in the file has gone.
        self.replaced = 0
        self._names = tables
        self._begin = begin
        self._notice = notice
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._opened = self._open()

    def close(self) -> None:
        self._opened.env.close()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """No thread may read meanwhile. Raises `CannotStore` where it cannot be opened again."""
        before = self._opened.identity
        self._opened.env.close()
        try:
            yield
        finally:
            try:
                self._opened = self._open()
            except OSError as error:
                raise self._cannot(error) from error
            self.replaced += self._opened.identity != before

    # Opening, and what comes before it

    def _open(self, failed: tuple[int, int] | None = None) -> _Opened:
        """Opens the file that stands; in place of the `failed` one, or of one that looks wrong, a new one."""
        with _guard(self.path.parent, fcntl.LOCK_SH):
            if identity(self.path) not in (None, failed) and not self._wrong():
                with suppress(DamagedFile):
                    return self._map()
        with _guard(self.path.parent, fcntl.LOCK_EX):
            # Another process may have replaced it meanwhile.
            if identity(self.path) not in (None, failed):
                reason = self._wrong()
                try:
                    if not reason:
                        return self._map()
                except DamagedFile as error:
                    reason = str(error)
                self._notice(f"the index {self.path} is damaged ({reason}): it is made anew")
            return self._make()

    def _wrong(self) -> str:
        for path in (self.path, self._lock_path):
            if is_own_file(path) is False:
                raise OSError(errno.EPERM, "not a file of this user", str(path))
        return what_is_wrong(self.path)

    @property
    def _lock_path(self) -> Path:
        return Path(f"{self.path}-lock")

    def _make(self) -> _Opened:
        # A lock file belongs to one file: with that of another, LMDB would believe its readers and writers.
        for path in (self.path, self._lock_path):
            if is_own_file(path) is False:
                raise OSError(errno.EPERM, "not a file of this user", str(path))
            path.unlink(missing_ok=True)
        try:
            opened = self._map()
            with opened.env.begin(write=True) as txn:
                self._begin(txn, opened.tables)
        except lmdb.Error as error:
            opened.env.close()
            raise OSError(error.code, f"a new index cannot be written: {error}", str(self.path)) from error
        except DamagedFile as error:
            raise OSError(errno.EIO, f"a new index cannot be used: {error}", str(self.path)) from error
        return opened

    def _map(self) -> _Opened:
        """Raises `DamagedFile`, or OSError."""
        _make_lock(self._lock_path)
        try:
            env = lmdb.open(
                str(self.path), subdir=False, map_size=MAP_SIZE, max_dbs=len(self._names), mode=0o600,
                max_readers=MAX_READERS, readahead=False, max_spare_txns=16,
            )  # fmt: skip
        except lmdb.Error as error:
            raise _sorted_out(error, self.path) from error
        try:
            _keep_tail(self.path, env)
            return _Opened(env, self._open_tables(env), identity(self.path))
        except BaseException:
            env.close()
            raise

    def _open_tables(self, env: lmdb.Environment) -> "Tables":
        try:
            tables = {name: env.open_db(name.encode()) for name in self._names}
            if any(any(table.flags().values()) for table in tables.values()):
                raise DamagedFile("a table is of another kind")
        except lmdb.Error as error:
            raise _sorted_out(error, self.path) from error
        return tables

    def preload(self) -> None:
        """Has the kernel read the file ahead, in order: who looks names up afterwards waits for no disk.

        Not for a file on a disk that fails: what is wrong is met when it is read.
        """
        most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // PRELOADED_PART
        with suppress(OSError, lmdb.Error), self.path.open("rb") as file:
            used = (self._opened.env.info()["last_pgno"] + 1) * self._opened.env.stat()["psize"]
            for start in range(0, min(used, most), _PRELOAD_STEP):
                os.posix_fadvise(file.fileno(), start, _PRELOAD_STEP, os.POSIX_FADV_WILLNEED)

    # Replacing

    def replace(self) -> None:
        """Starts over with an empty file. Other processes go on with the old one, until they look again."""
        self._replace(self._opened, None)

    def _replace(self, damaged: _Opened, reason: str | None) -> None:
        if self._opened is not damaged:
            return  # another thread was first
        if reason is not None:
            self._notice(f"the index {self.path} is damaged ({reason}): it is made anew")
        # Not closed: other threads may be reading. It goes with the last of them.
        self._opened = self._open(damaged.identity)
        self.replaced += 1

    def shrink(self) -> None:
        """Puts a copy of what is in use in the file's place, where most of it is free and there is space."""
        # Only a wish: what is wrong with the file is met by whoever needs it.
        with suppress(lmdb.Error, DamagedFile, OSError):
            if is_mostly_free(self._opened.env, self._opened.tables.values()):
                self._shrink()

    def _shrink(self) -> None:
        with _guard(self.path.parent, fcntl.LOCK_EX), self._opened.env.begin(write=True):
            if identity(self.path) == self._opened.identity:
                new = self.path.with_name(f"{self.path.name}-new")
                write_compact(self._opened.env, new)
                # As in `_make`: nobody is to have the lock file of the one with the data of the other.
                self.path.unlink()
                self._lock_path.unlink(missing_ok=True)
                new.rename(self.path)
                # Not closed, as in `_replace`. Others go over when they look for segments.
                self._opened = self._map()

    def follow(self) -> None:
        """Goes over to the file that another process has put in this one's place."""
        # None: the file, or the disk, has gone. What is mapped still serves; nothing is made in its place.
        if identity(self.path) not in (None, self._opened.identity):
            with suppress(OSError):
                self._opened = self._open()
                self.replaced += 1

    def problems(self) -> list[str]:
        """What is wrong with the file's structure: each page is read, none mapped. Others wait to write."""
        from lmdb.verify import VerifyError, verify

        try:
            with self._opened.env.begin(write=True):
                return list(verify(str(self.path), subdir=False))  # type: ignore[no-untyped-call]
        except (VerifyError, lmdb.Error) as error:
            return [str(error)]

    # Reading and writing

    def read(self, work: "Callable[[lmdb.Transaction[memoryview], Tables], T]") -> T:
        """What `work` makes of a transaction; where that meets damage, what it makes of a new file.

        `work` may raise `DamagedFile` itself, as in `write`.
        """

        def run(opened: _Opened) -> T:
            with opened.env.begin(buffers=True) as txn:
                return work(txn, opened.tables)

        return self._run(run)

    def get(self, table: str, key: bytes, most: int) -> bytes | None:
        """A copy: a view into the map is good for as long as its transaction. None if longer than `most`."""
        opened = self._opened
        try:
            with opened.env.begin(opened.tables[table], buffers=True) as txn:
                value = txn.get(key)
                # A length that cannot be is damage, and a copy of it would end the process.
                return None if value is None or len(value) > most else bytes(value)
        except lmdb.Error as error:
            self._mend(opened, error)
            return None

    def write(self, work: "Callable[[lmdb.Transaction[bytes], Tables], None]") -> None:
        """Raises `CannotStore` where the file cannot be written. Where it is damaged, an empty one is."""

        def run(opened: _Opened) -> None:
            # A reader that was killed would keep pages from being used again for ever.
            opened.env.reader_check()
            with opened.env.begin(write=True) as txn:
                work(txn, opened.tables)

        self._run(run)

    def _run(self, run: Callable[[_Opened], T]) -> T:
        opened = self._opened
        try:
            return run(opened)
        except (lmdb.Error, DamagedFile) as error:
            self._mend(opened, error)
        try:
            return run(self._opened)
        except (lmdb.Error, DamagedFile) as error:
            found = _sorted_out(error, self.path) if isinstance(error, lmdb.Error) else error
            raise self._cannot(found) from found

    def _mend(self, opened: _Opened, error: lmdb.Error | DamagedFile) -> None:
        found = _sorted_out(error, self.path) if isinstance(error, lmdb.Error) else error
        if isinstance(found, OSError):
            raise self._cannot(found) from found
        try:
            self._replace(opened, str(found))
        except OSError as why:
            raise self._cannot(why) from why

    def _cannot(self, error: OSError | DamagedFile) -> CannotStore:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return CannotStore(
            f"the index {self.path} cannot be used ({reason}): free some space, or move it away"
        )


#: Of LMDB's own errors, those that a sound file gives as well.
_NO_DAMAGE = (lmdb.MapFullError, lmdb.ReadersFullError, lmdb.TlsFullError, lmdb.BadRslotError, lmdb.LockError)


def _sorted_out(error: lmdb.Error, path: Path) -> DamagedFile | OSError:
    """An error of the operating system is positive, one of LMDB's own negative; 0 is the binding's own."""
    if error.code > 0 and error.code != errno.EINVAL:
        return OSError(error.code, os.strerror(error.code), str(path))
    if error.code == 0 or isinstance(error, _NO_DAMAGE):
        return OSError(errno.EAGAIN, str(error), str(path))
    return DamagedFile(str(error))


def _make_lock(path: Path) -> None:
    """With all its blocks: LMDB maps it, and would make a hole, which on a full disk ends who writes there
    with SIGBUS. Raises OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        os.posix_fallocate(descriptor, 0, LOCK_SIZE)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


def _keep_tail(path: Path, env: lmdb.Environment) -> None:
    size = path.stat().st_size
    used = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if size < used + TAIL // 2:
        # Only ever longer: other processes may be writing.
        os.truncate(path, max(size, used) + TAIL)


@contextmanager
def _guard(directory: Path, kind: int) -> Iterator[None]:
    """Keeps a file from being replaced while another process opens it: LMDB's lock file goes with it.

    Raises BlockingIOError where another process holds it for too long.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + GUARD_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(_GUARD_STEP)
        yield
    finally:
        os.close(descriptor)
