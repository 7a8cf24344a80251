"""The kernel's requests, answered from a view. No handler knows what it shows."""

import errno
import mmap
import os
from collections.abc import Callable

from fusefs.attributes import BLOCK, absent, attr_out, entry_out
from fusefs.device import Device
from fusefs.errors import Refused, told_errno
from fusefs.files import Files
from fusefs.listing import Listings
from fusefs.pages import Pages
from fusefs.protocol import (
    ASYNC_DIO,
    ASYNC_READ,
    AUTO_INVAL_DATA,
    DO_READDIRPLUS,
    EXPORT_SUPPORT,
    FOPEN_CACHE_DIR,
    FOPEN_KEEP_CACHE,
    GETXATTR_IN,
    GETXATTR_OUT,
    IN_HEADER,
    INIT_IN,
    INIT_OUT,
    LONGEST_NAME,
    LSEEK_IN,
    LSEEK_OUT,
    MAJOR,
    MAX_CONTENT,
    MAX_PAGES,
    MINOR,
    OPEN_IN,
    OPEN_OUT,
    PARALLEL_DIROPS,
    POSIX_ACL,
    READ_IN,
    RELEASE_IN,
    STATFS_OUT,
    WRITING,
    Opcode,
)
from fusefs.view import ROOT, View
from fusefs.workers import Workers

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_TRUNC

#: Seconds. What is kept for less may change, so that the kernel must not keep a directory's listing.
_UNCHANGING = 3600.0

#: What is asked of the kernel. ATOMIC_O_TRUNC must not be: together with OPEN's ENOSYS the kernel would
#: take a file to be cut, and show an empty one.
_WANTED = (
    ASYNC_READ
    | ASYNC_DIO
    | AUTO_INVAL_DATA
    | DO_READDIRPLUS
    | EXPORT_SUPPORT
    | MAX_PAGES
    | PARALLEL_DIROPS
    # The kernel then enforces ACLs, and asks for them with GETXATTR once an inode, not each time.
    | POSIX_ACL
)
#: Requests for read-ahead that the kernel may have under way.
_BACKGROUND = 64

_HEADER_SIZE = IN_HEADER.size

#: For messages.
_NAMES = {int(opcode): opcode.name.lower() for opcode in Opcode}

#: None: no reply, or not from here.
Reply = bytes | memoryview | None
#: Takes the request's number, its inode and what follows its header.
Handler = Callable[[int, int, memoryview], Reply]


class Requests:
    """One mount's. Used from the loop's thread; inode numbers are the view's, and it needs no FORGET."""

    def __init__(self, view: View, device: Device, workers: Workers, pages: Pages) -> None:
        #: Counts up with each request: for the idle timeout.
        self.count = 0
        self._view = view
        self._device = device
        self._workers = workers
        self._files = Files(view, device, workers, pages)
        self._listings = Listings(view)
        # What is not here is answered with ENOSYS, and the kernel does not ask again, or does it itself.
        self._handlers: dict[int, Handler] = {
            **dict.fromkeys(WRITING, _refuse),
            Opcode.INIT: self._init,
            Opcode.LOOKUP: self._lookup,
            Opcode.FORGET: _ignore,
            Opcode.BATCH_FORGET: _ignore,
            Opcode.GETATTR: self._getattr,
            Opcode.READLINK: self._readlink,
            Opcode.OPEN: self._open,
            Opcode.READ: self._read,
            Opcode.STATFS: self._statfs,
            Opcode.GETXATTR: self._getxattr,
            Opcode.LISTXATTR: self._listxattr,
            Opcode.OPENDIR: self._opendir,
            Opcode.READDIR: self._readdir,
            Opcode.READDIRPLUS: self._readdirplus,
            Opcode.RELEASEDIR: self._releasedir,
            Opcode.LSEEK: self._lseek,
            Opcode.DESTROY: _done,
        }

    def answer(self, request: memoryview) -> None:
        """Answers one request, whatever it holds. Raises nothing."""
        self.count += 1
        if len(request) < _HEADER_SIZE:
            return  # whom to answer it does not tell
        _, opcode, unique, ino = IN_HEADER.unpack_from(request)
        handler = self._handlers.get(opcode, _unknown)
        try:
            reply = handler(unique, ino, request[_HEADER_SIZE:])
            if reply is not None:
                self._device.reply(unique, reply)
        # Nothing is awaited in handlers, so nothing of trio's passes: SystemExit of a view must not
        # end the mount.
        except BaseException as error:
            self._device.refuse(unique, told_errno(error, _name_of(opcode)))

    def _init(self, unique: int, ino: int, body: memoryview) -> Reply:
        read_ahead, offered = INIT_IN.unpack_from(body)
        return INIT_OUT.pack(
            MAJOR, MINOR, read_ahead, _WANTED & offered, _BACKGROUND, _BACKGROUND * 3 // 4,
            MAX_CONTENT, 1, MAX_CONTENT // mmap.PAGESIZE,
        )  # fmt: skip

    def _lookup(self, unique: int, ino: int, body: memoryview) -> Reply:
        try:
            attributes = self._view.lookup(ino, _text(body))
        except FileNotFoundError:
            return absent(self._view, ino)
        return entry_out(self._view, ino, attributes)

    def _getattr(self, unique: int, ino: int, body: memoryview) -> Reply:
        return attr_out(self._view, self._view.attributes(ino))

    def _readlink(self, unique: int, ino: int, body: memoryview) -> Reply:
        return self._view.target(ino)

    def _statfs(self, unique: int, ino: int, body: memoryview) -> Reply:
        used, inodes = self._view.statistics()
        return STATFS_OUT.pack(-(-used // BLOCK), 0, 0, inodes, 0, BLOCK, LONGEST_NAME, BLOCK)

    # Files

    def _open(self, unique: int, ino: int, body: memoryview) -> Reply:
        if OPEN_IN.unpack_from(body)[0] & _WRITES:
            raise Refused(errno.EROFS)
        # Asked once: the kernel then opens by itself, keeps what it has read, and reads by inode.
        raise Refused(errno.ENOSYS)

    def _read(self, unique: int, ino: int, body: memoryview) -> Reply:
        _, offset, size = READ_IN.unpack_from(body)
        return self._files.read(unique, ino, offset, size)

    def _lseek(self, unique: int, ino: int, body: memoryview) -> Reply:
        return LSEEK_OUT.pack(self._files.seek(ino, *LSEEK_IN.unpack_from(body)))

    # Directories

    def _opendir(self, unique: int, ino: int, body: memoryview) -> Reply:
        if self._view.timeout(ROOT) >= _UNCHANGING:
            # As with OPEN: the kernel then keeps all listings that it has read to their end.
            raise Refused(errno.ENOSYS)
        unchanging = self._view.timeout(ino) >= _UNCHANGING
        flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE if unchanging else 0
        return OPEN_OUT.pack(self._listings.open(ino), flags)

    def _readdir(self, unique: int, ino: int, body: memoryview) -> Reply:
        handle, position, size = READ_IN.unpack_from(body)
        return self._listings.read(ino, handle, position, size, plus=False)

    def _readdirplus(self, unique: int, ino: int, body: memoryview) -> Reply:
        handle, position, size = READ_IN.unpack_from(body)
        return self._listings.read(ino, handle, position, size, plus=True)

    def _releasedir(self, unique: int, ino: int, body: memoryview) -> Reply:
        self._listings.close(RELEASE_IN.unpack_from(body)[0])
        return b""

    # Extended attributes

    def _getxattr(self, unique: int, ino: int, body: memoryview) -> Reply:
        (size,) = GETXATTR_IN.unpack_from(body)
        value = self._view.xattr(ino, _text(body[GETXATTR_IN.size :]))
        if value is None:
            raise Refused(errno.ENODATA)
        if callable(value):
            make = value
            self._workers.answer(self._device, unique, "getxattr", lambda: _sized(make(), size))
            return None
        return _sized(value, size)

    def _listxattr(self, unique: int, ino: int, body: memoryview) -> Reply:
        (size,) = GETXATTR_IN.unpack_from(body)
        return _sized(b"".join(name + b"\0" for name in self._view.xattr_names(ino)), size)


def _sized(value: bytes, size: int) -> bytes:
    """The reply to one who has room for `size` bytes; 0: who only asks how many there are."""
    if not size:
        return GETXATTR_OUT.pack(len(value))
    if len(value) > size:
        raise Refused(errno.ERANGE)
    return value


def _text(body: memoryview) -> bytes:
    """The bytes before the first NUL."""
    text, end, _ = bytes(body).partition(b"\0")
    if not end:
        raise Refused(errno.EINVAL)
    return text


def _refuse(unique: int, ino: int, body: memoryview) -> Reply:
    raise Refused(errno.EROFS)


def _unknown(unique: int, ino: int, body: memoryview) -> Reply:
    raise Refused(errno.ENOSYS)


def _ignore(unique: int, ino: int, body: memoryview) -> Reply:
    return None


def _done(unique: int, ino: int, body: memoryview) -> Reply:
    return b""


def _name_of(opcode: int) -> str:
    return _NAMES.get(opcode, f"request {opcode}")
