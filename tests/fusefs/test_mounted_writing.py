"""A mount cannot be written to: first the kernel says so, and behind it the driver."""

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fusefs.conftest import Driver, Mounter

MS_REMOUNT = 32


def write_into(path: Path, flags: int) -> None:
    """Where the kernel lets the file be opened, which it does by itself, the write is refused."""
    descriptor = os.open(path, flags)
    try:
        os.write(descriptor, b"other content\n")
    finally:
        os.close(descriptor)


WRITES: dict[str, Callable[[Path], object]] = {
    "write": lambda root: write_into(root / "small", os.O_WRONLY),
    "write to a file that may be read": lambda root: write_into(root / "small", os.O_RDWR),
    "open to truncate": lambda root: os.open(root / "small", os.O_RDONLY | os.O_TRUNC),
    "create": lambda root: os.open(root / "new", os.O_CREAT | os.O_WRONLY),
    "truncate": lambda root: os.truncate(root / "small", 0),
    "mkdir": lambda root: (root / "new").mkdir(),
    "rmdir": lambda root: (root / "sticky").rmdir(),
    "unlink": lambda root: (root / "small").unlink(),
    "rename": lambda root: (root / "small").rename(root / "new"),
    "link": lambda root: (root / "new").hardlink_to(root / "small"),
    "symlink": lambda root: (root / "new").symlink_to("small"),
    "mkfifo": lambda root: os.mkfifo(root / "new"),
    "mknod": lambda root: os.mknod(root / "new", stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    "chmod": lambda root: (root / "small").chmod(0),
    "chown": lambda root: os.chown(root / "small", 1, 1),
    "utime": lambda root: os.utime(root / "small", (1, 1)),
    "setxattr": lambda root: os.setxattr(root / "small", "user.x", b"1"),
    "setxattr of a new one": lambda root: os.setxattr(root / "small", "user.x", b"1", os.XATTR_CREATE),
    "setxattr of an old one": lambda root: os.setxattr(root / "xattrs", "user.one", b"1", os.XATTR_REPLACE),
    "removexattr": lambda root: os.removexattr(root / "xattrs", "user.one"),
}


@pytest.fixture
def writable(driver: Driver) -> Iterator[Path]:
    """Remounted, so that the kernel lets writes through to the driver."""
    remount(driver.at, MS_REMOUNT)
    assert not os.statvfs(driver.at).f_flag & os.ST_RDONLY
    yield driver.at
    remount(driver.at, MS_REMOUNT | os.ST_RDONLY)


def remount(path: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(None, bytes(path), None, flags, None) == 0, os.strerror(ctypes.get_errno())


def refuses(write: Callable[[Path], object], root: Path) -> None:
    with pytest.raises(OSError) as raised:
        write(root)
    assert raised.value.errno == errno.EROFS
    assert (root / "small").read_bytes() == b"small content\n"


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_the_mount_is_read_only(driver: Driver, write: Callable[[Path], object]) -> None:
    refuses(write, driver.at)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_the_driver_refuses_by_itself(writable: Path, write: Callable[[Path], object]) -> None:
    refuses(write, writable)


def test_the_mount_cannot_be_asked_to_be_writable(mount: Mounter) -> None:
    with pytest.raises(AssertionError, match="rw cannot be given: backups are not written to"):
        mount("small", "rw")
