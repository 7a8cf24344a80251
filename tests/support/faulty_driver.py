"""The driver of `faulty_fs`: `python -m tests.support.faulty_driver BACKING MOUNTPOINT`.

A pass-through in which chosen operations fail, and which writes down every change. It is a process of its
own because the kernel would hold a process that waits for itself. It reads commands from stdin, one a line
in JSON, and answers each with a line: `fault` sets the faults, `take FILE` writes down what was recorded
since the last time.
"""

import errno
import itertools
import json
import os
import pickle
import re
import stat
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyfuse3
import trio

from tests.support.steps import Fault, Step

_TIMES = ("atime", "mtime")


class Faults:
    """Counts operations, and says which are to fail."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._counts: list[int] = []
        self.seen: dict[str, int] = defaultdict(int)
        #: How many operations were made to fail, to be short or to wait.
        self.hits = 0

    def set(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._counts = [0] * len(faults)
        self.seen.clear()
        self.hits = 0

    async def meet(self, operation: str, path: str) -> bool:
        """Raises the error of the first fault that is met; True where a write is to be short instead."""
        self.seen[operation] += 1
        for number, fault in enumerate(self._faults):
            if operation not in fault.operations or not re.search(fault.path, path):
                continue
            self._counts[number] += 1
            hit = self._counts[number] - fault.nth
            if hit < 0 or (fault.times and hit >= fault.times):
                continue
            self.hits += 1
            if fault.delay:
                await trio.sleep(fault.delay)
            if fault.short and hit == 0 and operation == "write":
                return True
            if fault.number:
                raise pyfuse3.FUSEError(fault.number)
        return False


class PassThrough(pyfuse3.Operations):
    """Inode numbers stand for paths. Nothing is cached by the kernel, so every operation comes by."""

    enable_writeback_cache = False

    def __init__(self, backing: str) -> None:
        super().__init__()
        self._backing = backing
        self.faults = Faults()
        self.steps: list[Step] = []
        self._paths: dict[int, str] = {pyfuse3.ROOT_INODE: ""}
        self._inodes: dict[str, int] = {"": pyfuse3.ROOT_INODE}
        self._numbers = itertools.count(pyfuse3.ROOT_INODE + 1)
        self._open: dict[int, tuple[int, str]] = {}  # descriptor → (the file's number, path when opened)
        self._files = itertools.count(1)

    # Paths

    def _path(self, inode: int) -> str:
        if inode not in self._paths:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._paths[inode]

    def _child(self, parent: int, name: bytes) -> str:
        return os.path.join(self._path(parent), os.fsdecode(name))

    def _real(self, path: str) -> str:
        return os.path.join(self._backing, path)

    def _inode(self, path: str) -> int:
        if path not in self._inodes:
            self._inodes[path] = next(self._numbers)
            self._paths[self._inodes[path]] = path
        return self._inodes[path]

    def _gone(self, path: str) -> None:
        inode = self._inodes.pop(path, None)
        if inode is not None:
            self._paths.pop(inode)

    def _moved(self, old: str, new: str) -> None:
        self._gone(new)
        for path in [path for path in self._inodes if path == old or path.startswith(old + "/")]:
            inode = self._inodes.pop(path)
            self._inodes[new + path[len(old) :]] = inode
            self._paths[inode] = new + path[len(old) :]

    def _attributes(self, path: str) -> pyfuse3.EntryAttributes:
        try:
            status = os.lstat(self._real(path))
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        return _attributes(status, self._inode(path))

    # Names

    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext | None = None
    ) -> pyfuse3.EntryAttributes:
        return self._attributes(self._child(parent_inode, name))

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext | None = None) -> pyfuse3.EntryAttributes:
        path = self._path(inode)
        await self.faults.meet("getattr", path)
        return self._attributes(path)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Paths are few: none is forgotten."""

    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        path = self._child(parent_inode, name)
        await self._change("mkdir", path, lambda: os.mkdir(self._real(path), mode & ~ctx.umask))
        return self._attributes(path)

    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        path = self._child(parent_inode, name)
        shown = os.fsdecode(target)
        await self._change("symlink", path, lambda: os.symlink(shown, self._real(path)), shown)
        return self._attributes(path)

    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        path, other = self._path(inode), self._child(new_parent_inode, new_name)
        await self._change("link", path, lambda: os.link(self._real(path), self._real(other)), other)
        return self._attributes(other)

    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        path = self._child(parent_inode, name)
        await self._change("unlink", path, lambda: os.unlink(self._real(path)))
        self._gone(path)

    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        path = self._child(parent_inode, name)
        await self._change("rmdir", path, lambda: os.rmdir(self._real(path)))
        self._gone(path)

    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        if flags:
            raise pyfuse3.FUSEError(errno.EINVAL)
        old, new = self._child(parent_inode_old, name_old), self._child(parent_inode_new, name_new)
        await self._change("rename", old, lambda: os.rename(self._real(old), self._real(new)), new)
        self._moved(old, new)

    async def _change(self, operation: str, path: str, act: Any, other: str = "") -> None:
        await self.faults.meet(operation, other if operation == "rename" else path)
        with _os_errors():
            act()
        self.steps.append(Step(operation, path, other))

    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        path = self._path(inode)
        await self.faults.meet("truncate" if fields.update_size else "setattr", path)
        with _os_errors():
            self._set(path, attr, fields, fh)
        return self._attributes(path)

    def _set(
        self, path: str, attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields, fh: int | None
    ) -> None:
        real = self._real(path)
        if fields.update_mode:
            os.chmod(real, stat.S_IMODE(attr.st_mode))
        if fields.update_uid or fields.update_gid:
            owner = attr.st_uid if fields.update_uid else -1
            os.chown(real, owner, attr.st_gid if fields.update_gid else -1, follow_symlinks=False)
        if fields.update_size:
            os.truncate(real if fh is None else fh, attr.st_size)
            self.steps.append(Step("truncate", path, file=self._open.get(fh or -1, (0, ""))[0],
                                   offset=attr.st_size))  # fmt: skip
        if fields.update_atime or fields.update_mtime:
            old = os.lstat(real)
            atime = attr.st_atime_ns if fields.update_atime else old.st_atime_ns
            mtime = attr.st_mtime_ns if fields.update_mtime else old.st_mtime_ns
            os.utime(real, ns=(atime, mtime), follow_symlinks=False)

    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        with _os_errors():
            return os.fsencode(os.readlink(self._real(self._path(inode))))

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        figures, found = os.statvfs(self._backing), pyfuse3.StatvfsData()
        for field in ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree",
                      "f_favail"):  # fmt: skip
            setattr(found, field, getattr(figures, field))
        found.f_namemax = 255
        return found

    # Directories

    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        path = self._path(inode)
        await self.faults.meet("opendir", path)
        return inode

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        path = self._path(fh)
        await self.faults.meet("readdir", path)
        with _os_errors():
            names = sorted(os.listdir(self._real(path)))
        for number, name in enumerate(names[start_id:], start_id + 1):
            try:
                attributes = self._attributes(os.path.join(path, name))
            except pyfuse3.FUSEError:
                continue
            if not pyfuse3.readdir_reply(token, os.fsencode(name), attributes, number):
                return

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        path = self._path(fh)
        await self.faults.meet("fsyncdir", path)
        self.steps.append(Step("fsyncdir", path))

    # Files

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        path = self._path(inode)
        await self.faults.meet("open", path)
        with _os_errors():
            fh = os.open(self._real(path), (flags & ~os.O_CREAT) | os.O_CLOEXEC)
        # Not a new file: it is known by its path.
        self._open[fh] = (0, path)
        return pyfuse3.FileInfo(fh=fh, direct_io=False, keep_cache=False)

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        path = self._child(parent_inode, name)
        await self.faults.meet("create", path)
        with _os_errors():
            fh = os.open(self._real(path), flags | os.O_CREAT | os.O_CLOEXEC, mode & ~ctx.umask)
        number = next(self._files)
        self._open[fh] = (number, path)
        self.steps.append(Step("create", path, file=number))
        return pyfuse3.FileInfo(fh=fh), self._attributes(path)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        await self.faults.meet("read", self._open[fh][1])
        with _os_errors():
            return os.pread(fh, size, off)

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        number, path = self._open[fh]
        if await self.faults.meet("write", path):
            buf = buf[: max(1, len(buf) // 2)]
        with _os_errors():
            done = os.pwrite(fh, buf, off)
        self.steps.append(Step("write", path, file=number, offset=off, data=bytes(buf[:done])))
        return done

    async def flush(self, fh: int) -> None:
        await self.faults.meet("flush", self._open[fh][1])

    async def fsync(self, fh: int, datasync: bool) -> None:
        number, path = self._open[fh]
        await self.faults.meet("fsync", path)
        self.steps.append(Step("fsync", path, file=number))

    async def release(self, fh: int) -> None:
        del self._open[fh]
        os.close(fh)


class _os_errors:
    """OSErrors become answers."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None


def _attributes(status: os.stat_result, inode: int) -> pyfuse3.EntryAttributes:
    found = pyfuse3.EntryAttributes()
    for field in ("st_mode", "st_nlink", "st_uid", "st_gid", "st_rdev", "st_size", "st_atime_ns",
                  "st_mtime_ns", "st_ctime_ns"):  # fmt: skip
        setattr(found, field, getattr(status, field))
    found.st_ino = inode
    found.st_blksize = 4096
    found.st_blocks = status.st_blocks
    found.entry_timeout = found.attr_timeout = 0
    return found


async def _obey(operations: PassThrough) -> None:
    """Commands from stdin; its end ends the driver."""
    rest = b""
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        async for received in stream:
            *lines, rest = (rest + received).split(b"\n")
            for line in lines:
                sys.stdout.write(json.dumps(_obeyed(operations, json.loads(line))) + "\n")
                sys.stdout.flush()
    pyfuse3.terminate()


def _obeyed(operations: PassThrough, command: dict[str, Any]) -> Any:
    if "take" in command:
        Path(command["take"]).write_bytes(pickle.dumps([tuple(step) for step in operations.steps]))
        operations.steps.clear()
        return len(operations.steps)
    if "faults" in command:
        operations.faults.set([Fault(tuple(operations_), *rest) for operations_, *rest in command["faults"]])
    return [operations.faults.hits, operations.faults.seen]


async def _serve(operations: PassThrough) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_obey, operations)
        await pyfuse3.main()
        nursery.cancel_scope.cancel()


def main() -> None:
    backing, mountpoint = sys.argv[1:]
    operations = PassThrough(backing)
    options = {*pyfuse3.default_options, "fsname=faulty"}
    pyfuse3.init(operations, mountpoint, options)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    try:
        trio.run(_serve, operations)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main()
