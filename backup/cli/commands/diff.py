"""imbfs diff"""

import argparse
import os
from typing import TYPE_CHECKING

from backup.cli import exits
from backup.cli.changes import show_changes
from backup.cli.context import Context
from backup.cli.selecting import add_filters, find_target, scan_options
from backup.model.errors import NotFound, UsageError

if TYPE_CHECKING:
    from backup.ops.diff import Line
    from backup.repository import Repository
    from backup.snapshots.manifest import Snapshot


#: Stands for the live tree.
SOURCE = "source"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="A", help="SNAPSHOT[:PATH], or `source`: the live tree")
    parser.add_argument("after", metavar="B", help="SNAPSHOT[:PATH], or `source`: the live tree")
    parser.add_argument("inside", metavar="PATH", nargs="?", help="only what is at this path, and below")
    parser.add_argument("--verify", action="store_true", help="read what looks different in the live tree")
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    if SOURCE == arguments.before == arguments.after:
        raise UsageError("the live tree does not differ from itself: name a snapshot")
    with context.open_repository() as repository:
        if SOURCE in (arguments.before, arguments.after):
            return _with_source(context, repository, arguments)
        return show_changes(context, _between(context, repository, arguments))


def _between(context: Context, repository: "Repository", arguments: argparse.Namespace) -> "list[Line]":
    from backup.ops.diff import diff
    from backup.snapshots.paths import find_spot, relative_parts

    before, after = (
        find_target(context, repository, text, arguments) for text in (arguments.before, arguments.after)
    )
    if before[0].top != after[0].top and not before[1] and not after[1]:
        before, after = _aligned(context, before, after)
    inner = os.fsencode(arguments.inside or "")
    places = []
    for snapshot, path in (before, after):
        whole = inner if inner.startswith(b"/") else os.path.join(path, inner)
        parts = relative_parts(snapshot, whole)
        places.append((parts, find_spot(snapshot.root, parts, repository.tree)))
    (old_parts, old), (new_parts, new) = places
    if old is None and new is None:
        raise NotFound(f"there is no {os.fsdecode(b'/'.join(new_parts))} in either of the two")
    label = b"/".join(new_parts) if old_parts == new_parts else inner
    return diff(old, new, repository.tree, label)


def _aligned(
    context: Context, before: "tuple[Snapshot, bytes]", after: "tuple[Snapshot, bytes]"
) -> "tuple[tuple[Snapshot, bytes], tuple[Snapshot, bytes]]":
    """Where one was taken from a directory inside the other's, that directory is compared."""
    old, new = before[0].top, after[0].top
    for inner, outer in ((old, new), (new, old)):
        if inner.startswith(outer.rstrip(b"/") + b"/"):
            context.notice(f"compared is {os.fsdecode(inner)}, which both hold")
            return (before[0], inner), (after[0], inner)
    context.notice(f"{os.fsdecode(old)} is compared with {os.fsdecode(new)}, which the other was taken from")
    return before, after


def _with_source(context: Context, repository: "Repository", arguments: argparse.Namespace) -> int:
    from backup.cli.progress import scan_progress
    from backup.ops.status import status

    backwards = arguments.before == SOURCE
    text = arguments.after if backwards else arguments.before
    snapshot, path = find_target(context, repository, text, arguments)
    inner = os.fsencode(arguments.inside or "")
    whole = inner if inner.startswith(b"/") else os.path.join(path, inner)
    with scan_progress(context) as monitor:
        found = status(
            repository,
            snapshot,
            whole,
            scan_options(context, repository, snapshot),
            monitor,
            read_files=arguments.verify,
            backwards=backwards,
        )
    code = show_changes(context, found.lines)
    return exits.PARTLY if found.errors else code
