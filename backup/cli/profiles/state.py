"""What is remembered of a profile's runs, and the lock that keeps two of them apart."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from backup.cli.context import state_directory
from backup.model.duration import Duration
from backup.model.errors import RepositoryBusy


def _directory() -> Path:
    return state_directory() / "imbfs" / "runs"


@contextmanager
def only_run(name: str) -> Iterator[None]:
    """Raises `RepositoryBusy` where this profile runs already. The kernel frees the lock, however we end."""
    _directory().mkdir(parents=True, exist_ok=True)
    fd = os.open(_directory() / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            process = os.pread(fd, 20, 0).decode(errors="replace").strip()
            raise RepositoryBusy(f"profile {name} is being run already, by process {process}") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)


class Times:
    """When a profile last did what it does not do each time."""

    def __init__(self, name: str) -> None:
        self._file = _directory() / f"{name}.json"

    def due(self, command: str, every: Duration | None, now: datetime) -> bool:
        """A note that cannot be read, or is of the future, counts for nothing."""
        last = self._read().get(command)
        return every is None or last is None or not every.before(now) < last <= now

    def note(self, command: str, now: datetime) -> None:
        known = {name: time.isoformat() for name, time in self._read().items()}
        text = json.dumps(known | {command: now.isoformat()})
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.replace(self._file)

    def _read(self) -> dict[str, datetime]:
        try:
            known = json.loads(self._file.read_bytes())
            return {name: datetime.fromisoformat(text).astimezone() for name, text in known.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
