"""What a name has besides its status: extended attributes, a symlink's target, its owner's names."""

import errno
import grp
import os
import pwd

#: An attribute's name and its value.
Xattr = tuple[bytes, bytes]

#: Where imbfs itself keeps a file's hash, and with a dot and a number after it: no part of what is backed up.
SEAL = b"user.imbfs.hash"

_NO_XATTRS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_GONE = {errno.ENODATA, *_NO_XATTRS}


def path_of(dir_fd: int, name: bytes) -> bytes:
    """A path to `name` for calls that take no directory descriptor; short however deep the directory lies."""
    return b"/proc/self/fd/%d/%s" % (dir_fd, name)


def read_xattrs(dir_fd: int, name: bytes, fd: int | None = None) -> tuple[Xattr, ...]:
    """All extended attributes of `name` that we may see, sorted by name; a symlink's are its own.

    POSIX ACLs, capabilities, security.* and, for root, trusted.* among them. `fd` is used where the file is
    open (not with O_PATH). Empty where the file system keeps none. Raises OSError.
    """
    if fd is not None:
        return xattrs_of(fd)
    try:
        return xattrs_of(path_of(dir_fd, name), follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EPERM:  # how some file systems say that symlinks and devices have none
            return ()
        raise


def xattrs_of(handle: int | bytes, *, follow_symlinks: bool = True) -> tuple[Xattr, ...]:
    """All extended attributes of an open file or a path but seals, sorted by name. Raises OSError."""
    follow = follow_symlinks or isinstance(handle, int)
    try:
        keys = os.listxattr(handle, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return ()
        raise
    if not keys:
        return ()
    found = []
    for key in keys:
        name = os.fsencode(key)
        if name == SEAL or name.startswith(SEAL + b"."):
            continue
        try:
            found.append((name, os.getxattr(handle, key, follow_symlinks=follow)))
        except OSError as error:  # removed since it was listed
            if error.errno not in _GONE:
                raise
    return tuple(sorted(found))


def read_target(dir_fd: int, name: bytes) -> bytes:
    """What the symlink `name` says. Raises OSError (EINVAL when it is not a symlink)."""
    return os.readlink(name, dir_fd=dir_fd)


class OwnerNames:
    """Names of users and groups by number, each asked for once; '' where the system knows none."""

    def __init__(self) -> None:
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}

    def user(self, uid: int) -> str:
        name = self._users.get(uid)
        if name is None:
            name = self._users[uid] = _user_name(uid)
        return name

    def group(self, gid: int) -> str:
        name = self._groups.get(gid)
        if name is None:
            name = self._groups[gid] = _group_name(gid)
        return name


# The name services behind these may be remote and down: a backup does not fail for a name.


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError, OverflowError):
        return ""


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OSError, OverflowError):
        return ""
