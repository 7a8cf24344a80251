"""Removing what is in the way or not in the snapshot: never across a mount, never through a link."""

import contextlib
import os
import stat
from dataclasses import dataclass

from backup.ops.restoring.job import ITEM_ERRORS, Job
from backup.ops.restoring.names import Place, is_leftover, unlock
from backup.source.descent import Descent, identity


def remove(job: Job, place: Place) -> bool:
    """Removes `place` and, for a directory, all below it; False when something stays, which is reported.

    A directory in which something is mounted, or that is protected, stays, and so do those that lead to it.
    """
    if not stat.S_ISDIR(os.lstat(place.name, dir_fd=place.fd).st_mode):
        os.unlink(place.name, dir_fd=place.fd)
        job.summary.deleted += 1
        return True
    with Descent(os.dup(place.fd)) as descent:
        return _Removal(job, descent, place).run()


def remove_leftovers(dir_fd: int) -> set[bytes]:
    """Removes what a killed restore left half-written in a directory; the names of all that was there."""
    names = set(map(os.fsencode, os.listdir(dir_fd)))
    for name in filter(is_leftover, names):
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=dir_fd)
    return names


@dataclass(slots=True)
class _Level:
    name: bytes
    #: Still to be looked at.
    names: list[bytes]
    #: Nothing in it has to stay.
    empty: bool = True


class _Removal:
    """One directory being removed from below, level by level, without recursion."""

    def __init__(self, job: Job, descent: Descent, place: Place) -> None:
        self._job = job
        self._descent = descent
        self._mount = _mount_of(place.fd)
        self._levels = [_Level(place.path.rpartition(b"/")[0], [place.name])]

    def run(self) -> bool:
        while True:
            level = self._levels[-1]
            if level.names:
                self._remove(level, level.names.pop())
            elif len(self._levels) == 1:
                return level.empty
            else:
                self._leave()

    def _remove(self, level: _Level, name: bytes) -> None:
        try:
            if stat.S_ISDIR(os.lstat(name, dir_fd=self._descent.fd).st_mode):
                self._enter(name)
            else:
                os.unlink(name, dir_fd=self._descent.fd)
                self._job.summary.deleted += 1
        except ITEM_ERRORS as error:
            level.empty = False
            self._job.failed(self._path(name), error)

    def _path(self, name: bytes) -> bytes:
        return b"/".join([level.name for level in self._levels if level.name] + [name])

    def _enter(self, name: bytes) -> None:
        unlock(self._descent.fd, name)
        fd = self._descent.push(name)
        reason = self._reason_to_stay(fd)
        if reason is None:
            self._levels.append(_Level(name, [os.fsencode(child) for child in os.listdir(fd)]))
            return
        self._descent.pop()
        self._levels[-1].empty = False
        self._job.monitor.notice(f"not removed, because {reason}: {os.fsdecode(self._path(name))}")

    def _reason_to_stay(self, fd: int) -> str | None:
        if identity(os.fstat(fd)) in self._job.options.protected:
            return "it is the repository"
        return "something is mounted there" if _mount_of(fd) != self._mount else None

    def _leave(self) -> None:
        level = self._levels.pop()
        parent = self._levels[-1]
        self._descent.pop()
        if not level.empty:
            parent.empty = False
            return
        try:
            os.rmdir(level.name, dir_fd=self._descent.fd)
            self._job.summary.deleted += 1
        except OSError as error:
            parent.empty = False
            self._job.failed(self._path(level.name), error)


def _mount_of(fd: int) -> tuple[int, bytes]:
    """Tells mounts apart, those of one file system at two places too."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        mount = next((line for line in file if line.startswith(b"mnt_id:")), b"")
    return os.fstat(fd).st_dev, mount
