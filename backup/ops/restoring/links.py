"""Hard links: which names are one file, and making the second and later ones."""

import errno
import hashlib
import os
from dataclasses import dataclass

from backup.model.entry import Entry
from backup.source.descent import Identity, identity, open_directory

_Key = tuple[tuple[int, int], bytes]


@dataclass(slots=True)
class Written:
    """A file that is in the target, for further names to be linked to."""

    path: bytes
    identity: Identity
    #: Names that the snapshot may still have.
    awaited: int


class Links:
    """The hard-linked files of one restore whose other names are still to come."""

    def __init__(self) -> None:
        self._written: dict[_Key, Written] = {}
        self._claimed: set[Identity] = set()

    def find(self, entry: Entry) -> Written | None:
        """The file that `entry` is another name of; None for the first, or when it is not quite the same."""
        key = _key(entry)
        return self._written.get(key) if key else None

    def add(self, entry: Entry, path: bytes, at: Identity) -> None:
        """Notes that one more of `entry`'s names is in the target, at `path`."""
        key = _key(entry)
        if key is None:
            return
        written = self._written.get(key)
        if written is None or written.identity != at:
            awaited = written.awaited if written else entry.nlink
            written = self._written[key] = Written(path, at, awaited)
        written.awaited -= 1
        if written.awaited <= 0:
            del self._written[key]

    def claim(self, at: Identity) -> None:
        """Notes that a file which the target had already, under several names, is one of the snapshot's."""
        self._claimed.add(at)

    def is_claimed(self, at: Identity) -> bool:
        return at in self._claimed


def _key(entry: Entry) -> _Key | None:
    group = entry.link_group
    if group is None:
        return None
    # Two names may have been read at different times: what differs is not one file, whatever its number says.
    same = entry._replace(name=b"", nlink=0, ctime_ns=0, flags=0)
    return group, hashlib.blake2b(repr(same).encode(), digest_size=16).digest()


def make_link(root_fd: int, written: Written, path: bytes, dir_fd: int, name: bytes) -> None:
    """Links `name` in the directory `dir_fd`, for the restored `path`, to the file written before.

    Raises OSError; with ESTALE when what is found there is another file.
    """
    parent, _, source = written.path.rpartition(b"/")
    if parent == path.rpartition(b"/")[0]:
        _link(dir_fd, source, dir_fd, name, written.identity)
        return
    # Step by step: one path might be too long, and a symlink on it would be followed.
    fd = _walk_to(root_fd, parent)
    try:
        _link(fd, source, dir_fd, name, written.identity)
    finally:
        os.close(fd)


def _link(source_fd: int, source: bytes, dir_fd: int, name: bytes, expected: Identity) -> None:
    os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
    if identity(os.lstat(name, dir_fd=dir_fd)) != expected:
        os.unlink(name, dir_fd=dir_fd)
        raise OSError(errno.ESTALE, "the file to link to was replaced")


def _walk_to(root_fd: int, path: bytes) -> int:
    fd = os.dup(root_fd)
    for name in path.split(b"/") if path else ():
        try:
            deeper = open_directory(fd, name)
        finally:
            os.close(fd)
        fd = deeper
    return fd
