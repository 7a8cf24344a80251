"""Names in the target: those that are refused, temporary ones, and those of what was moved aside."""

import errno
import itertools
import os
import re
import secrets
import stat
from typing import NamedTuple

from backup.ops.restoring.job import Refused

_NAME_MAX = 255
_TEMPORARY = re.compile(rb"\.imbfs-restore-([0-9a-f]{8})[0-9a-f]{8}\Z")
_numbers = itertools.count(secrets.randbits(32))
_KEPT = re.compile(rb"\.imbfs-kept-[0-9]+\Z")


class Place(NamedTuple):
    """Where one entry goes."""

    #: None in a dry run, where the directory itself is not there.
    dir_fd: int | None
    name: bytes
    #: Relative to the restored directory.
    path: bytes
    #: The directory was made by this restore, so nothing of this name is in it.
    fresh: bool = False

    @property
    def fd(self) -> int:
        if self.dir_fd is None:
            raise OSError(errno.ENOENT, "the directory is not there")
        return self.dir_fd

    def lookup(self) -> os.stat_result | None:
        """The status of what is there, never of what a symlink points at."""
        if self.dir_fd is None or self.fresh:
            return None
        return status_of(self.dir_fd, self.name)


def status_of(dir_fd: int, name: bytes) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return None


def check_name(name: bytes, previous: bytes) -> None:
    """Raises Refused for a name that would lead elsewhere, or that was listed before."""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise Refused("refused: no file can have this name, and it might lead out of the target")
    if name <= previous:
        raise Refused("refused: listed twice, or out of order")


def temporary_name() -> bytes:
    """A name that no other restore uses: of this process, and a number."""
    return b".imbfs-restore-%08x%08x" % (os.getpid(), next(_numbers) & 0xFFFFFFFF)


def is_temporary(name: bytes) -> bool:
    """Whether a restore, under way or killed, gave this name to what it was writing."""
    return _TEMPORARY.match(name) is not None


def is_leftover(name: bytes) -> bool:
    """Whether this is a temporary name of a restore that was killed."""
    match = _TEMPORARY.match(name)
    if match is None:
        return False
    try:
        os.kill(int(match[1], 16), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


def is_kept_name(name: bytes) -> bool:
    return _KEPT.search(name) is not None


def kept_name(dir_fd: int, name: bytes) -> bytes:
    """The first free NAME.imbfs-kept-N; a name too long for that loses its end."""
    number = 1
    while True:
        suffix = b".imbfs-kept-%d" % number
        kept = name[: _NAME_MAX - len(suffix)] + suffix
        if status_of(dir_fd, kept) is None:
            return kept
        number += 1


def unlock(dir_fd: int, name: bytes) -> int | None:
    """Gives us read, write and search on our own directory where we lack them; its mode before, or None.

    For an ordinary user, who fills and empties a read-only directory no other way.
    """
    status = status_of(dir_fd, name)
    user = os.geteuid()
    if status is None or user == 0 or status.st_uid != user or not stat.S_ISDIR(status.st_mode):
        return None
    if status.st_mode & stat.S_IRWXU == stat.S_IRWXU:
        return None
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.chmod(b"/proc/self/fd/%d" % fd, stat.S_IMODE(status.st_mode) | stat.S_IRWXU)
    finally:
        os.close(fd)
    return stat.S_IMODE(status.st_mode)
