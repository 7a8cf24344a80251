"""A walk through many snapshots at once: each distinct tree is read once at a path, not once a snapshot.

Which snapshots have a thing is a set of bits in an int: bit N is the Nth snapshot.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.ops.diffing.gather import join
from backup.snapshots.difference import Read, Spot
from backup.snapshots.directory import Directory
from backup.snapshots.manifest import Snapshot
from backup.snapshots.tree import STAT, Page

#: Whether a name is wanted: the source's directory that is shown, the path in it, the name.
Wanted = Callable[[bytes, bytes, bytes], bool]
#: Of a directory: its distinct trees, each with the snapshots that have it.
_Trees = dict[ObjectId, int]


class Found(NamedTuple):
    """One version of one path: `top` is the source's directory that is shown, `path` leads on from it."""

    top: bytes
    path: bytes
    spot: Spot
    snapshots: int


def walk(
    snapshots: Sequence[Snapshot], wanted: Wanted, read: Read, problem: Callable[[bytes, str], None]
) -> Iterator[list[Found]]:
    """The distinct versions of each wanted path, one list a path; oldest first, as `snapshots` are.

    Snapshots with different tops are walked apart. A damaged directory is told to `problem`, with its path
    at the source, and left out.
    """
    tops: dict[bytes, _Trees] = {}
    for number, snapshot in enumerate(snapshots):
        trees = tops.setdefault(snapshot.top, {})
        try:
            page, position = Directory(snapshot.root, read, root=True).at(0)
            tree = page.ref(position)[0]
            trees[tree] = trees.get(tree, 0) | 1 << number
        except Damaged as error:
            problem(snapshot.top, f"in snapshot {snapshot.id[:12]}: {error}")
    for top in sorted(tops):
        yield from _Walk(top, wanted, read, problem).run(tops[top])


class _Walk:
    def __init__(self, top: bytes, wanted: Wanted, read: Read, problem: Callable[[bytes, str], None]) -> None:
        self._top = top
        self._wanted = wanted
        self._read = read
        self._problem = problem

    def run(self, trees: _Trees) -> Iterator[list[Found]]:
        waiting = [(b"", trees)]
        while waiting:
            path, trees = waiting.pop()
            below: dict[bytes, _Trees] = {}
            found: dict[bytes, dict[tuple[object, ...], Found]] = {}
            for tree, snapshots in trees.items():
                try:
                    for page in Directory(tree, self._read).pages():
                        self._take(path, page, snapshots, below, found)
                except Damaged as error:
                    self._problem(join(self._top, path), str(error))
            for name in sorted(found):
                yield sorted(found[name].values(), key=_oldest)
            waiting += [(join(path, name), below[name]) for name in sorted(below, reverse=True)]

    def _take(
        self,
        path: bytes,
        page: Page,
        snapshots: int,
        below: dict[bytes, _Trees],
        found: dict[bytes, dict[tuple[object, ...], Found]],
    ) -> None:
        # The second byte of a mode has the kind.
        kinds = bytes(page.stats[1 :: STAT.size])
        for position, name in enumerate(page.names):
            if kinds[position] & 0xF0 == 0x40:
                tree = page.ref(position)[0]
                trees = below.setdefault(name, {})
                trees[tree] = trees.get(tree, 0) | snapshots
            if self._wanted(self._top, path, name):
                spot = (page, position)
                versions = found.setdefault(name, {})
                identity = identity_at(spot)
                known = versions.get(identity)
                here = Found(self._top, join(path, name), spot, snapshots)
                versions[identity] = (
                    here if known is None else known._replace(snapshots=known.snapshots | snapshots)
                )


def identity_at(spot: Spot) -> tuple[object, ...]:
    """The same for versions with the same content, mode, owner, mtime and attributes.

    What a directory holds does not count: its mtime tells when that last changed.
    """
    page, position = spot
    record = page.stat(position)
    is_directory = record[1] & 0xF0 == 0x40
    # mode, owner; size and mtime; not the count of links, ctime or the inode
    return (
        bytes(record[:12]),
        b"" if is_directory else bytes(record[16:24]),
        bytes(record[24:32]),
        bytes(record[40:44]),
        b"" if is_directory else page.ref(position)[0],
        bytes(page.extra(position)),
    )


def _oldest(found: Found) -> int:
    """The number of the first snapshot that has it."""
    return (found.snapshots & -found.snapshots).bit_length() - 1


def numbers(snapshots: int) -> Iterator[int]:
    """The numbers of the snapshots in a set, in order."""
    while snapshots:
        lowest = snapshots & -snapshots
        yield lowest.bit_length() - 1
        snapshots ^= lowest
