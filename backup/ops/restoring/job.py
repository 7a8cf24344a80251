"""What all parts of one restore share: what was asked, what was done so far, and how errors are taken."""

import errno
import grp
import os
import pwd
import stat
from dataclasses import dataclass, field

from backup.model.entry import Entry
from backup.model.errors import Damaged, ImbfsError
from backup.ops.restoring.contract import Reader, RestoreMonitor, RestoreOptions, RestoreSummary
from backup.ops.restoring.links import Links

#: What one item may fail with while the rest goes on. ValueError and OverflowError: numbers and names of a
#: hostile snapshot that the system's calls do not take.
ITEM_ERRORS = (OSError, Damaged, ValueError, OverflowError)

_FATAL = {
    errno.ENOSPC: "no space left in the target: free some, then restore again; what is there already is kept",
    errno.EDQUOT: "the quota of the target is used up: free some space, then restore again",
    errno.EROFS: "the target is on a read-only file system",
}


class Refused(ValueError):
    """An entry that no honest backup writes."""


@dataclass(slots=True)
class Job:
    """One restore under way. For one thread."""

    reader: Reader
    options: RestoreOptions
    monitor: RestoreMonitor
    links: Links
    owners: "Owners"
    summary: RestoreSummary = field(default_factory=RestoreSummary)
    _files_done: int = 0
    _bytes_done: int = 0
    _noticed: set[str] = field(default_factory=set)

    def problem(self, path: bytes, text: str) -> None:
        self.summary.errors += 1
        self.monitor.problem(path or b".", text)

    def notice_once(self, kind: str, text: str) -> None:
        if kind not in self._noticed:
            self._noticed.add(kind)
            self.monitor.notice(text)

    def failed(self, path: bytes, error: Exception) -> None:
        """Reports an item's error; raises ImbfsError when all other items would fail the same way."""
        if isinstance(error, OSError) and error.errno in _FATAL:
            raise ImbfsError(_FATAL[error.errno]) from error
        self.problem(path, describe(error))

    def item_done(self, path: bytes) -> None:
        self._files_done += 1
        self.monitor.progress(self._files_done, self._bytes_done, path)

    def bytes_done(self, size: int, path: bytes) -> None:
        """For a part of a file; `item_done` reports its end."""
        self._bytes_done += size
        if size >= 1 << 20:
            self.monitor.progress(self._files_done, self._bytes_done, path)

    def written(self, files: int, size: int, data: int, path: bytes) -> None:
        """For so many regular files of `size` bytes, `data` of them no holes; `path` is the last one's."""
        self.summary.files += files
        self.summary.bytes_written += data
        self._files_done += files
        self._bytes_done += size
        self.monitor.progress(self._files_done, self._bytes_done, path)

    def count(self, mode: int) -> None:
        """Counts a name other than a directory as put back."""
        if stat.S_ISREG(mode):
            self.summary.files += 1
        elif stat.S_ISLNK(mode):
            self.summary.links += 1
        else:
            self.summary.specials += 1


def describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class Owners:
    """Who owns an entry here: its user and group by name where this system knows them, else by number."""

    def __init__(self, numeric: bool) -> None:
        self._numeric = numeric
        self._uids: dict[tuple[str, int], int] = {}
        self._gids: dict[tuple[str, int], int] = {}

    def of(self, entry: Entry) -> tuple[int, int]:
        return self.here(entry.uid, entry.user, entry.gid, entry.group)

    def here(self, uid: int, user_name: str, gid: int, group_name: str) -> tuple[int, int]:
        if self._numeric:
            return uid, gid
        user, group = (user_name, uid), (group_name, gid)
        if user not in self._uids:
            self._uids[user] = _uid_here(*user)
        if group not in self._gids:
            self._gids[group] = _gid_here(*group)
        return self._uids[user], self._gids[group]


def _uid_here(name: str, number: int) -> int:
    try:
        return pwd.getpwnam(name).pw_uid if name else number
    except (KeyError, OSError, ValueError):
        return number


def _gid_here(name: str, number: int) -> int:
    try:
        return grp.getgrnam(name).gr_gid if name else number
    except (KeyError, OSError, ValueError):
        return number


def privileged() -> bool:
    return os.geteuid() == 0
