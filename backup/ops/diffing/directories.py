"""Which directories moved as a whole: all that each held went along, under the same names."""

import stat

from backup.ops.diffing.gather import Gathered, join
from backup.ops.diffing.renames import Renames
from backup.snapshots.difference import Read, Spot, kind_at, tree_at
from backup.snapshots.directory import Directory
from backup.snapshots.tree import STAT


def find_directories(found: Gathered, renames: Renames, read: Read) -> Renames:
    """New path → old path of directories; `renames` are those of all else."""
    return _Matching(found, renames, read).run()


class _Matching:
    def __init__(self, found: Gathered, renames: Renames, read: Read) -> None:
        self._found = found
        self._read = read
        self._departures = _movable(found, 0)
        self._arrivals = _movable(found, 1)
        self._by_inode = {_inode(spot): path for path, spot in self._arrivals.items()}
        #: Where what went is now.
        self._targets = {origin: path for path, origin in (renames | found.moved).items()}
        self._pairs: Renames = dict(found.moved)

    def run(self) -> Renames:
        # Each after all below it.
        for old in sorted(self._departures, reverse=True):
            if old not in self._targets and (new := self._target(old)) is not None:
                self._match(old, new)
        self._drop_leftovers()
        return self._pairs

    def _match(self, old: bytes, new: bytes) -> None:
        self._pairs[new] = old
        self._targets[old] = new

    def _free(self, old: bytes, new: bytes) -> bool:
        return new != old and new in self._arrivals and new not in self._pairs

    def _target(self, old: bytes) -> bytes | None:
        """Where all that the directory held is now, under the same names; None where that is no one place."""
        names = self._names(self._departures[old])
        if not names:
            return self._empty_target(old)
        targets = {name: self._targets.get(join(old, name)) for name in names}
        places = {above_of(target) for target in targets.values() if target is not None}
        if len(places) != 1 or not self._free(old, new := places.pop()):
            return None
        for name, target in targets.items():
            if target is None and self._both_empty(join(old, name), join(new, name)):
                self._match(join(old, name), join(new, name))
            elif target != join(new, name):
                return None
        return new

    def _names(self, spot: Spot) -> list[bytes]:
        tree = tree_at(spot)
        assert tree is not None
        return [name for page in Directory(tree, self._read).pages() for name in page.names]

    def _empty_target(self, old: bytes) -> bytes | None:
        new = self._by_inode.get(_inode(self._departures[old]))
        return new if new is not None and self._both_empty(old, new) else None

    def _both_empty(self, old: bytes, new: bytes) -> bool:
        return (
            old in self._departures
            and self._free(old, new)
            and not self._names(self._departures[old])
            and not self._names(self._arrivals[new])
        )

    def _drop_leftovers(self) -> None:
        """A directory that stands in both trees moved only where another took its place, as in a swap."""
        standing = self._found.standing
        wrong = True
        while wrong:
            olds = set(self._pairs.values())
            wrong = False
            for new, old in list(self._pairs.items()):
                if (old in standing and old not in self._pairs) or (new in standing and new not in olds):
                    del self._pairs[new]
                    wrong = True


def _movable(found: Gathered, side: int) -> dict[bytes, Spot]:
    """Directories that went (0) or came (1), or whose place another inode took."""
    spots = (found.gone, found.come)[side]
    directories = {path: spot for path, spot in spots.items() if kind_at(spot) == stat.S_IFDIR}
    for path, pair in found.standing.items():
        if path and _inode(pair[0]) != _inode(pair[1]):
            directories[path] = pair[side]
    return directories


def _inode(spot: Spot) -> tuple[int, int]:
    page, position = spot
    return page.ref(position)[3], STAT.unpack(page.stat(position))[9]


def above_of(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]
