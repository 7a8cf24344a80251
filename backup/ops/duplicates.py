"""Files of equal content in one snapshot: stored once, but several times in the source."""

import stat
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.ops.diffing.gather import join
from backup.snapshots.difference import Read, Spot, content_at, kind_at, tree_at
from backup.snapshots.directory import Directory, decode_entry
from backup.snapshots.tree import STAT

#: Content is first counted in so many buckets, to keep in memory only what may be there twice.
BUCKETS = 1 << 22


@dataclass(slots=True)
class Group:
    """Files of equal content. `wasted`: the bytes that all but one of them take in the source.

    Names of one hard-linked file are all in `paths`, and count once.
    """

    size: int
    hash: ObjectId | None
    paths: list[bytes] = field(default_factory=list)
    inodes: set[tuple[int, int]] = field(default_factory=set)

    @property
    def wasted(self) -> int:
        return (len(self.inodes) - 1) * self.size


def duplicates(
    root: Spot, path: bytes, smallest: int, read: Read, problem: Callable[[bytes, str], None]
) -> list[Group]:
    """The groups below a directory that waste most first; of files of at least `smallest` bytes (1 or more).

    Memory goes to what is there twice, and 4 MiB. What cannot be read is told to `problem`.
    """
    seen = bytearray(BUCKETS)
    for _, content, _ in _files(root, path, smallest, read, problem):
        bucket = hash(content) % BUCKETS
        seen[bucket] = min(2, seen[bucket] + 1)
    groups: dict[Hashable, Group] = {}
    for here, content, spot in _files(root, path, smallest, read, lambda path, text: None):
        if seen[hash(content) % BUCKETS] > 1:
            record = STAT.unpack(spot[0].stat(spot[1]))
            group = groups.get(content)
            if group is None:
                group = groups[content] = Group(record[4], decode_entry(*spot, None).hash)
            group.paths.append(here)
            group.inodes.add((spot[0].ref(spot[1])[3], record[9]))
    found = [group for group in groups.values() if len(group.inodes) > 1]
    for group in found:
        group.paths.sort()
    return sorted(found, key=lambda group: (-group.wasted, group.paths))


def _files(
    root: Spot, path: bytes, smallest: int, read: Read, problem: Callable[[bytes, str], None]
) -> Iterator[tuple[bytes, Hashable, Spot]]:
    """Path, content and place of each regular file below."""
    tree = tree_at(root)
    waiting = [] if tree is None else [(path, tree)]
    while waiting:
        path, tree = waiting.pop()
        try:
            for page in Directory(tree, read).pages():
                for position, name in enumerate(page.names):
                    spot = (page, position)
                    if (below := tree_at(spot)) is not None:
                        waiting.append((join(path, name), below))
                    elif kind_at(spot) == stat.S_IFREG and STAT.unpack(page.stat(position))[4] >= smallest:
                        yield join(path, name), content_at(spot), spot
        except Damaged as error:
            problem(path, str(error))
