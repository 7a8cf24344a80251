"""A directory being walked."""

import os
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from backup.ops.storing.choosing import Here
from backup.ops.storing.parent import ParentDirectory
from backup.ops.storing.sources import Choice
from backup.snapshots.tree import Row
from backup.snapshots.tree_writer import TreeWriter
from backup.source.attributes import Xattr


class Pending(Enum):
    """In place of a row that is still to come."""

    PENDING = 0


#: A row; the parent's position of one that is the same; None for what is left out, or a subdirectory
#: that is not done.
Slot = Row | int | Pending | None
PENDING = Pending.PENDING


@dataclass(slots=True)
class Waiting:
    """A subdirectory still to be entered: its slot in the rows, and its position in the parent."""

    name: bytes
    status: os.stat_result
    slot: int
    position: int


class Vouched(NamedTuple):
    """A directory that is as the parent has it, with all below: how many files (names but directories) and
    directories that is, itself included, and the size of the regular files, in bytes.
    """

    files: int
    dirs: int
    size: int


@dataclass(slots=True, eq=False)
class Frame:
    """`up` is the directory that holds this one, `above` the parent's tree of that.

    `rows` has a slot for each name. `waiting` are the subdirectories to be entered: the last one first.
    The rows of slots before `ready` have come. Of a very large directory, slots before `passed` are with
    those that wait for their rows; the rows of those before `written` are in `writer`, and gone from `rows`.
    `here` are the rules, None above the sources.
    """

    name: bytes
    path: bytes
    status: os.stat_result
    volume: int
    slot: int
    up: "Frame | None"
    above: ParentDirectory | None
    position: int
    parent: ParentDirectory | None
    choice: Choice | None
    xattrs: tuple[Xattr, ...]
    here: Here | None
    rows: list[Slot] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    ready: int = 0
    passed: int = 0
    written: int = 0
    writer: TreeWriter | None = None

    def complete(self, end: int) -> bool:
        """Whether the rows of all slots before `end` have come."""
        while self.ready < end and self.rows[self.ready] is not PENDING:
            self.ready += 1
        return self.ready >= end

    def path_of(self, name: bytes) -> bytes:
        return os.path.join(self.path, name)
