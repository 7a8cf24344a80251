"""Which changes of what is immutable are alarms. Decided from the changes alone: nothing is written."""

import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from backup.ops.diff import Line
from backup.ops.diffing.gather import below
from backup.snapshots.difference import Read, Spot, is_unread, tree_at
from backup.snapshots.paths import find_below
from backup.source.places import Places


@dataclass(frozen=True)
class Immutable:
    """`accepted`: where changes are welcome this time. `named`: the paths that were given as they are."""

    places: Places = field(default_factory=Places)
    accepted: Places = field(default_factory=Places)
    named: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.places)


NOTHING_IMMUTABLE = Immutable()


class Alarm(NamedTuple):
    """What the parent has at `path` (relative to the root), and below, is kept.

    `files` are names but directories. `to`: where it is now, of what moved. "touched" is what was not read,
    and may have changed.
    """

    change: Literal["changed", "touched", "replaced", "removed", "moved"]
    path: bytes
    files: int = 1
    to: bytes | None = None


def find_alarms(
    lines: list[Line], immutable: Immutable, top: bytes, before: Spot, after: Spot, read: Read
) -> list[Alarm]:
    """In the order of paths; none lies inside another. The lines lead from the root `before` to `after`."""
    finder = _Finder(lines, immutable, top, before, after, read)
    finder.changed()
    finder.removed()
    finder.moved()
    finder.overridden()
    return finder.alarms()


class _Finder:
    def __init__(
        self, lines: list[Line], immutable: Immutable, top: bytes, before: Spot, after: Spot, read: Read
    ) -> None:
        self._immutable = immutable
        self._top = top
        self._before = before
        self._after = after
        self._read = read
        self._lines = lines
        self._gone = {line.path: line for line in lines if line.change == "removed"}
        self._renamed = {line.path: line for line in lines if line.change == "renamed"}
        self._come = {line.path for line in lines if line.change == "added"} | self._renamed.keys()
        self._found: dict[bytes, Alarm] = {}

    def alarms(self) -> list[Alarm]:
        found = self._found
        return [found[path] for path in sorted(found) if not any(above in found for above in _above(path))]

    def changed(self) -> None:
        for line in self._lines:
            if line.change == "content" and self._guards(line.path, is_dir=False):
                self._found[line.path] = Alarm("touched" if _unsure(line) else "changed", line.path)

    def removed(self) -> None:
        """Files; those of a directory that is gone with all in it are one alarm."""
        whole = self._whole()
        for path, line in self._gone.items():
            if tree_at(line.before) is not None or not self._guards(path, is_dir=False):
                continue
            top = path
            for above in _above(path):
                if above not in whole:
                    break
                top = above
            known = self._found.get(top)
            change: Literal["replaced", "removed"] = "replaced" if top in self._come else "removed"
            self._found[top] = Alarm(change, top, 1 + (known.files if known else 0))

    def _whole(self) -> set[bytes]:
        """Directories that are gone, and nothing of them may go."""
        opened: set[bytes] = set()
        goes = [path for path, line in self._gone.items() if not self._guards(path, _is_dir(line))]
        goes += [line.origin for line in self._renamed.values() if line.origin is not None]
        for path in goes:
            opened.update(_above(path))
        gone = (
            path for path, line in self._gone.items() if _is_dir(line) and self._guards(path, is_dir=True)
        )
        return {path for path in gone if path not in opened}

    def moved(self) -> None:
        """A rename is welcome where what it leads to is immutable as well."""
        for line in self._renamed.values():
            assert line.origin is not None
            assert line.before is not None
            if self._leaves(line.origin, line.path, _is_dir(line)):
                self._keep(line.origin, line.before, line.path)
            elif (tree := tree_at(line.before)) is not None:
                self._moved_below(line.origin, line.path, below(line.origin, tree, self._read))

    def _moved_below(self, origin: bytes, path: bytes, names: Iterator[tuple[bytes, Spot]]) -> None:
        own = self._gone.keys() | {line.origin for line in self._renamed.values()}
        for old, spot in names:
            new = path + old[len(origin) :]
            is_dir = tree_at(spot) is not None
            if old in own or not self._leaves(old, new, is_dir):
                continue
            if not any(above in self._found for above in _above(old)):
                self._keep(old, spot, new)

    def overridden(self) -> None:
        """What was moved to where something else is kept would be nowhere: it is kept as well."""
        targets = sorted(self._renamed)
        waiting = [*self._found]
        while waiting:
            kept = waiting.pop()
            before = len(self._found)
            for target in _at_or_below(targets, kept):
                self._keep_origin(self._renamed[target], b"")
            for above in _above(kept):
                if above in self._renamed:
                    self._keep_origin(self._renamed[above], kept[len(above) :])
            waiting += [*self._found][before:]

    def _keep_origin(self, line: Line, rest: bytes) -> None:
        """`rest`: of a directory that moved, only this path in it, which begins with a slash."""
        assert line.origin is not None
        rest = rest if _is_dir(line) else b""
        spot = find_below(self._before, (line.origin + rest).split(b"/"), self._read)
        if spot is not None and line.origin + rest not in self._found:
            self._keep(line.origin + rest, spot, line.path + rest)

    def _keep(self, path: bytes, spot: Spot, to: bytes) -> None:
        tree = tree_at(spot)
        if tree is None:
            self._found[path] = Alarm("moved", path, 1, to)
            return
        files = [old for old, each in below(path, tree, self._read) if tree_at(each) is None]
        if tree_at(find_below(self._after, path.split(b"/"), self._read)) is not None:
            # Another directory is there now: both have their place.
            self._found |= {old: Alarm("moved", old, 1, to + old[len(path) :]) for old in files}
        elif files:
            self._found[path] = Alarm("moved", path, len(files), to)

    def _leaves(self, old: bytes, new: bytes, is_dir: bool) -> bool:
        return self._guards(old, is_dir) and not self._immutable.places.holds(self._at(new), is_dir)

    def _guards(self, path: bytes, is_dir: bool) -> bool:
        here = self._at(path)
        return self._immutable.places.holds(here, is_dir) and not self._immutable.accepted.holds(here, is_dir)

    def _at(self, path: bytes) -> bytes:
        return os.path.join(self._top, path) if path else self._top


def _is_dir(line: Line) -> bool:
    return tree_at(line.before) is not None


def _unsure(line: Line) -> bool:
    """Whether a file of the same size was not read."""
    if line.before is None or line.after is None or not is_unread(line.after):
        return False
    sizes = {page.record(position)[4] for page, position in (line.before, line.after)}
    return len(sizes) == 1


def _above(path: bytes) -> Iterator[bytes]:
    """The directories that lead to a path, the nearest first."""
    while (slash := path.rfind(b"/")) >= 0:
        path = path[:slash]
        yield path


def _at_or_below(paths: list[bytes], path: bytes) -> Iterator[bytes]:
    """Of sorted paths: this one, and those below it."""
    at = bisect_left(paths, path)
    if paths[at : at + 1] == [path]:
        yield path
    for each in paths[bisect_left(paths, path + b"/") :]:
        if not each.startswith(path + b"/"):
            return
        yield each
