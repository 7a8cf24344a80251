"""Whether a file in a mirror is one that the repository holds: then it may be replaced or removed."""

import os
import stat
from collections.abc import Iterable

from backup.model.entry import Entry
from backup.model.errors import Damaged, NotFound
from backup.model.ids import ObjectId
from backup.snapshots.difference import Read, tree_at
from backup.snapshots.directory import Directory, decode_entry
from backup.snapshots.manifest import Snapshot
from backup.snapshots.paths import find_spot, relative_parts
from backup.snapshots.tree import NS

#: File systems that keep whole seconds may round down by up to two.
_COARSE_NS = 2 * NS


def looks_like(entry: Entry, status: os.stat_result, target: bytes) -> bool:
    """Whether what is there has the entry's kind, size and mtime; `target` is that of a symlink."""
    if stat.S_IFMT(entry.mode) != stat.S_IFMT(status.st_mode):
        return False
    if stat.S_ISLNK(entry.mode):
        return entry.target == target
    if not stat.S_ISREG(entry.mode):
        return entry.rdev == status.st_rdev
    late = entry.mtime_ns - status.st_mtime_ns
    coarse = status.st_mtime_ns % NS == 0 and 0 <= late < _COARSE_NS
    return entry.size == status.st_size and (late == 0 or coarse)


class Held:
    """What the snapshots have at each path, in any version. Reads directories only where it is asked."""

    def __init__(self, snapshots: Iterable[Snapshot], top: bytes, read: Read) -> None:
        """Paths are relative to `top`, a directory at the source."""
        self._read = read
        trees = [_tree_at(snapshot, top, read) for snapshot in snapshots]
        self._trees: dict[bytes, list[ObjectId]] = {b"": list(dict.fromkeys(filter(None, trees)))}

    def has(self, path: bytes, status: os.stat_result, target: bytes) -> bool:
        """Whether some snapshot has, at this path, what looks like this. Damage there counts as no."""
        above, _, name = path.rpartition(b"/")
        return any(looks_like(entry, status, target) for entry in self._entries(above, name))

    def _entries(self, path: bytes, name: bytes) -> Iterable[Entry]:
        for tree in self._below(path):
            try:
                directory = Directory(tree, self._read)
                position = directory.find(name)
                if position >= 0:
                    page, local = directory.at(position)
                    yield decode_entry(page, local, None)
            except Damaged:
                continue

    def _below(self, path: bytes) -> list[ObjectId]:
        """The distinct trees of a directory, over all snapshots."""
        known = path
        while known not in self._trees:
            known = known.rpartition(b"/")[0]
        for name in [part for part in path[len(known) :].split(b"/") if part]:
            above, known = known, known + b"/" + name if known else name
            trees = [entry.tree for entry in self._entries(above, name) if entry.tree is not None]
            self._trees[known] = list(dict.fromkeys(trees))
        return self._trees[path]


def _tree_at(snapshot: Snapshot, path: bytes, read: Read) -> ObjectId | None:
    try:
        return tree_at(find_spot(snapshot.root, relative_parts(snapshot, path), read))
    except (NotFound, Damaged):
        return None
