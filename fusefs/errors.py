"""Any exception becomes an errno here, and nowhere else."""

import errno
import logging

log = logging.getLogger("fusefs")

#: For an OSError that was raised without a number, as in `raise FileNotFoundError(name)`.
_BY_CLASS: dict[type[OSError], int] = {
    FileNotFoundError: errno.ENOENT,
    FileExistsError: errno.EEXIST,
    NotADirectoryError: errno.ENOTDIR,
    IsADirectoryError: errno.EISDIR,
    PermissionError: errno.EACCES,
    InterruptedError: errno.EINTR,
    BlockingIOError: errno.EAGAIN,
    TimeoutError: errno.ETIMEDOUT,
}

#: The largest errno of the kernel. A larger one in a reply leaves its caller without any.
_LARGEST = 133

#: Different messages kept in mind, so that a damaged disk does not fill memory or the log.
_MOST_MESSAGES = 1000

_logged: set[str] = set()


class Refused(Exception):
    """The driver's own answer: an errno that no view can give."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def errno_of(error: BaseException) -> int:
    """The errno a caller in the kernel gets for `error`: a number from 1 to 133."""
    if isinstance(error, Refused):
        return error.number
    if not isinstance(error, OSError):
        return errno.EIO
    number: object = error.errno
    if number is None:
        number = next((_BY_CLASS[kind] for kind in type(error).__mro__ if kind in _BY_CLASS), errno.EIO)
    # ENOSYS from a view's own system calls would make the kernel never ask again, for any file.
    if not isinstance(number, int) or not 0 < number <= _LARGEST or number == errno.ENOSYS:
        return errno.EIO
    return number


def told_errno(error: BaseException, doing: str) -> int:
    """As `errno_of`; what ends as EIO gets one line in the log."""
    number = errno_of(error)
    if number == errno.EIO and not isinstance(error, Refused):
        log_once(f"{doing}: {type(error).__name__}: {error}")
        log.debug("%s", doing, exc_info=error)
    return number


def log_once(message: str) -> None:
    """Logs `message` as one line of level ERROR, the first time only."""
    line = " ".join(message.split())
    if line in _logged:
        return
    if len(_logged) >= _MOST_MESSAGES:
        _logged.clear()
    _logged.add(line)
    log.error("%s", line)
