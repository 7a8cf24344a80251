"""What differs between two trees. Costs what differs: equal subtrees are never opened.

Compared is what a restore would put back. A record may differ where nothing of that does (ctime,
inode number, count of links): that is no change.
"""

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Literal

from backup.model.entry import FLAG_NO_CONTENT
from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.snapshots.directory import Directory
from backup.snapshots.tree import EXTRA_XATTRS, STAT, Buffer, Page, extra_fields

Read = Callable[[ObjectId], Buffer]
#: A page, and a position in it.
Spot = tuple[Page, int]
Metadata = Literal["mode", "owner", "mtime", "device", "xattrs"]


class Difference(IntFlag):
    """What is different about a name."""

    NONE = 0
    ADDED = 1
    REMOVED = 2
    CONTENT = 4
    METADATA = 8
    #: What is below cannot be told: one of the two listings is damaged.
    DAMAGED = 16


@dataclass(slots=True)
class Change:
    """One name of either tree: what differs about itself, and below it where both are directories.

    `before` and `after` are its spots. A name whose kind changed is CONTENT; where one of the two
    kinds is a directory, `before_tree` and `after_tree` tell.
    """

    difference: Difference
    before: Spot | None
    after: Spot | None
    below: "dict[bytes, Change]" = field(default_factory=dict)
    #: Why what is below is not known.
    damage: Damaged | None = None

    @property
    def before_tree(self) -> ObjectId | None:
        return tree_at(self.before)

    @property
    def after_tree(self) -> ObjectId | None:
        return tree_at(self.after)

    @property
    def replaced(self) -> bool:
        """Whether the name is of another kind than before: the old has to go before the new can come."""
        if self.before is None or self.after is None:
            return False
        return kind_at(self.before) != kind_at(self.after)


def tree_at(spot: Spot | None) -> ObjectId | None:
    """The tree of a directory's entry; None for all else."""
    if spot is None or kind_at(spot) != stat.S_IFDIR:
        return None
    return spot[0].ref(spot[1])[0]


def kind_at(spot: Spot) -> int:
    """The kind, as the mode has it (`stat.S_IFREG` and its like)."""
    page, position = spot
    return stat.S_IFMT(int.from_bytes(page.stat(position)[:4], "little"))


def compare(before: Spot, after: Spot, read: Read, *, around_damage: bool = False) -> Change:
    """What differs from one directory's entry to another's, names below them included.

    Raises `Damaged`; with `around_damage`, what cannot be compared is marked in place of that.
    """
    root = Change(_difference(before, after), before, after)
    waiting = [root]
    visited: list[Change] = []
    while waiting:
        change = waiting.pop()
        visited.append(change)
        old, new = change.before_tree, change.after_tree
        if old is None or new is None or old == new:
            continue
        try:
            change.below = dict(_compare_names(Directory(old, read), Directory(new, read)))
        except Damaged as error:
            if not around_damage:
                raise
            change.damage = error
        for here in change.below.values():
            if here.before is not None and here.after is not None:
                waiting.append(here)
    for change in reversed(visited):
        change.below = {name: here for name, here in change.below.items() if _tells(here)}
    return root


def _tells(change: Change) -> bool:
    return bool(change.difference) or bool(change.below) or change.damage is not None


def _compare_names(old: Directory, new: Directory) -> Iterator[tuple[bytes, Change]]:
    """The names of either directory whose records differ, in order."""
    left, right = _spots(old), _spots(new)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0], Change(Difference.REMOVED, one[1], None)
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield other[0], Change(Difference.ADDED, None, other[1])
            other = next(right, None)
        else:
            if not _same_record(one[1], other[1]):
                yield one[0], Change(_difference(one[1], other[1]), one[1], other[1])
            one, other = next(left, None), next(right, None)


def _spots(directory: Directory) -> Iterator[tuple[bytes, Spot]]:
    for page in directory.pages():
        for position, name in enumerate(page.names):
            yield name, (page, position)


def _same_record(one: Spot, other: Spot) -> bool:
    return (
        one[0].stat(one[1]) == other[0].stat(other[1])
        and one[0].ref(one[1])[0] == other[0].ref(other[1])[0]
        and one[0].extra(one[1]) == other[0].extra(other[1])
    )


def _difference(one: Spot, other: Spot) -> Difference:
    old, new = kind_at(one), kind_at(other)
    if old != new:
        return Difference.CONTENT
    found = Difference.NONE
    if new != stat.S_IFDIR and not _same_content(one, other):
        found |= Difference.CONTENT
    if differing_metadata(one, other):
        found |= Difference.METADATA
    return found


def _same_content(one: Spot, other: Spot) -> bool:
    if is_unread(one) or is_unread(other):
        return looks_at(one) == looks_at(other)
    return content_at(one) == content_at(other)


def is_unread(spot: Spot) -> bool:
    """Whether it is a file of which only the looks are known."""
    return kind_at(spot) == stat.S_IFREG and bool(spot[0].ref(spot[1])[4] & FLAG_NO_CONTENT)


def looks_at(spot: Spot) -> tuple[int, ...]:
    """Kind, volume, inode, size and mtime: equal for what is most likely one file, unwritten."""
    page, position = spot
    mode, _, _, _, size, m_s, _, m_ns, _, ino, _ = STAT.unpack(page.stat(position))
    return stat.S_IFMT(mode), page.ref(position)[3], ino, size, m_s, m_ns


def differing_metadata(one: Spot, other: Spot) -> set[Metadata]:
    """What is different about two entries of one kind, besides their content."""
    old, new = STAT.unpack(one[0].stat(one[1])), STAT.unpack(other[0].stat(other[1]))
    found: set[Metadata] = set()
    if old[0] != new[0]:
        found.add("mode")
    if old[1:3] != new[1:3] or _owner_names(one) != _owner_names(other):
        found.add("owner")
    if (old[5], old[7]) != (new[5], new[7]):
        found.add("mtime")
    if old[10] != new[10]:
        found.add("device")
    if _xattrs_at(one) != _xattrs_at(other):
        found.add("xattrs")
    return found


def content_at(spot: Spot) -> tuple[object, ...]:
    """Equal where a file has the same bytes and holes, a symlink the same target, a directory the same."""
    page, position = spot
    mode, _, _, _, size, *_ = STAT.unpack(page.stat(position))
    fields = extra_fields(page.extra(position))
    rest = [(tag, bytes(value)) for tag, value in fields if tag != EXTRA_XATTRS]
    return page.ref(position)[0], 0 if stat.S_ISDIR(mode) else size, *rest


def _xattrs_at(spot: Spot) -> memoryview | None:
    return dict(extra_fields(spot[0].extra(spot[1]))).get(EXTRA_XATTRS)


def _owner_names(spot: Spot) -> tuple[str, str]:
    page, position = spot
    users, groups = page.owner_names
    record = page.stat(position)
    uid, gid = (int.from_bytes(record[start : start + 4], "little") for start in (4, 8))
    return users.get(uid, ""), groups.get(gid, "")
