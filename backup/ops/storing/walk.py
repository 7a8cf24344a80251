"""The walk over the live tree, compared record by record with the parent's trees.

Depth first and without recursion. A directory's files come before those of its subdirectories, so that
what is read together lies together; its tree is made when all below is done. The walk itself does
not wait for files to be read, but for memory.
"""

import os
from collections.abc import Callable
from typing import Protocol

from backup.model.entry import FLAG_CARRIED
from backup.model.errors import Damaged, ImbfsError
from backup.model.ids import ObjectId
from backup.ops.storing.batch import Batch, Gatherer, Wanted
from backup.ops.storing.choosing import Chooser
from backup.ops.storing.directories import Directories, TreeStore
from backup.ops.storing.entries import Entries
from backup.ops.storing.frame import Frame, Waiting
from backup.ops.storing.intake import Intake, ObjectWriter
from backup.ops.storing.locked import Locked, Locks
from backup.ops.storing.lookahead import Lookahead
from backup.ops.storing.monitor import Counts, Monitor
from backup.ops.storing.mounted import NotMounted
from backup.ops.storing.moves import Moves
from backup.ops.storing.opening import Opener
from backup.ops.storing.parent import ParentDirectory
from backup.ops.storing.sources import Sources
from backup.ops.storing.unchanged import Comparison, Settings
from backup.snapshots.tree import ROOT_NAME, Buffer, encode_stat
from backup.source.descent import Descent, identity, open_directory
from backup.source.mounts import FileSystems

#: Rows and directories that wait for files to be read: with more, the walk waits, too. More than a
#: batch may be old.
MAX_HELD = 1 << 16


class Writer(TreeStore, ObjectWriter, Protocol):
    """What a backup needs of the repository to store objects in it."""

    def has(self, object_id: ObjectId) -> bool: ...

    def distrust_trees(self) -> None: ...


class Reading(Protocol):
    """Who reads files. Closed in the end; `Readers` says what each of these does."""

    def submit(self, batch: Batch) -> None: ...

    @property
    def busy(self) -> bool: ...

    def poll(self) -> None: ...

    def wait(self) -> None: ...

    def finish(self) -> None: ...

    def settle(self) -> None: ...

    def close(self) -> None: ...


class Walk:
    """One backup's walk. Used once, then closed."""

    def __init__(
        self,
        writer: Writer,
        read_tree: Callable[[ObjectId], Buffer],
        settings: Settings,
        monitor: Monitor,
        reading: Callable[[Intake], Reading],
        look_ahead: Callable[[Sources, ObjectId], Lookahead | None] = lambda sources, root: None,
    ) -> None:
        """`look_ahead` is given the sources and the parent's root when the walk begins."""
        self.counts = Counts()
        self._writer = writer
        self._read_tree = read_tree
        self._settings = settings
        self._monitor = monitor
        systems = FileSystems()
        comparison = Comparison(settings, writer.has, systems)
        self._chooser = Chooser(
            settings.rules, settings.same_rules, comparison, systems, self._problem, monitor.notice
        )
        self._directories = Directories(writer, read_tree, comparison, self.counts, monitor)
        self._moves = Moves(settings, comparison, writer.has, read_tree)
        self._entries = Entries(
            writer,
            self._directories,
            comparison,
            self._moves,
            self.counts,
            monitor,
            self._chooser.hidden,
        )
        self._readers = reading(Intake(writer, self._entries))
        self._files = Gatherer(self._submit)
        self._locks = Locks(settings.locked)
        self._look_ahead = look_ahead
        self._lookahead: Lookahead | None = None

    def run(self, sources: Sources, parent_root: ObjectId | None) -> ObjectId:
        """Stores the sources and returns the tree of the snapshot's root; `parent_root` is the parent's.

        Raises OSError where the top directory cannot be read.
        """
        self._entries.volumes.top = sources.top
        self._opener = Opener(
            sources.paths,
            self._read_tree,
            self._chooser,
            self._entries.volumes,
            self._locks,
            self._damaged,
            accept_unmounted=self._settings.accept_unmounted,
        )
        parent = self._opener.parent(parent_root, sources.top, root=True)
        fd = os.open(sources.top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if self._locks.cover(sources.top):
            os.close(fd)
            return self._carry_all(parent, sources.top, Locked())
        if parent_root is not None:
            self._lookahead = self._look_ahead(sources, parent_root)
        self._moves.parent = None if parent is None else parent.tree
        with Descent(fd) as descent:
            position = -1 if parent is None else parent.seek(ROOT_NAME)
            top = Waiting(ROOT_NAME, os.fstat(fd), 0, position)
            self._monitor.directory(sources.top)
            try:
                root, listing = self._opener.enter(fd, sources.top, top, None, parent, sources.choice)
            except NotMounted as error:
                return self._carry_all(parent, sources.top, error)
            self._entries.find_all(fd, root, listing, self._files, self._directories.pass_slots)
            root.waiting.reverse()
            self._walk(descent, root)
            self._catch_up(descent, 0)
        self._readers.finish()
        self._entries.tell()
        self._tell_pseudo()
        self._tell_unsealed()
        assert self._directories.row is not None
        row = self._directories.row
        if isinstance(row, int):
            assert parent is not None, "only a parent's entry can be unchanged"
            row = parent.row(row)
        return self._directories.write([row])

    def _carry_all(self, parent: ParentDirectory | None, top: bytes, error: OSError) -> ObjectId:
        """The whole source is not there, or not to be looked at: the last backup's stands for it."""
        if parent is None:
            raise ImbfsError(
                f"{os.fsdecode(top)} is {error.strerror}, and no backup has it: nothing was backed up"
            )
        self._problem(top, f"{error.strerror}: kept as the last backup has it")
        row = parent.row(parent.find(ROOT_NAME))
        return self._directories.write([row._replace(flags=row.flags | FLAG_CARRIED)])

    def _tell_pseudo(self) -> None:
        if self._chooser.pseudo:
            shown = ", ".join(os.fsdecode(path) for path in self._chooser.pseudo)
            self._monitor.notice(f"not entered, because the system makes up what is shown there: {shown}")

    def _tell_unsealed(self) -> None:
        if number := self._entries.unsealed:
            files = "1 file" if number == 1 else f"{number:,} files"
            self._monitor.notice(
                f"the hash of {files} cannot be kept there: not writable, or without attributes"
            )

    def settle(self) -> None:
        """Stores what would be lost otherwise: for a backup that stops."""
        self._readers.settle()

    def close(self) -> None:
        if self._lookahead is not None:
            self._lookahead.close()
        self._readers.close()
        self._files.close()

    def _walk(self, descent: Descent, root: Frame) -> None:
        stack = [root]
        while stack:
            frame = stack[-1]
            if frame.waiting:
                below = self._descend(descent, frame, frame.waiting.pop())
                if below is not None:
                    stack.append(below)
                continue
            stack.pop()
            self._directories.leave(frame)
            if stack:
                descent.pop()
            self._files.passed(1 + len(frame.rows))
            self._readers.poll()
            self._catch_up(descent, MAX_HELD)

    def _problem(self, path: bytes, text: str) -> None:
        self.counts.errors += 1
        self._monitor.problem(path, text)

    def _damaged(self, path: bytes, error: Damaged) -> None:
        self._writer.distrust_trees()
        self._monitor.notice(
            f"{os.fsdecode(path)} is read anew, because the last backup's tree of it is damaged: {error}"
        )

    # Files to be read

    def _submit(self, batch: Batch) -> None:
        self._readers.submit(batch)
        self._directories.make()

    def _catch_up(self, descent: Descent, limit: int) -> None:
        """Waits until no more than `limit` rows wait for files."""
        self._directories.make()
        while self._directories.held > limit:
            while self._entries.again:
                self._read_again(descent, self._entries.again.popleft())
            if self._readers.busy:
                self._readers.wait()
            else:
                self._files.flush()
            self._directories.make()

    def _read_again(self, descent: Descent, wanted: Wanted) -> None:
        """The walk has gone on meanwhile: the way there is opened anew."""
        fd = os.dup(descent.root_fd)
        try:
            for name in _way_to(wanted.frame):
                above, fd = fd, open_directory(fd, name)
                os.close(above)
            status = os.stat(wanted.name, dir_fd=fd, follow_symlinks=False)
            self._files.add(fd, wanted, status)
        except OSError as error:
            self._entries.take(wanted, (error.errno or 0, error.strerror or str(error)))
        finally:
            os.close(fd)

    # Directories

    def _descend(self, descent: Descent, frame: Frame, below: Waiting) -> Frame | None:
        path = frame.path_of(below.name)
        choice = None if frame.choice is None else frame.choice[below.name]
        if identity(below.status) in self._settings.skip:
            self._monitor.notice(
                f"{os.fsdecode(path)} is left out: it is the repository itself, or its cache"
            )
            return None
        if self._chooser.bars(path, below.status.st_dev, frame.here, frame.status.st_dev):
            self._entries.take_empty(frame, below)
            return None
        if self._take_vouched(frame, below, path):
            return None
        try:
            fd = descent.push(below.name)
        except OSError as error:
            self._entries.carry(frame, below.name, below.slot, below.position, error, below.status)
            return None
        self._monitor.directory(path)
        try:
            entered, listing = self._opener.enter(fd, path, below, frame, frame.parent, choice)
        except OSError as error:
            descent.pop()
            self._entries.carry(frame, below.name, below.slot, below.position, error, below.status)
            return None
        self._entries.find_all(fd, entered, listing, self._files, self._directories.pass_slots)
        entered.waiting.reverse()
        self._entries.tell()
        return entered

    def _take_vouched(self, frame: Frame, below: Waiting, path: bytes) -> bool:
        """Whether all below was looked at ahead, and is as the parent has it."""
        if self._lookahead is None or (vouched := self._lookahead.take(path)) is None:
            return False
        # It has been looked at since: what has changed in between is seen where it lies on the way.
        assert frame.parent is not None, "what is vouched for has a place in the parent"
        if not frame.parent.same(below.position, encode_stat(below.status)):
            return False
        self._entries.take_vouched(frame, below, vouched)
        # As if the walk had left each directory: what is read together must not depend on who looked.
        self._files.passed(vouched.files + 2 * vouched.dirs - 1)
        self._entries.tell()
        return True


def _way_to(frame: Frame) -> list[bytes]:
    """The names of the directories that lead there from the top."""
    names = []
    while frame.up is not None:
        names.append(frame.name)
        frame = frame.up
    return names[::-1]
