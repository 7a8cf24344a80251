"""Which paths this user has locked, and since when: in the state directory, for all repositories."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from backup.cli.context import state_directory
from backup.model.errors import ImbfsError, NotFound
from backup.model.text import Name, to_bytes, to_name


class Lock(msgspec.Struct, frozen=True):
    """`since` is RFC 3339."""

    path: Name
    since: str
    reason: str = ""


def locks() -> dict[bytes, Lock]:
    """By path, in order. Raises `ImbfsError` where they cannot be read: nothing is to be guessed then."""
    try:
        data = _file().read_bytes()
        return {to_bytes(each.path): each for each in msgspec.json.decode(data, type=list[Lock])}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise ImbfsError(
            f"{_file()}: which paths are locked cannot be read ({error}): remove the file to unlock all"
        ) from error


def lock(paths: Iterable[bytes], since: str, reason: str) -> None:
    """One that is locked already stays as it is, unless there is a new reason. Raises OSError."""
    with _only_one():
        known = locks()
        for path in paths:
            before = known.get(path)
            known[path] = before if before and not reason else Lock(to_name(path), since, reason)
        _write(known)


def unlock(paths: Iterable[bytes]) -> None:
    """Raises `NotFound` where one is not locked, and unlocks none; OSError."""
    with _only_one():
        known = locks()
        for path in paths:
            if path not in known:
                raise NotFound(f"{os.fsdecode(path)} is not locked: `imbfs source list` shows what is")
        for path in paths:
            known.pop(path, None)
        _write(known)


def _file() -> Path:
    return state_directory() / "imbfs" / "locks.json"


@contextmanager
def _only_one() -> Iterator[None]:
    directory = _file().parent
    directory.mkdir(parents=True, exist_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _write(known: dict[bytes, Lock]) -> None:
    temporary = _file().with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.encode([known[path] for path in sorted(known)]))
    temporary.replace(_file())
