"""What can go wrong, as types. The command line turns each into one line and an exit code."""

import errno


class ImbfsError(Exception):
    """Anything that imbfs itself reports. The message says what is wrong and what to do."""


class UsageError(ImbfsError):
    """The call itself is wrong: an option or an argument that cannot be."""


class NoRepository(ImbfsError):
    """There is no repository at that place."""


class RepositoryBusy(ImbfsError):
    """Another process holds what this one needs."""


class Damaged(ImbfsError):
    """Bytes in the repository are missing or are not what their name says."""


class NotFound(ImbfsError):
    """No such snapshot, or no such path in it; or more than one snapshot fits."""


class CannotStore(ImbfsError):
    """The repository cannot be written: no space, no right, a failing disk."""


class NotApproved(ImbfsError):
    """The source holds changes that nobody approved, or expected."""


class OnlyRenames(NotApproved):
    """All of those changes are renames."""


class Stopped(KeyboardInterrupt):
    """Someone asked to stop, and this is a place where stopping is clean."""


def is_full(error: BaseException | None) -> bool:
    """Whether it says that a disk is full or a quota used up, or comes from one that says so."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False
