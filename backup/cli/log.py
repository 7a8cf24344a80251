"""`--log-file FILE`: what a command tells, kept with the time and the number of the process."""

import os
import shlex
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from backup.cli.output import listen, tell

Clock = Callable[[], float]


class Log:
    """Lines are appended whole, so several processes may share the file. `clock` is in seconds since 1970."""

    def __init__(self, file: str, clock: Clock = time.time) -> None:
        """Raises OSError."""
        self._file = file
        self._clock = clock
        self._started = clock()
        self._fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def begin(self, words: Sequence[str]) -> None:
        self.note(f"begins: imbfs {shlex.join(words)}")

    def note(self, text: str) -> None:
        """A log that cannot be written any more ends nothing but itself."""
        if self._fd < 0:
            return
        when = datetime.fromtimestamp(self._clock(), UTC).astimezone().isoformat(timespec="seconds")
        lines = "".join(f"{when} {os.getpid()} {line}\n" for line in text.splitlines())
        try:
            os.write(self._fd, os.fsencode(lines))
        except OSError as error:
            self.close()
            tell(f"imbfs: {self._file}: {error.strerror}: nothing more is logged")

    def end(self, code: int) -> None:
        self.note(f"ends: exit code {code}, {self._clock() - self._started:.1f} s")
        self.close()

    def close(self) -> None:
        listen(None)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_log(file: str, words: Sequence[str]) -> Log:
    """From now on, what is told is logged. Raises OSError."""
    log = Log(file)
    listen(log.note)
    log.begin(words)
    return log
