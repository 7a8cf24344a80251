"""What the faulty file system is told and tells: steps that a program made, and faults."""

from typing import NamedTuple


class Step(NamedTuple):
    """One change, or one sync, that a program made, in the order in which it made them.

    `operation` is create, mkdir, symlink, link, rename, unlink, rmdir, write, truncate, fsync or fsyncdir.
    `path` is relative to the top; `other` is a rename's or link's new path, or a symlink's target. `file`
    numbers the open file of create, write, truncate and fsync: a file keeps its number when it is renamed.
    """

    operation: str
    path: str
    other: str = ""
    file: int = 0
    offset: int = 0
    data: bytes = b""


class Fault(NamedTuple):
    """Which operations fail, and how.

    Those of `operations` on paths that match `path` (a regular expression, searched for) are counted from 1.
    From the `nth` on, `times` of them (0: all) fail with the errno `number`; with `number` 0 none fails.
    `short` lets a write take half of its bytes before the next one fails. Each that is hit waits `delay`
    seconds first.
    """

    operations: tuple[str, ...]
    number: int
    nth: int = 1
    times: int = 0
    path: str = ""
    short: bool = False
    delay: float = 0.0


#: What takes space on a disk.
SPACE = ("create", "mkdir", "write", "symlink", "link", "truncate")
#: All that changes a file system.
WRITING = (*SPACE, "rename", "unlink", "rmdir", "setattr")
