"""The kernel's requests, answered from a view. No handler knows what it shows."""

import errno
import itertools
import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileHandleT, FileInfo, FileNameT, FUSEError, InodeT, RequestContext

from fusefs.attributes import absent, entry_in, fill, timeout_of
from fusefs.errors import fuse_error, log_once
from fusefs.listing import Listing
from fusefs.view import Content, View

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: Bytes; what statfs counts in.
_BLOCK = 4096

_LONGEST_NAME = 255

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC

#: Around a wait in a handler, so that the loop knows that other requests need it meanwhile.
Away = Callable[[], AbstractContextManager[None]]


def _answers(
    handler: Callable[Concatenate["Operations", _P], _R],
) -> Callable[Concatenate["Operations", _P], Coroutine[Any, Any, _R]]:
    """Makes a handler of pyfuse3 of a plain method. Any exception but FUSEError would end the mount."""

    @wraps(handler)
    async def answer(self: "Operations", /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        self.requests += 1
        try:
            return handler(self, *args, **kwargs)
        except FUSEError:
            raise
        # Nothing is awaited here, so nothing of trio's passes: SystemExit of a view must not end the mount.
        except BaseException as error:
            raise fuse_error(error, handler.__name__) from None

    return answer


def _refused(self: "Operations", /, *_: Any, **__: Any) -> NoReturn:
    raise FUSEError(errno.EROFS)


class Operations(pyfuse3.Operations):
    """One mount. Owned by the loop's thread; only `Content.read` runs in others.

    Inode numbers are the view's, and it needs no `forget`.
    """

    supports_dot_lookup = True

    def __init__(self, view: View, away: Away = nullcontext) -> None:
        super().__init__()
        #: The kernel then enforces POSIX ACLs, and asks for them with getxattr, once an inode.
        self.enable_acl = not view.without_xattrs
        #: Counts up with each request: for the idle timeout.
        self.requests = 0
        self._view = view
        self._away = away
        self._numbers = itertools.count(1)
        self._files: dict[int, tuple[int, Content]] = {}
        self._listings: dict[int, Listing] = {}

    @property
    def in_use(self) -> bool:
        """Some file or directory is open."""
        return bool(self._files or self._listings)

    @_answers
    def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        try:
            attributes = self._view.lookup(parent_inode, name)
        except FileNotFoundError:
            return absent(self._view, parent_inode)
        return entry_in(self._view, parent_inode, attributes)

    @_answers
    def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        pass

    @_answers
    def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        entry = EntryAttributes()
        fill(entry, self._view.attributes(inode))
        entry.attr_timeout = timeout_of(self._view, inode)
        return entry

    @_answers
    def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        return FileNameT(bytes(self._view.target(inode)))

    @_answers
    def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        statistics = self._view.statistics()
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = _BLOCK
        data.f_blocks = -(-statistics.bytes_used // _BLOCK)
        data.f_files = statistics.inodes
        data.f_namemax = _LONGEST_NAME
        return data

    @_answers
    def getxattr(self, inode: InodeT, name: bytes, ctx: RequestContext) -> bytes:
        if self._view.without_xattrs:
            raise FUSEError(errno.ENOSYS)
        value = self._view.xattr(inode, name)
        if value is None:
            raise FUSEError(errno.ENODATA)
        return bytes(value)

    @_answers
    def listxattr(self, inode: InodeT, ctx: RequestContext) -> list[bytes]:
        if self._view.without_xattrs:
            raise FUSEError(errno.ENOSYS)
        return [bytes(name) for name in self._view.xattrs(inode)]

    @_answers
    def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        number = next(self._numbers)
        self._listings[number] = Listing(self._view, inode)
        return FileHandleT(number)

    @_answers
    def readdir(self, fh: FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        self._listings[fh].fill(start_id, token)

    @_answers
    def releasedir(self, fh: FileHandleT) -> None:
        self._listings.pop(fh, None)

    @_answers
    def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        if flags & _WRITING:
            raise FUSEError(errno.EROFS)
        content = self._view.open(inode)
        number = next(self._numbers)
        self._files[number] = inode, content
        return FileInfo(fh=FileHandleT(number), keep_cache=True)

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        self.requests += 1
        try:
            inode, content = self._files[fh]
            data = content.read_now(off, size)
            if data is None:
                with self._away():
                    # Only the end of the mount cancels this; it does not wait for slow storage.
                    data = await trio.to_thread.run_sync(content.read, off, size, abandon_on_cancel=True)
            return self._whole(inode, content.size, data, off, size)
        except (FUSEError, trio.Cancelled):
            raise
        except BaseException as error:
            raise fuse_error(error, "read") from None

    def _whole(self, inode: int, length: int, data: bytes | memoryview, offset: int, size: int) -> bytes:
        """`data` as the reply; EIO if it ends before the file does.

        The kernel takes a short read for the end of the file, and would shorten the file silently.
        """
        view = memoryview(data)
        if view.nbytes > size or not view.c_contiguous:
            data = view.tobytes()[:size]
        if view.nbytes < size and offset + view.nbytes < length:
            log_once(f"read: inode {inode} ends at byte {offset + view.nbytes}, before its size")
            raise FUSEError(errno.EIO)
        return data  # type: ignore[return-value]  # pyfuse3 takes any buffer

    @_answers
    def release(self, fh: FileHandleT) -> None:
        self._files.pop(fh, None)

    @_answers
    def flush(self, fh: FileHandleT) -> NoReturn:
        # After one ENOSYS the kernel never asks again: that saves a round trip at each close(2).
        raise FUSEError(errno.ENOSYS)

    # The kernel refuses these by itself as long as the mount is read-only; it may be remounted.
    setattr = _answers(_refused)
    mknod = _answers(_refused)
    mkdir = _answers(_refused)
    unlink = _answers(_refused)
    rmdir = _answers(_refused)
    symlink = _answers(_refused)
    rename = _answers(_refused)
    link = _answers(_refused)
    create = _answers(_refused)
    write = _answers(_refused)
    setxattr = _answers(_refused)
    removexattr = _answers(_refused)
