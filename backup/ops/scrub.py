"""Scrubbing: the live tree is read again and compared with the hashes that are kept of it."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from backup.ops.backup import own_directories
from backup.ops.checking.subset import Part, Share
from backup.ops.scrubbing.choice import Choice, key_of
from backup.ops.scrubbing.live import LiveFile, live_files
from backup.ops.scrubbing.reading import forget_cached, same_extents, same_hash
from backup.ops.storing.monitor import Monitor
from backup.repository import Repository
from backup.snapshots.difference import tree_at
from backup.snapshots.manifest import Snapshot
from backup.snapshots.paths import find_spot, relative_parts
from backup.source.descent import open_file
from backup.source.seals import Seals, remove_seal

__all__ = ["Found", "Part", "Removed", "Report", "Share", "forget_seals", "scrub"]

#: silent: other content, same size and time; modified: another size or time; unknown: no hash is kept;
#: passed: not to be read this time.
State = Literal["silent", "unreadable", "modified", "unknown", "intact", "passed"]


class Found(NamedTuple):
    """A file at the source that is not as the hash kept of it says, or cannot be compared. `text`: why."""

    state: State
    path: bytes
    text: str = ""


@dataclass
class Report:
    """`files`: how many were found in each state (`passed`: not in the subset, or read before)."""

    files: dict[State, int] = field(default_factory=dict)
    bytes_read: int = 0
    #: Silent changes, and what could not be read.
    found: list[Found] = field(default_factory=list)

    def count(self, state: State) -> int:
        return self.files.get(state, 0)


def scrub(
    repository: Repository,
    snapshot: Snapshot,
    paths: list[bytes],
    seals: Seals | None,
    monitor: Monitor,
    subset: Part | Share | None = None,
    log: Path | None = None,
    tell: Callable[[Found], None] = lambda found: None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Reads all files at and below the paths, or a `subset`, whose content is known.

    `log` is a file that remembers when each file was read last. The next whole scrub goes on
    with one that was stopped. `tell` is given every file that is not intact. The monitor may raise `Stopped`.
    """
    scrubbing = _Scrubbing(repository, snapshot, seals, monitor, tell)

    def sizes() -> dict[bytes, int]:
        return {key_of(file.path): file.status.st_size for file in scrubbing.files(paths, quiet=True)}

    choice = Choice(subset, log, sizes, clock, repository.notice)
    try:
        for file in scrubbing.files(paths):
            if scrubbing.take(file, choice.wants(file.path)) == "intact":
                choice.note_intact(file.path)
    finally:
        choice.save()
    choice.end()
    return scrubbing.report


class _Scrubbing:
    """Compares file by file, and keeps the report."""

    def __init__(
        self,
        repository: Repository,
        snapshot: Snapshot,
        seals: Seals | None,
        monitor: Monitor,
        tell: Callable[[Found], None],
    ) -> None:
        self.report = Report()
        self._repository = repository
        self._snapshot = snapshot
        self._seals = seals
        self._monitor = monitor
        self._tell = tell
        self._hash_name = repository.config.hash

    def files(self, paths: list[bytes], quiet: bool = False) -> Iterable[LiveFile]:
        skip = own_directories(self._repository)
        read = self._repository.tree
        problem = _say_nothing if quiet else self._unreadable
        for path in paths:
            parts = relative_parts(self._snapshot, path)
            whole = os.path.isdir(path) and not os.path.islink(path)
            spot = find_spot(self._snapshot.root, parts if whole else parts[:-1], read)
            try:
                yield from live_files(path, tree_at(spot), read, skip, problem)
            except OSError as error:
                problem(path, error.strerror or str(error))

    def take(self, file: LiveFile, wanted: bool) -> State:
        state, text = self._look(file, wanted)
        self.report.files[state] = self.report.count(state) + 1
        self._monitor.entries(1, file.status.st_size)
        if state not in ("intact", "passed"):
            found = Found(state, file.path, text)
            self._tell(found)
            if state in ("silent", "unreadable"):
                self.report.found.append(found)
        return state

    def _unreadable(self, path: bytes, text: str) -> None:
        found = Found("unreadable", path, text)
        self.report.files["unreadable"] = self.report.count("unreadable") + 1
        self.report.found.append(found)
        self._tell(found)

    def _look(self, file: LiveFile, wanted: bool) -> tuple[State, str]:
        if not wanted:
            return "passed", ""
        try:
            fd, status = open_file(file.dir_fd, file.name)
        except FileNotFoundError:
            return "passed", ""
        except OSError as error:
            return "unreadable", error.strerror or str(error)
        try:
            same = self._comparison(fd, status, file)
            if same is None:
                return ("unknown" if file.entry is None else "modified"), ""
            forget_cached(fd)
            if same():
                return "intact", ""
            after = os.fstat(fd)
            if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
                return "modified", ""
            return "silent", "its content is another, its size and time are not"
        except OSError as error:
            return "unreadable", error.strerror or str(error)
        finally:
            os.close(fd)

    def _comparison(self, fd: int, status: os.stat_result, file: LiveFile) -> Callable[[], bool] | None:
        """What reads the file and says whether it is as before; None where nothing tells how it was."""
        digest = None if self._seals is None else self._seals.find(fd, status)
        if digest is not None:
            return lambda: same_hash(fd, status.st_size, digest, self._hash_name, self._advance)
        entry = file.entry
        if entry is None or entry.kind != "file" or entry.flags:
            return None
        if (entry.size, entry.mtime_ns) != (status.st_size, status.st_mtime_ns):
            return None
        return lambda: same_extents(fd, entry.extents, self._hash_name, self._advance)

    def _advance(self, size: int) -> None:
        self.report.bytes_read += size
        self._monitor.read(size)


def _say_nothing(path: bytes, text: str) -> None:
    """For a look that another one follows."""


class Removed(NamedTuple):
    """From how many files, and how many could not be looked at or written."""

    removed: int
    errors: int


def forget_seals(
    repository: Repository, paths: Iterable[bytes], attribute: bytes, monitor: Monitor
) -> Removed:
    """Removes the attribute from all files at and below the paths. What prevents it is told."""
    removed = errors = 0
    skip = own_directories(repository)

    def problem(path: bytes, text: str) -> None:
        nonlocal errors
        errors += 1
        monitor.problem(path, text)

    for path in paths:
        try:
            for file in live_files(path, None, repository.tree, skip, problem):
                removed += _forget(file, attribute, problem)
        except OSError as error:
            problem(path, error.strerror or str(error))
    return Removed(removed, errors)


def _forget(file: LiveFile, attribute: bytes, problem: Callable[[bytes, str], None]) -> bool:
    try:
        fd, _ = open_file(file.dir_fd, file.name)
        try:
            return remove_seal(fd, attribute)
        finally:
            os.close(fd)
    except OSError as error:
        problem(file.path, error.strerror or str(error))
        return False
