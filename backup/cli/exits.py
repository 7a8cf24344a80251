"""Exit codes: what scripts may rely on."""

import errno
import os
from collections.abc import Iterable

from backup.model import errors

DONE = 0
FAILED = 1
USAGE = 2
PARTLY = 3
#: What `status` and `diff` find, and a backup that was not to find it.
CHANGES = 4
ONLY_RENAMES = 5
#: What is immutable has changed.
ALARM = 6
NO_REPOSITORY = 10
BUSY = 11
DAMAGE = 12
INTERRUPTED = 130

_CODES: list[tuple[type[BaseException], int]] = [
    (errors.UsageError, USAGE),
    (errors.NoRepository, NO_REPOSITORY),
    (errors.RepositoryBusy, BUSY),
    (errors.Damaged, DAMAGE),
    (errors.OnlyRenames, ONLY_RENAMES),
    (errors.NotApproved, CHANGES),
    (KeyboardInterrupt, INTERRUPTED),
]


def code_of(error: BaseException) -> int:
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def worst(codes: Iterable[int]) -> int:
    """Of several: the first that tells of a failure, else what is done in part, else done."""
    found = [*codes]
    failures = (code for code in found if code not in (DONE, PARTLY))
    return next(failures, PARTLY if PARTLY in found else DONE)


def message_of(error: BaseException) -> str:
    """One line that says what is wrong."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; the repository is sound, and what was stored is used by the next run"
    if isinstance(error, OSError) and error.strerror:
        name = error.filename if error.filename is not None else ""
        path = os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else str(name)
        hint = _HINTS.get(error.errno or 0, "") if path else ""
        return (f"{path}: " if path else "") + error.strerror + hint
    text = " ".join(str(error).split("\n"))
    return text or type(error).__name__


_HINTS = {
    errno.ENOSPC: ": free some space and run it again; nothing that was stored before is lost",
    errno.EROFS: ": writing needs a file system that is mounted read-write",
}
