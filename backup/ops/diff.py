"""What differs between two trees, as people see it: one line a change, and what to call it all."""

from enum import Enum
from itertools import chain
from typing import Literal, NamedTuple

from backup.ops.diffing.directories import above_of, find_directories
from backup.ops.diffing.gather import Gathered, below, gather
from backup.ops.diffing.renames import Renames, find_renames
from backup.snapshots.difference import (
    Change,
    Difference,
    Read,
    Spot,
    compare,
    differing_metadata,
    tree_at,
)

ChangeWord = Literal["added", "removed", "content", "metadata", "renamed"]


class Line(NamedTuple):
    """One change. The paths of `removed` and of `origin` are those before, all others those after.

    What was renamed takes along all that lies below it and has no line of its own; `names` is how many.
    So a tree is carried over by first removing, then renaming, all at once, then making the rest.
    """

    change: ChangeWord
    path: bytes
    before: Spot | None
    after: Spot | None
    origin: bytes | None = None
    names: int = 0


class Verdict(Enum):
    """`RENAMES`, `ADDITIONS`: nothing else, not even another mode."""

    SAME = "none"
    RENAMES = "only-renames"
    ADDITIONS = "only-additions"
    CHANGES = "changes"


def diff(before: Spot | None, after: Spot | None, read: Read, path: bytes = b"") -> list[Line]:
    """What leads from one entry to the other, and from what lies below it; in the order of paths.

    None: there is nothing. `path` is what both are called. Raises `Damaged`.
    """
    if before is None or after is None:
        kind = Difference.ADDED if before is None else Difference.REMOVED
        root = Change(kind, before, after)
    else:
        root = compare(before, after, read)
    found = gather(root, path, read)
    renames = _find_renames(found)
    directories = find_directories(found, renames, read)
    for moved in directories.keys() & found.standing.keys():
        # What stands there now is another directory.
        found.changed.pop(moved, None)
    _drop_consequences(found, renames | directories)
    lines = _lines(found, renames | directories, read)
    return sorted(lines, key=lambda line: (line.path, line.change != "removed"))


def verdict_of(lines: list[Line]) -> Verdict:
    if not lines:
        return Verdict.SAME
    if all(line.change == "added" for line in lines):
        return Verdict.ADDITIONS
    if all(line.change == "renamed" and not metadata_of(line) - {"mtime"} for line in lines):
        return Verdict.RENAMES
    return Verdict.CHANGES


def metadata_of(line: Line) -> set[str]:
    """What else is different about something that was there before."""
    if line.before is None or line.after is None:
        return set()
    return set(differing_metadata(line.before, line.after))


def _find_renames(found: Gathered) -> Renames:
    """Of all but directories. What took, or gave, another's place then counts as gone and come."""
    content = {
        path: (before, after)
        for path, (before, after, difference) in found.changed.items()
        if Difference.CONTENT in difference
    }
    renames = find_renames(
        found.gone | {path: before for path, (before, _) in content.items()},
        found.come | {path: after for path, (_, after) in content.items()},
    )
    for path in content.keys() & (renames.keys() | set(renames.values())):
        found.gone[path], found.come[path] = content[path]
        del found.changed[path]
    return renames


def _drop_consequences(found: Gathered, renames: Renames) -> None:
    """A directory has another time because a name in it came, went or moved: that is no change of its own."""
    written = (path for path, (_, _, difference) in found.changed.items() if Difference.CONTENT in difference)
    touched = set(map(above_of, chain(found.gone, found.come, renames, renames.values(), written)))
    for path in touched & found.changed.keys() & found.standing.keys():
        before, after, _ = found.changed[path]
        if differing_metadata(before, after) == {"mtime"}:
            del found.changed[path]


def _lines(found: Gathered, renames: Renames, read: Read) -> list[Line]:
    origins = set(renames.values())
    lines = [
        Line("content" if Difference.CONTENT in difference else "metadata", path, before, after)
        for path, (before, after, difference) in found.changed.items()
    ]
    lines += [Line("removed", path, spot, None) for path, spot in found.gone.items() if path not in origins]
    lines += [Line("added", path, None, spot) for path, spot in found.come.items() if path not in renames]
    for path, origin in renames.items():
        before = _spot(found, origin, 0)
        after = _spot(found, path, 1)
        if not _went_along(renames, path, before, after):
            tree = tree_at(before)
            names = 0 if tree is None else sum(1 for _ in below(origin, tree, read))
            lines.append(Line("renamed", path, before, after, origin, names))
    return lines


def _spot(found: Gathered, path: bytes, side: int) -> Spot:
    spot = (found.gone, found.come)[side].get(path)
    return found.standing[path][side] if spot is None else spot


def _went_along(renames: Renames, path: bytes, before: Spot, after: Spot) -> bool:
    """Whether the directory that it lies in was renamed, and nothing else happened to it."""
    if renames.get(above_of(path)) != above_of(renames[path]):
        return False
    follows = {"mtime"} if tree_at(after) is not None else set()
    return not differing_metadata(before, after) - follows
