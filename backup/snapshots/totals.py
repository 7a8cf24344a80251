"""How much a directory of a snapshot holds, with all below it."""

import stat
from typing import NamedTuple

from backup.model.ids import ObjectId
from backup.snapshots.directory import Directory, Read
from backup.snapshots.tree import REF, STAT


class Total(NamedTuple):
    """`files` are all names but directories, `size` is that of regular files; `dirs` includes the top."""

    files: int
    size: int
    dirs: int


class Totals:
    """Looks at each distinct tree once, whoever asks."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[ObjectId, Total] = {}

    def of(self, tree: ObjectId) -> Total:
        """Raises `Damaged`."""
        waiting = [tree]
        own: dict[ObjectId, tuple[int, int, list[ObjectId]]] = {}
        while waiting:
            name = waiting[-1]
            if name in self._known:
                waiting.pop()
            elif name not in own:
                own[name] = self._own(name)
                waiting += own[name][2]
            else:
                files, size, below = own.pop(name)
                totals = [self._known[child] for child in below]
                self._known[name] = Total(
                    files + sum(total.files for total in totals),
                    size + sum(total.size for total in totals),
                    1 + sum(total.dirs for total in totals),
                )
        return self._known[tree]

    def _own(self, tree: ObjectId) -> tuple[int, int, list[ObjectId]]:
        """Files, their size, and the trees of the subdirectories."""
        files = total = 0
        below = []
        for page in Directory(tree, self._read).pages():
            columns = zip(STAT.iter_unpack(page.stats), REF.iter_unpack(page.refs), strict=True)
            for (mode, _, _, _, size, *_), ref in columns:
                if stat.S_ISDIR(mode):
                    below.append(ObjectId(ref[0]))
                else:
                    files += 1
                    total += size if stat.S_ISREG(mode) else 0
        return files, total, below
