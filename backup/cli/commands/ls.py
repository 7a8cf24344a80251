"""imbfs ls"""

import argparse
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import printable, show, show_json_array
from backup.cli.selecting import add_filters, find_target
from backup.model.entry import Entry
from backup.model.text import to_name

if TYPE_CHECKING:
    from backup.repository import Repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="SNAPSHOT[:PATH]", help="a snapshot, and a path in it")
    parser.add_argument("-R", "--recursive", action="store_true", help="list all that lies below, too")
    parser.add_argument("-l", "--long", action="store_true", help="show mode, owner, size and time")
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.snapshots.paths import find_entry

    with context.open_repository() as repository:
        snapshot, path = find_target(context, repository, arguments.target, arguments)
        entry, parts = find_entry(snapshot, path, repository.tree)
        if entry.tree is None:
            entries = iter([(b"/".join(parts), entry)])
        else:
            entries = walk(repository, entry, b"/".join(parts), arguments.recursive)
        if context.json:
            show_json_array(record(path, entry) for path, entry in entries)
            return exits.DONE
        for path, entry in entries:
            show(_long(path, entry) if arguments.long else printable(path) + _mark(entry))
    return exits.DONE


def walk(
    repository: "Repository", top: Entry, prefix: bytes, recursive: bool
) -> Iterator[tuple[bytes, Entry]]:
    """Path and entry of all below `top`, each directory before what is in it."""
    waiting = [_entries(repository, top, prefix)]
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
            continue
        yield found
        if recursive and found[1].tree is not None:
            waiting.append(_entries(repository, found[1], found[0]))


def _entries(repository: "Repository", directory: Entry, prefix: bytes) -> Iterator[tuple[bytes, Entry]]:
    assert directory.tree is not None
    for entry in repository.directory(directory.tree).entries():
        yield (prefix + b"/" + entry.name if prefix else entry.name), entry


def record(path: bytes, entry: Entry) -> dict[str, Any]:
    """An entry as JSON output has it. `mode` is the permission bits, as a number."""
    return {
        "path": to_name(path),
        "kind": entry.kind,
        "mode": stat.S_IMODE(entry.mode),
        "uid": entry.uid,
        "gid": entry.gid,
        "user": entry.user,
        "group": entry.group,
        "size": entry.size,
        "mtime": time_text(entry.mtime_ns),
        "target": to_name(entry.target) if entry.kind == "symlink" else None,
        "nlink": entry.nlink,
        "hash": name.hex() if (name := entry.tree or entry.hash) else None,
    }


def time_text(ns: int) -> str:
    """RFC 3339 in UTC, as many of the nanoseconds as there are; years beyond 9999 in seconds."""
    seconds, rest = divmod(ns, 1_000_000_000)
    try:
        whole = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return f"@{seconds}.{rest:09d}"
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{whole:%Y-%m-%dT%H:%M:%S}{fraction}+00:00".rjust(25, "0")


def _long(path: bytes, entry: Entry) -> str:
    owner = f"{entry.user or entry.uid}:{entry.group or entry.gid}"
    target = f" -> {printable(entry.target)}" if entry.kind == "symlink" else ""
    size = f"{entry.rdev >> 8},{entry.rdev & 255}" if entry.kind in ("block", "char") else str(entry.size)
    return (
        f"{stat.filemode(entry.mode)} {owner:<17} {size:>12} {time_text(entry.mtime_ns)[:19]}"
        f" {printable(path)}{target}"
    )


def _mark(entry: Entry) -> str:
    return "/" if entry.tree is not None else ""
