"""A snapshot's trees without some of their names. No data is read, and no tree is made that need not be."""

import stat
from collections.abc import Callable
from typing import NamedTuple

from backup.model.ids import ObjectId
from backup.snapshots.directory import Directory, Read
from backup.snapshots.tree import REF, STAT, Row
from backup.snapshots.tree_writer import Store, write_tree

#: Whether a name is to fall out, which may be a directory's.
FallsOut = Callable[[bytes, bool], bool]
#: The same for the names of each directory, given its path below the top.
Choose = Callable[[bytes], FallsOut]


class Filtered(NamedTuple):
    """What is left of a directory and all below it.

    `files` are all names but directories, `size` is that of regular files in bytes, `dirs` includes the
    directory itself. `excluded` are the paths that fell out, without those below them.
    """

    tree: ObjectId
    files: int
    size: int
    dirs: int
    excluded: tuple[bytes, ...]


class _Frame:
    """A directory of which what lies below is being filtered."""

    def __init__(self, path: bytes, tree: ObjectId) -> None:
        self.path = path
        self.tree = tree
        self.files = 0
        self.size = 0
        self.dirs = 1
        self.excluded: list[bytes] = []
        self.dropped: set[bytes] = set()
        #: Subdirectories still to be filtered: name and tree.
        self.waiting: list[tuple[bytes, ObjectId]] = []
        #: Trees of subdirectories that are not what they were, by name.
        self.changed: dict[bytes, ObjectId] = {}

    def take(self, name: bytes, before: ObjectId, below: Filtered) -> None:
        self.files += below.files
        self.size += below.size
        self.dirs += below.dirs
        self.excluded += below.excluded
        if below.tree != before:
            self.changed[name] = below.tree

    def path_of(self, name: bytes) -> bytes:
        return self.path + b"/" + name if self.path else name


class TreeFilter:
    """Filters the trees of several snapshots: a tree that several have at one path is looked at once."""

    def __init__(self, choose: Choose, read: Read) -> None:
        self._choose = choose
        self._read = read
        self._known: dict[tuple[bytes, ObjectId], Filtered] = {}

    def run(self, tree: ObjectId, store: Store) -> Filtered:
        """The tree of a snapshot's top directory, filtered. Raises `Damaged`.

        `store` is given every tree that has to be made, and later runs rely on them.
        """
        stack = [self._enter(b"", tree)]
        while True:
            frame = stack[-1]
            if frame.waiting:
                name, child = frame.waiting[-1]
                path = frame.path_of(name)
                known = self._known.get((path, child))
                if known is None:
                    stack.append(self._enter(path, child))
                else:
                    frame.waiting.pop()
                    frame.take(name, child, known)
                continue
            self._known[frame.path, frame.tree] = done = self._leave(frame, store)
            stack.pop()
            if not stack:
                return done

    def _enter(self, path: bytes, tree: ObjectId) -> _Frame:
        frame = _Frame(path, tree)
        falls_out = self._choose(path)
        for page in Directory(tree, self._read).pages():
            columns = zip(page.names, STAT.iter_unpack(page.stats), REF.iter_unpack(page.refs), strict=True)
            for name, (mode, _, _, _, size, *_), (below, *_) in columns:
                is_dir = stat.S_ISDIR(mode)
                if falls_out(name, is_dir):
                    frame.dropped.add(name)
                    frame.excluded.append(frame.path_of(name))
                elif is_dir:
                    frame.waiting.append((name, ObjectId(below)))
                else:
                    frame.files += 1
                    frame.size += size if stat.S_ISREG(mode) else 0
        return frame

    def _leave(self, frame: _Frame, store: Store) -> Filtered:
        tree = frame.tree
        if frame.dropped or frame.changed:
            tree = self._write(frame, store)
        return Filtered(tree, frame.files, frame.size, frame.dirs, tuple(frame.excluded))

    def _write(self, frame: _Frame, store: Store) -> ObjectId:
        rows: list[Row] = []
        users: dict[int, str] = {}
        groups: dict[int, str] = {}
        for page in Directory(frame.tree, self._read).pages():
            users |= page.owner_names[0]
            groups |= page.owner_names[1]
            for position, name in enumerate(page.names):
                if name not in frame.dropped:
                    row = page.row(position)
                    rows.append(row._replace(object=frame.changed.get(name, row.object)))
        return write_tree(rows, store, lambda number: users.get(number, ""), lambda n: groups.get(n, ""))


def filter_root(root: ObjectId, trees: TreeFilter, read: Read, store: Store) -> tuple[ObjectId, Filtered]:
    """A snapshot's root page without what falls out, and what is left. Raises `Damaged`."""
    page = Directory(root, read, root=True).page(0)
    row = page.row(0)
    found = trees.run(row.object, store)
    if found.tree == row.object:
        return root, found
    users, groups = page.owner_names
    new = row._replace(object=found.tree)
    return write_tree([new], store, lambda n: users.get(n, ""), lambda n: groups.get(n, "")), found
