"""A directory being walked."""

import os
from dataclasses import dataclass, field

from backup.ops.storing.parent import ParentDirectory
from backup.ops.storing.sources import Choice
from backup.snapshots.tree import Row
from backup.source.attributes import Xattr


@dataclass(slots=True)
class Waiting:
    """A subdirectory still to be entered: its slot in the rows, and its position in the parent."""

    name: bytes
    status: os.stat_result
    slot: int
    position: int


@dataclass(slots=True, eq=False)
class Frame:
    """`up` is the directory that holds this one, `above` the parent's tree of that.

    `rows` holds the parent's position in place of a row that is the same, and None for what is
    left out. `waiting` are the subdirectories to be entered: the last one first. `pending` counts
    the files whose rows are still to come.
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
    rows: list[Row | int | None] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    pending: int = 0

    def path_of(self, name: bytes) -> bytes:
        return os.path.join(self.path, name)
