"""Printing what differs: for people, and as JSON."""

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import count, paints, quoted, show, show_json_array, size

if TYPE_CHECKING:
    from backup.model.entry import Entry
    from backup.ops.diff import Line
    from backup.snapshots.difference import Spot

#: What a change is marked with, its colour on a terminal, and its word in the summary.
_MARKS = {
    "added": ("A", "32", "added"),
    "removed": ("D", "31", "removed"),
    "content": ("M", "33", "modified"),
    "metadata": ("m", "36", "with other metadata"),
    "renamed": ("R", "34", "renamed"),
}
_DIM = "2"


def show_changes(context: Context, lines: "list[Line]") -> int:
    """Prints the changes on stdout and returns the exit code."""
    if context.json:
        show_json_array(records(lines))
    else:
        show_lines(context, lines)
    return verdict_code(lines)


def verdict_code(lines: "list[Line]") -> int:
    from backup.ops.diff import Verdict, verdict_of

    codes = {Verdict.SAME: exits.DONE, Verdict.RENAMES: exits.ONLY_RENAMES}
    return codes.get(verdict_of(lines), exits.CHANGES)


def records(lines: "list[Line]") -> Iterator[dict[str, Any]]:
    """As JSON output has them."""
    from backup.model.text import to_name

    for line in lines:
        record: dict[str, Any] = {"change": line.change, "path": to_name(line.path or b".")}
        if line.origin is not None:
            record["from"] = to_name(line.origin)
        if line.before is not None:
            record["before"] = _record(line.before)
        if line.after is not None:
            record["after"] = _record(line.after)
        if line.change == "renamed" and line.names:
            record["names"] = line.names
        yield record


def _record(spot: "Spot") -> dict[str, Any]:
    from backup.cli.commands.ls import record

    entry = _entry(spot)
    whole = record(b"", entry)
    del whole["path"], whole["nlink"]
    # A directory's tree has no name that means anything where its files were not read.
    return whole | {"hash": None if entry.hash is None else entry.hash.hex()}


def _entry(spot: "Spot") -> "Entry":
    from backup.snapshots.directory import decode_entry

    return decode_entry(*spot, None)


def show_lines(context: Context, lines: "list[Line]") -> None:
    for text in described(lines, apart=context.verbose > 0, paint=paints(sys.stdout)):
        show(text)


def described(lines: "list[Line]", *, apart: bool, paint: bool) -> Iterator[str]:
    """The changes as people read them. `apart`: each has a line, in directories that came or went, too."""
    if not lines:
        yield "no change"
        return
    for group in _grouped(lines, apart):
        letter, colour, _ = _MARKS[group.line.change]
        detail = _detail(group)
        if paint:
            detail = f"\033[{_DIM}m{detail}\033[0m" if detail else ""
            letter = f"\033[{colour}m{letter}\033[0m"
        yield f"{letter}  {_name(group.line)}  {detail}".rstrip()
    yield ""
    yield _summary(lines)


@dataclass(slots=True)
class _Group:
    """A line, and the lines below it that say the same: those of a directory that came or went whole."""

    line: "Line"
    below: "list[Line]" = field(default_factory=list)


def _grouped(lines: "list[Line]", apart: bool) -> list[_Group]:
    tops: dict[tuple[str, bytes], _Group] = {}
    groups = []
    for line in lines:
        group = None if apart else tops.get((line.change, line.path.rpartition(b"/")[0]))
        if group is None or line.change not in ("added", "removed"):
            group = _Group(line)
            groups.append(group)
        else:
            group.below.append(line)
        if _is_directory(line):
            tops[line.change, line.path] = group
    return groups


def _is_directory(line: "Line") -> bool:
    from backup.snapshots.difference import tree_at

    return tree_at(line.after or line.before) is not None


def _only_spot(line: "Line") -> "Spot":
    spot = line.after or line.before
    assert spot is not None
    return spot


def _name(line: "Line") -> str:
    mark = "/" if _is_directory(line) else ""
    shown = quoted(line.path or b".") + mark
    return shown if line.origin is None else f"{quoted(line.origin)}{mark} → {shown}"


def _detail(group: _Group) -> str:
    from backup.snapshots.difference import tree_at

    line = group.line
    if line.change in ("added", "removed"):
        files = [spot for spot in map(_only_spot, (line, *group.below)) if tree_at(spot) is None]
        if group.below:
            return f"({count(len(files), 'file')}, {size(sum(map(_size, files)))})"
        return f"({size(_size(files[0]))})" if files else ""
    parts = [] if line.change == "metadata" else list(_content_detail(line))
    parts += _metadata_detail(line)
    return f"({', '.join(parts)})" if parts else ""


def _content_detail(line: "Line") -> Iterator[str]:
    from backup.snapshots.difference import is_unread

    assert line.before is not None
    assert line.after is not None
    if line.change == "renamed":
        if line.names:
            yield f"with {count(line.names, 'name')} in it"
        return
    before, after = _size(line.before), _size(line.after)
    yield size(before) if before == after else f"{size(before)} → {size(after)}"
    if before == after and is_unread(line.after):
        yield "perhaps only touched: --verify tells"


def _size(spot: "Spot") -> int:
    """Of a regular file; 0 of all else."""
    entry = _entry(spot)
    return entry.size if stat.S_ISREG(entry.mode) else 0


def _metadata_detail(line: "Line") -> Iterator[str]:
    from backup.ops.diff import metadata_of

    assert line.before is not None
    assert line.after is not None
    before, after = _entry(line.before), _entry(line.after)
    different = metadata_of(line)
    if "mode" in different:
        yield f"mode {stat.S_IMODE(before.mode):04o} → {stat.S_IMODE(after.mode):04o}"
    if "owner" in different:
        yield f"owner {_owner(before)} → {_owner(after)}"
    if "mtime" in different and line.change == "metadata":
        yield "time"
    if "device" in different:
        yield f"device {_device(before)} → {_device(after)}"
    if "xattrs" in different:
        yield "extended attributes"


def _owner(entry: "Entry") -> str:
    return f"{entry.user or entry.uid}:{entry.group or entry.gid}"


def _device(entry: "Entry") -> str:
    return f"{os.major(entry.rdev)},{os.minor(entry.rdev)}"


def _summary(lines: "list[Line]") -> str:
    parts = []
    for change, (_, _, word) in _MARKS.items():
        number = sum(line.change == change for line in lines)
        if number:
            parts.append(f"{number:,} {word}")
    only = {"renamed": "only renames: ", "added": "only additions: "}
    words = {line.change for line in lines}
    head = only.get(next(iter(words)), "") if len(words) == 1 else ""
    told = [line for line in lines if line.change != "renamed"]
    before = sum(_size(line.before) for line in told if line.before is not None)
    after = sum(_size(line.after) for line in told if line.after is not None)
    grown = f"; {size(after - before)} more" if after > before else f"; {size(before - after)} less"
    return head + ", ".join(parts) + (grown if after != before else "")
