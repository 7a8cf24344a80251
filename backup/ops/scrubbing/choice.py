"""Which files a scrub reads, and what it remembers of those that it has read."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from backup.ops.checking.subset import Part, ReadLog, Share, choose

#: Seconds between two times that it is written down what was read: for a scrub that is killed.
SAVE_EVERY = 60.0
#: A scrub that was stopped is gone on with for so long, in seconds. Later, all is read.
RESUME_WITHIN = 7 * 86400.0
#: What was read longer ago is not remembered: it may be gone.
REMEMBER = 400 * 86400.0


def key_of(path: bytes) -> bytes:
    """Names a file in the log."""
    return hashlib.blake2b(path, digest_size=16).digest()


class Choice:
    """`log` is the file that remembers when each file was read last and found as it should be.

    A whole scrub has a second one beside it, with the time at which it began, until it is done.
    """

    def __init__(
        self,
        subset: Part | Share | None,
        log: Path | None,
        sizes: Callable[[], Mapping[bytes, int]],
        clock: Callable[[], float],
        notice: Callable[[str], None],
    ) -> None:
        """`sizes`: of all files, in bytes; asked for where a share of them is to be read."""
        self._subset = subset
        self._log = ReadLog(log)
        self._clock = clock
        self._notice = notice
        self._saved = clock()
        self._since = None if log is None else log.with_name(log.name + ".since")
        self._chosen = set(choose(sizes(), subset, self._log.times)) if isinstance(subset, Share) else set()
        self._begun = self._begin() if subset is None else None

    def wants(self, path: bytes) -> bool:
        key = key_of(path)
        if isinstance(self._subset, Part):
            return int.from_bytes(key[:8]) % self._subset.of == self._subset.number - 1
        if self._subset is not None:
            return key in self._chosen
        return self._begun is None or self._log.times.get(key, 0) < self._begun

    def note_intact(self, path: bytes) -> None:
        now = self._clock()
        self._log.note(key_of(path), now)
        if now - self._saved >= SAVE_EVERY:
            self.save()

    def save(self) -> None:
        self._saved = self._clock()
        oldest = self._saved - REMEMBER
        self._log.save({key for key, when in self._log.times.items() if when > oldest}, self._notice)

    def end(self) -> None:
        """All was looked at."""
        if self._subset is None and self._since is not None:
            with suppress(OSError):
                self._since.unlink(missing_ok=True)

    def _begin(self) -> float | None:
        """When the scrub began that this one goes on with."""
        if self._since is None:
            return None
        now = self._clock()
        with suppress(OSError, ValueError):
            begun = float(self._since.read_text())
            if now - RESUME_WITHIN <= begun <= now:
                return begun
        with suppress(OSError):
            self._since.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._since.write_text(f"{int(now)}\n")
        return None
