"""Metadata put back: only what differs, in the one order in which nothing undoes what went before."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from backup.model.entry import Entry
from backup.ops.restoring.job import Job, describe, privileged
from backup.source.attributes import Xattr, xattrs_of

#: An open file or directory, or the /proc path of a descriptor opened with O_PATH.
Handle = int | bytes

_CAPABILITY = b"security.capability"
_ACCESS_ACL = b"system.posix_acl_access"
#: Attributes that we take away where the snapshot has none; others (SELinux labels …) the system sets itself.
_REMOVABLE = (b"user.", b"trusted.", b"system.posix_acl_", _CAPABILITY)
_PRIVILEGED = {b"trusted", b"security"}
_UNSUPPORTED = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_BEYOND_32_BITS = 2**31 * 1_000_000_000


@contextlib.contextmanager
def handle_of(dir_fd: int, name: bytes) -> Iterator[bytes]:
    """A handle to what `name` itself is, a symlink or device too, that stays on it whatever replaces it."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        yield b"/proc/self/fd/%d" % fd
    finally:
        os.close(fd)


def matches(job: Job, handle: Handle, entry: Entry, status: os.stat_result) -> bool:
    """Whether `apply_metadata` would have nothing to do. Raises OSError."""
    if (status.st_uid, status.st_gid) != job.owners.of(entry) or status.st_mtime_ns != entry.mtime_ns:
        return False
    if status.st_mode != entry.mode and not stat.S_ISLNK(entry.mode):
        return False
    missing, extra = _xattr_changes(entry, xattrs_of(handle))
    return not missing and not extra


def apply_metadata(job: Job, handle: Handle, entry: Entry, status: os.stat_result, path: bytes) -> bool:
    """Gives the file all of the entry's metadata; whether anything had to change.

    What cannot be set is reported to the monitor, and the rest is set.
    """
    return _Metadata(job, handle, entry, status, path).apply()


def _xattr_changes(entry: Entry, current: tuple[Xattr, ...]) -> tuple[list[Xattr], list[bytes]]:
    """Attributes to set, and names of those to remove."""
    have, wanted = dict(current), dict(entry.xattrs)
    missing = [(name, value) for name, value in entry.xattrs if have.get(name) != value]
    extra = [name for name in have if name not in wanted and name.startswith(_REMOVABLE)]
    return missing, extra


class _Metadata:
    """One file's metadata being set."""

    def __init__(self, job: Job, handle: Handle, entry: Entry, status: os.stat_result, path: bytes) -> None:
        self._job = job
        self._handle = handle
        self._entry = entry
        self._status = status
        self._path = path
        self._changed = False
        # Bits that a chown or an ACL may have taken away, or that the file must not have with another owner.
        self._mode_in_doubt = False
        self._withheld = 0

    def apply(self) -> bool:
        self._set_owner()
        self._set_xattrs()
        if not stat.S_ISLNK(self._entry.mode):
            self._set_mode()
        self._set_times()
        return self._changed

    def _failed(self, what: str, error: Exception) -> None:
        self._job.problem(self._path, f"{what} could not be set: {describe(error)}")

    def _set_owner(self) -> None:
        uid, gid = self._job.owners.of(self._entry)
        new_uid = uid if uid != self._status.st_uid else -1
        new_gid = gid if gid != self._status.st_gid else -1
        if (new_uid, new_gid) == (-1, -1):
            return
        refusal = self._chown(new_uid, new_gid)
        if refusal is None:
            return
        # An ordinary user may still give a file to another of his groups.
        uid_stands = new_uid == -1 or (new_gid != -1 and self._chown(new_uid, -1) is None)
        gid_stands = new_gid == -1 or (new_uid != -1 and self._chown(-1, new_gid) is None)
        # Whoever owns the file now was never meant to lend his rights to all who run it.
        self._withheld = (0 if uid_stands else stat.S_ISUID) | (0 if gid_stands else stat.S_ISGID)
        self._report_owner(refusal, uid_stands)

    def _chown(self, uid: int, gid: int) -> Exception | None:
        try:
            os.chown(self._handle, uid, gid)
        except (OSError, OverflowError) as error:
            return error
        self._changed = self._mode_in_doubt = True
        return None

    def _report_owner(self, error: Exception, uid_stands: bool) -> None:
        if not isinstance(error, OSError) or error.errno not in {errno.EPERM, errno.EINVAL, *_UNSUPPORTED}:
            self._failed("the owner", error)
        elif privileged():
            self._job.notice_once("owner", f"some owners could not be set: {describe(error)}")
        elif uid_stands:
            self._job.notice_once("group", "files of groups that you are not in keep a group of yours")
        else:
            self._job.notice_once(
                "owner", "files of other users now belong to you: only root can give them their owners back"
            )

    def _set_xattrs(self) -> None:
        missing, extra = _xattr_changes(self._entry, self._current_xattrs())
        if self._mode_in_doubt:  # a chown removes capabilities
            missing += [x for x in self._entry.xattrs if x[0] == _CAPABILITY and x not in missing]
        if (missing or extra) and not self._status.st_mode & stat.S_IWUSR:
            self._make_writable()
        for name in extra:
            self._remove_xattr(name)
        for name, value in missing:
            self._set_xattr(name, value)

    def _current_xattrs(self) -> tuple[Xattr, ...]:
        try:
            return xattrs_of(self._handle)
        except PermissionError:  # our own file, without the right to read it
            self._make_writable()
        try:
            return xattrs_of(self._handle)
        except OSError:
            return ()

    def _make_writable(self) -> None:
        if stat.S_ISLNK(self._entry.mode):
            return
        with contextlib.suppress(OSError):
            os.chmod(self._handle, stat.S_IMODE(self._status.st_mode) | stat.S_IRUSR | stat.S_IWUSR)
            self._mode_in_doubt = True

    def _remove_xattr(self, name: bytes) -> None:
        try:
            os.removexattr(self._handle, name)
        except OSError as error:
            if error.errno == errno.ENODATA:
                return
            if name.split(b".")[0] in _PRIVILEGED and not privileged():
                return
            self._failed(f"the attribute {os.fsdecode(name)!r}", error)
            return
        self._changed = self._mode_in_doubt = True

    def _set_xattr(self, name: bytes, value: bytes) -> None:
        try:
            os.setxattr(self._handle, name, value)
        except (OSError, ValueError) as error:
            self._refused_xattr(name, error)
            return
        self._changed = True
        # An ACL brings permission bits of its own, and takes away setgid.
        self._mode_in_doubt |= name == _ACCESS_ACL

    def _refused_xattr(self, name: bytes, error: OSError | ValueError) -> None:
        space = name.split(b".")[0]
        shown = os.fsdecode(space)
        number = error.errno if isinstance(error, OSError) else None
        if number in _UNSUPPORTED:
            self._job.notice_once(f"no {shown}", f"the target's file system takes no {shown}.* attributes")
        elif number in {errno.EPERM, errno.EACCES} and space in _PRIVILEGED:
            self._job.notice_once(
                f"privileged {shown}", f"{shown}.* attributes are left out: only root can set them"
            )
        else:
            self._failed(f"the attribute {os.fsdecode(name)!r}", error)

    def _set_mode(self) -> None:
        # On directories setuid and setgid lend nobody any rights.
        withheld = 0 if stat.S_ISDIR(self._entry.mode) else self._withheld
        mode = stat.S_IMODE(self._entry.mode) & ~withheld
        if mode == stat.S_IMODE(self._status.st_mode) and not self._mode_in_doubt:
            return
        try:
            os.chmod(self._handle, mode)
        except OSError as error:
            self._failed("the mode", error)
            return
        self._changed = True

    def _set_times(self) -> None:
        wanted = self._entry.mtime_ns
        if wanted == self._status.st_mtime_ns:
            return
        try:
            os.utime(self._handle, ns=(wanted, wanted))
        except (OSError, OverflowError) as error:
            self._failed("the time", error)
            return
        self._changed = True
        if not 0 <= wanted < _BEYOND_32_BITS and os.stat(self._handle).st_mtime_ns != wanted:
            self._job.notice_once("time", "the target's file system cannot keep some files' times")
