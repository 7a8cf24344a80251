"""Directories to mount on, and the end of a mount from outside."""

import contextlib
import ctypes
import errno
import os
import subprocess
import time
from collections.abc import Iterator

from fusefs.mountinfo import Mount, mounted_at, mounts
from fusefs.processes import driver_of, named, users_of, wait_for_end

_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

#: Seconds for which a mount that nobody is seen to use may still be busy.
_SETTLING = 1.0

#: Seconds for which a driver may finish after its mount is gone.
_END = 10.0

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class MountError(Exception):
    """A mount could not be made or ended. The text is one line for the user."""


def check_mountpoint(path: Path) -> str:
    """The absolute path to mount on, if `path` is an empty directory with nothing mounted on it.

    A mount of ours whose driver was killed is removed first. Raises MountError. Call it before
    any work is done: mounting itself tells less.
    """
    point = os.fsdecode(_resolved(path))
    mount = mounted_at(os.fsencode(point))
    if mount is not None and _is_dead(mount):
        detach(mount.point)
        mount = mounted_at(os.fsencode(point))
    if mount is not None:
        raise MountError(f"{point} is a mount point already (of {_shown(mount.source)})")
    try:
        with os.scandir(point) as entries:
            empty = next(entries, None) is None
    except OSError as error:
        raise MountError(f"cannot mount on {point}: {error.strerror}") from None
    if not empty:
        raise MountError(f"{point} is not empty: mount on an empty directory")
    return point


def unmount(path: Path, *, timeout: float = _END) -> None:
    """Ends the mount at `path` and waits until its driver has ended, at most `timeout` seconds.

    Raises MountError when it is no mount of imbfs, when it is in use (with the users' process
    numbers), and when the driver does not end.
    """
    mount = _mount_of(path)
    point = os.fsdecode(mount.point)
    with _pidfd(driver_of(mount)) as driver:
        if _is_dead(mount):
            detach(mount.point)
            return
        refusal = _unmount(mount.point)
        end = time.monotonic() + _SETTLING
        while refusal is not None:
            busy = _busy(mount)
            if busy or time.monotonic() > end:
                raise MountError(busy or f"cannot unmount {point}: {refusal}")
            # Somebody may just have ended, or be looking at every mount, as `df` does.
            time.sleep(0.02)
            refusal = _unmount(mount.point)
        if driver is not None and not wait_for_end(driver, timeout):
            raise MountError(f"{point} is unmounted, but its driver has not ended within {timeout:g} s")


def unmount_if_unused(point: str) -> bool:
    """Whether the mount at `point` is gone; it stays when anyone uses it."""
    return _unmount(os.fsencode(point)) is None


def detach(point: bytes) -> None:
    """Removes the mount at `point` whoever uses it: for dead ones. Raises MountError."""
    refusal = _unmount(point, _MNT_DETACH)
    if refusal is not None:
        raise MountError(f"cannot remove the dead mount at {os.fsdecode(point)}: {refusal}")


def _resolved(path: Path) -> bytes:
    """`path` without symlinks. A dead mount cannot be looked at: its own name is taken as it is."""
    return os.path.realpath(os.fsencode(path))


def _mount_of(path: Path) -> Mount:
    # First the name as it stands: a driver that hangs would hold us as soon as we look there.
    plain = os.path.abspath(os.fsencode(path))
    mount = mounted_at(plain) or mounted_at(_resolved(path))
    if mount is None:
        raise MountError(f"{os.fsdecode(plain)} is not mounted")
    if not mount.ours:
        raise MountError(f"{os.fsdecode(plain)} is not a mount of imbfs but {_shown(mount.kind)}")
    return mount


def _is_dead(mount: Mount) -> bool:
    """Ours, without a driver. A driver that we can see alive is not asked: it may hang."""
    if not mount.ours or driver_of(mount) is not None:
        return False
    try:
        os.statvfs(mount.point)  # unlike stat, never answered from a cache
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def _unmount(point: bytes, flags: int = 0) -> str | None:
    """The reason why not; None when it is done."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(point, flags | _UMOUNT_NOFOLLOW) == 0:
            return None
        return os.strerror(ctypes.get_errno())
    lazily = ["-z"] if flags & _MNT_DETACH else []
    try:
        done = subprocess.run(["fusermount3", "-u", *lazily, "--", point], capture_output=True, check=False)
    except FileNotFoundError:
        return "fusermount3 is not installed (package fuse3)"
    return None if done.returncode == 0 else _shown(done.stderr.strip() or b"fusermount3 failed")


def _busy(mount: Mount) -> str | None:
    """Who holds the mount; None when nobody is seen to."""
    point = os.fsdecode(mount.point)
    above = [other for other in mounts() if other.parent == mount.number]
    if above:
        return f"{point} is busy: something is mounted below it, at {os.fsdecode(above[0].point)}"
    users = users_of(mount)
    return f"{point} is busy: in use by process {named(users)}" if users else None


@contextlib.contextmanager
def _pidfd(pid: int | None) -> Iterator[int | None]:
    """A descriptor that becomes readable when the process ends: unlike its number, never another's."""
    try:
        descriptor = None if pid is None else os.pidfd_open(pid)
    except ProcessLookupError:
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _shown(text: bytes) -> str:
    return " ".join(text.decode(errors="backslashreplace").split())
