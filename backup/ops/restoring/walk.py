"""The walk through a snapshot's directories, with the target's own beside it, without recursion."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from backup.model.entry import FLAG_NO_CONTENT, Entry
from backup.model.errors import Damaged
from backup.ops.restoring.batch import Folder
from backup.ops.restoring.filling import Filling
from backup.ops.restoring.items import check_entry, restore_item
from backup.ops.restoring.job import ITEM_ERRORS, Job, Refused
from backup.ops.restoring.metadata import apply_metadata
from backup.ops.restoring.names import Place, check_name, is_kept_name, status_of, unlock
from backup.ops.restoring.removal import remove, remove_leftovers
from backup.ops.restoring.way import foresee_way, make_way
from backup.snapshots.directory import Directory
from backup.source.descent import Descent, identity


@dataclass(slots=True)
class _Level:
    """One directory of the snapshot that is being gone through."""

    entry: Entry
    #: How much of the walk's path leads here: a path of its own at each of many levels would be too much.
    length: int
    entries: Iterator[Entry]
    #: The directory itself is asked for, and all in it; otherwise it only leads to something.
    included: bool
    #: Not made in the target yet: it will be when something in it is asked for.
    waiting: bool = True
    #: Made by this restore.
    fresh: bool = False
    #: In a dry run: it would have to be made, so there is nothing to look at.
    absent: bool = False
    #: The snapshot's listing was read to its end.
    whole: bool = True
    #: Its mode before it was opened for us to write in.
    former_mode: int | None = None
    last: bytes = b""
    #: Where new plain files are written apart from the walk: its tree, and what is awaited in it.
    directory: Directory | None = None
    folder: Folder | None = None
    #: All names that the snapshot has here; only when deleting.
    names: set[bytes] = field(default_factory=set)


class Walk:
    """Puts back a directory's content into the target directory that `descent` starts at.

    In a dry run there may be none (None). For one use and one thread.
    """

    def __init__(
        self, job: Job, descent: Descent | None, root: Entry, fresh: bool, filling: Filling | None = None
    ) -> None:
        """With `filling`, new plain files are written by that one, in directories that are asked for."""
        self._job = job
        self._descent = descent
        self._filling = filling
        level = self._listed(root, b"", job.options.include is None)
        level.waiting, level.fresh, level.absent = False, fresh, descent is None
        # The path of the last level, relative to the restored directory.
        self._path = b""
        self._levels = [level]

    def run(self) -> None:
        """Raises ImbfsError when nothing more can be restored, OSError when the target was moved away."""
        if self._descent is not None and not self._job.options.dry_run:
            self._levels[0].former_mode = unlock(self._descent.fd, b".")
            there = remove_leftovers(self._descent.fd)
            self._fill(self._descent.fd, self._levels[0], b"", there)
        while self._levels:
            level = self._levels[-1]
            entry = self._next(level)
            if entry is None:
                self._leave()
                continue
            try:
                self._entry(level, entry)
            except ITEM_ERRORS as error:
                self._job.failed(self._inner(entry.name), error)
        if self._filling is not None:
            self._filling.finish()

    def _fill(self, fd: int, level: _Level, path: bytes, there: set[bytes]) -> None:
        # Where only some of it is asked for, its entries are being gone through already.
        if level.included and self._filling is not None and level.directory is not None:
            names = level.names if self._job.options.delete else None
            level.folder, level.entries = self._filling.fill(fd, path, level.directory, there, names)

    def _inner(self, name: bytes) -> bytes:
        return self._path + b"/" + name if self._path else name

    def _cut(self, count: int) -> None:
        """Leaves all levels but the first `count`."""
        del self._levels[count:]
        self._path = self._path[: self._levels[-1].length] if self._levels else b""

    def _next(self, level: _Level) -> Entry | None:
        try:
            return next(level.entries, None)
        except (Damaged, OSError) as error:
            self._job.failed(self._path, error)
            level.whole = False
            return None

    def _entry(self, level: _Level, entry: Entry) -> None:
        try:
            check_name(entry.name, level.last)
        except Refused:
            level.whole = False
            raise
        level.last = entry.name
        if self._job.options.delete:
            level.names.add(entry.name)
        path = self._inner(entry.name)
        is_dir = stat.S_ISDIR(entry.mode)
        if self._excluded(path, is_dir):
            return
        included = level.included or self._fits(path, is_dir)
        if is_dir:
            self._levels.append(self._listed(entry, path, included))
            self._path = path
            if included:
                self._make_waiting()
        elif included and self._make_waiting():
            self._item(level, entry, path)

    def _item(self, level: _Level, entry: Entry, path: bytes) -> None:
        root_fd = self._descent.root_fd if self._descent else None
        try:
            restore_item(self._job, root_fd, Place(self._fd(level), entry.name, path, level.fresh), entry)
        finally:
            self._job.item_done(path)

    def _excluded(self, path: bytes, is_dir: bool) -> bool:
        exclude = self._job.options.exclude
        return exclude is not None and exclude(path, is_dir)

    def _fits(self, path: bytes, is_dir: bool) -> bool:
        include = self._job.options.include
        return include is None or include(path, is_dir)

    def _fd(self, level: _Level) -> int | None:
        return None if level.absent or self._descent is None else self._descent.fd

    def _listed(self, entry: Entry, path: bytes, included: bool) -> _Level:
        """A level for a directory; an unreadable listing counts as an empty one, and is reported."""
        try:
            if entry.tree is None or entry.flags & FLAG_NO_CONTENT:
                raise Damaged("not in the snapshot: it could not be listed when it was backed up")
            if self._filling is None:
                return _Level(entry, len(path), iter(self._job.reader.entries(entry.tree)), included)
            directory = self._filling.directory(entry.tree)
            return _Level(entry, len(path), directory.entries(), included, directory=directory)
        except (Damaged, OSError) as error:
            self._job.failed(path, error)
            return _Level(entry, len(path), iter(()), included, whole=False)

    def _make_waiting(self) -> bool:
        """Makes the directories that lead here; False when one cannot be: it is left out with all in it."""
        first = len(self._levels)
        while first and self._levels[first - 1].waiting:
            first -= 1
        for index in range(first, len(self._levels)):
            level = self._levels[index]
            made = False
            try:
                made = self._make(self._levels[index - 1], level)
            except ITEM_ERRORS as error:
                self._job.failed(self._path[: level.length], error)
            if not made:
                self._cut(index)
                return False
        return True

    def _make(self, parent: _Level, level: _Level) -> bool:
        """Makes a directory, or enters the one that is there; False when something else has to stay there."""
        check_entry(level.entry)
        place = Place(self._fd(parent), level.entry.name, self._path[: level.length], parent.fresh)
        existing = place.lookup()
        level.waiting = False
        if existing is None or not stat.S_ISDIR(existing.st_mode):
            if existing is not None and not self._clear(place, level.entry, existing):
                return False
            level.absent = self._job.options.dry_run
            level.fresh = not level.absent
        if self._descent is not None and not level.absent:
            self._enter(self._descent, place, level)
        return True

    def _clear(self, place: Place, entry: Entry, existing: os.stat_result) -> bool:
        if self._job.options.overwrite == "never":
            self._job.summary.skipped += 1
            self._job.monitor.notice(
                f"left out with all in it, because something else has its name: {os.fsdecode(place.path)}"
            )
            return False
        if self._job.options.dry_run:
            foresee_way(self._job, place, entry, existing)
            return True
        make_way(self._job, place, existing)
        if self._job.options.overwrite != "keep":
            os.unlink(place.name, dir_fd=place.fd)
            self._job.summary.deleted += 1
        return True

    def _enter(self, descent: Descent, place: Place, level: _Level) -> None:
        if level.fresh:
            os.mkdir(place.name, 0o700, dir_fd=place.fd)
        if not self._job.options.dry_run:
            level.former_mode = unlock(place.fd, place.name)
        try:
            fd = descent.push(place.name)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise OSError(error.errno, "was replaced while it was being restored") from error
            raise
        if not self._job.options.dry_run:
            self._fill(fd, level, place.path, set() if level.fresh else remove_leftovers(fd))

    def _leave(self) -> None:
        level = self._levels[-1]
        if not level.waiting:
            self._complete(level)
        self._cut(len(self._levels) - 1)

    def _complete(self, level: _Level) -> None:
        descent = self._descent
        if level.absent or descent is None:
            self._job.summary.dirs += 1
            return
        inside = descent.depth > 0
        finish = partial(self._finish, level=level, path=self._path)
        if level.folder and self._filling and self._filling.leave(level.folder, finish):
            if inside:
                descent.pop()
            return
        if inside:
            # Before the directory gets its mode, which may shut the way back.
            descent.open_parent()
        try:
            finish(descent.fd)
        except ITEM_ERRORS as error:
            self._job.failed(self._path, error)
        finally:
            if inside:
                descent.pop()

    def _finish(self, fd: int, level: _Level, path: bytes) -> None:
        """Last things last: what is filled into a directory changes its times, and its mode may forbid it."""
        options = self._job.options
        if options.delete and level.whole and level.included and not level.fresh:
            self._delete_others(fd, level)
        mine = level.fresh or (level.included and options.overwrite != "never")
        self._job.summary.dirs += mine
        if options.dry_run:
            return
        if mine:
            apply_metadata(self._job, fd, level.entry, os.fstat(fd), path)
        elif level.former_mode is not None:
            os.fchmod(fd, level.former_mode)

    def _delete_others(self, fd: int, level: _Level) -> None:
        for name in sorted(os.fsencode(name) for name in os.listdir(fd)):
            if name in level.names or (self._job.options.overwrite == "keep" and is_kept_name(name)):
                continue
            path = self._inner(name)
            try:
                self._delete(Place(fd, name, path))
            except ITEM_ERRORS as error:
                self._job.failed(path, error)

    def _delete(self, place: Place) -> None:
        status = status_of(place.fd, place.name)
        if status is None or identity(status) in self._job.options.protected:
            return
        if self._excluded(place.path, stat.S_ISDIR(status.st_mode)):
            return
        if self._job.options.dry_run:
            self._job.summary.deleted += 1
            self._job.monitor.notice(f"would delete: {os.fsdecode(place.path)}")
        else:
            remove(self._job, place)
