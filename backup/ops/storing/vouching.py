"""Looking ahead of the walk, in a process of its own: which directories are as the parent has them.

It walks as the walk does, by the same code, but from the other end, and stores nothing. It vouches for a
directory where there is nothing to store, to tell or to count but what stays, in itself and in all below.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Never

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.ops.storing.batch import Wanted
from backup.ops.storing.choosing import Chooser
from backup.ops.storing.directories import Directories
from backup.ops.storing.entries import Entries
from backup.ops.storing.frame import Frame, Vouched, Waiting
from backup.ops.storing.listing import Listing
from backup.ops.storing.locked import Locks
from backup.ops.storing.monitor import Counts
from backup.ops.storing.moves import Moves
from backup.ops.storing.opening import Opener
from backup.ops.storing.parent import ParentDirectory
from backup.ops.storing.sources import Choice, Sources
from backup.ops.storing.unchanged import Comparison, Settings
from backup.snapshots.tree import ROOT_NAME, Buffer
from backup.source.descent import Descent, identity
from backup.source.mounts import FileSystems

#: A directory of more names is left to the walk: it would be in memory twice.
MAX_NAMES = 1 << 16

#: Is told of a directory's path, and how many of those told just before lie in it, each with all below.
Tell = Callable[[bytes, int, Vouched], None]


class _Changed(Exception):
    """There is something to store."""


@dataclass(slots=True, eq=False)
class _Visit:
    """A directory being looked at. `sound`: nothing speaks against it yet. What was counted before it."""

    frame: Frame
    sound: bool
    files: int
    dirs: int
    size: int
    vouched: int = 0


class Voucher:
    """One look over the sources. Used once."""

    def __init__(
        self, sources: Sources, read_tree: Callable[[ObjectId], Buffer], settings: Settings, tell: Tell
    ) -> None:
        """`settings` are those of the walk; neither do they read all nor distrust what is stored."""
        self._sources = sources
        self._skip = settings.skip
        self._tell = tell
        self._counts = Counts()
        self._heard = heard = _Heard()
        systems = FileSystems()
        comparison = Comparison(settings, _unknown, systems)
        self._chooser = Chooser(
            settings.rules, settings.same_rules, comparison, systems, heard.problem, heard.notice
        )
        self._directories = Directories(heard, read_tree, comparison, self._counts, heard)
        moves = Moves(settings, comparison, _unknown, read_tree)
        self._entries = Entries(
            heard, self._directories, comparison, moves, self._counts, heard, hidden=lambda path: False
        )
        self._entries.volumes.top = sources.top
        self._opener = Opener(
            sources.paths,
            read_tree,
            self._chooser,
            self._entries.volumes,
            Locks(settings.locked),
            heard.damaged,
            accept_unmounted=settings.accept_unmounted,
        )

    def run(self, parent_root: ObjectId) -> None:
        """Raises OSError where the look is over early: what was told holds all the same."""
        top = self._sources.top
        parent = self._opener.parent(parent_root, top, root=True)
        if parent is None:
            return
        fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with Descent(fd) as descent:
            at = Waiting(ROOT_NAME, os.fstat(fd), 0, parent.seek(ROOT_NAME))
            stack = [self._enter(fd, top, at, None, parent, self._sources.choice)]
            while stack:
                visit = stack[-1]
                if visit.frame.waiting:
                    # The last one first.
                    below = self._descend(descent, visit, visit.frame.waiting.pop())
                    if below is not None:
                        stack.append(below)
                elif len(stack) > 1:
                    self._leave(stack.pop(), stack[-1])
                    descent.pop()
                else:
                    stack.pop()

    def _descend(self, descent: Descent, up: _Visit, below: Waiting) -> _Visit | None:
        frame = up.frame
        path = frame.path_of(below.name)
        if not self._known(frame, below) or self._chooser.bars(
            path, below.status.st_dev, frame.here, frame.status.st_dev
        ):
            up.sound = False
            return None
        choice = None if frame.choice is None else frame.choice[below.name]
        depth = descent.depth
        try:
            fd = descent.push(below.name)
            return self._enter(fd, path, below, frame, frame.parent, choice)
        except OSError:
            if descent.depth > depth:
                descent.pop()
            up.sound = False
            return None

    def _known(self, frame: Frame, below: Waiting) -> bool:
        """Whether the parent has it, and it is to be entered."""
        if frame.parent is None or below.position < 0 or identity(below.status) in self._skip:
            return False
        return frame.parent.subtree(below.position) is not None

    def _enter(
        self,
        fd: int,
        path: bytes,
        at: Waiting,
        up: Frame | None,
        above: ParentDirectory | None,
        choice: Choice | None,
    ) -> _Visit:
        self._heard.something = False
        before = self._counts.files, self._counts.dirs, self._counts.bytes
        frame, listing = self._opener.enter(fd, path, at, up, above, choice)
        self._find(fd, frame, listing)
        whole = all(isinstance(row, int) or row is None for row in frame.rows)
        return _Visit(frame, whole and not self._heard.something, *before)

    def _find(self, fd: int, frame: Frame, listing: Listing) -> None:
        if frame.parent is None or len(listing.names) > MAX_NAMES:
            self._heard.something = True
        else:
            self._entries.find_all(fd, frame, listing, self._heard, lambda frame: None)

    def _leave(self, visit: _Visit, up: _Visit) -> None:
        vouched = self._vouch(visit)
        # The walk itself has to see each mount point, and in its own order: volumes are numbered by it.
        if vouched is None or visit.frame.status.st_dev != up.frame.status.st_dev:
            up.sound = False
            return
        up.vouched += 1
        up.frame.rows[visit.frame.slot] = visit.frame.position
        self._tell(visit.frame.path, visit.vouched, vouched)

    def _vouch(self, visit: _Visit) -> Vouched | None:
        if not visit.sound:
            return None
        self._heard.something = False
        try:
            row = self._directories.row_of(visit.frame)
        except _Changed:
            return None
        if not isinstance(row, int) or self._heard.something:
            return None
        return Vouched(
            self._counts.files - visit.files,
            self._counts.dirs - visit.dirs,
            self._counts.bytes - visit.size,
        )


class _Heard:
    """Stands where the walk has monitor, store and readers: `something` was told, or was to be read."""

    something = False

    def entries(self, files: int, size: int) -> None: ...

    def read(self, size: int) -> None: ...

    def directory(self, path: bytes) -> None: ...

    def notice(self, text: str) -> None:
        self.something = True

    def problem(self, path: bytes, text: str) -> None:
        self.something = True

    def damaged(self, path: bytes, error: Damaged) -> None:
        self.something = True

    def add(self, dir_fd: int, wanted: Wanted, status: os.stat_result) -> None:
        self.something = True

    def store_tree(self, data: bytes) -> Never:
        raise _Changed


def _unknown(object_id: ObjectId) -> bool:
    """Nothing that is stored is asked about here."""
    return False
