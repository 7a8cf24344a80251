"""Finding the snapshot that the command line names."""

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from backup.cli.context import Context
from backup.model.ids import SHORT_ID
from backup.model.selector import parse_selector, parse_target

if TYPE_CHECKING:
    from backup.ops.backup import BackupOptions
    from backup.repository import Repository
    from backup.snapshots.catalogue import Filter
    from backup.snapshots.manifest import Snapshot


def add_filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which snapshots")
    group.add_argument("--host", metavar="NAME", help="only those of this host")
    group.add_argument("--path", metavar="PATH", action="append", default=[], help="only those of this path")
    group.add_argument("--tag", metavar="TAG", action="append", default=[], help="only those with this tag")


def filter_of(arguments: argparse.Namespace) -> "Filter":
    from backup.snapshots.catalogue import Filter

    paths = []
    if arguments.path:
        # Brings much of a backup with it.
        from backup.ops.storing.sources import absolute

        paths = [absolute(os.fsencode(path)) for path in arguments.path]
    return Filter(arguments.host, paths, arguments.tag)


def find_snapshot(
    context: Context, repository: "Repository", text: str, arguments: argparse.Namespace
) -> "Snapshot":
    """The snapshot that `SNAPSHOT` names. Raises `NotFound`, `UsageError`."""
    from backup.snapshots.catalogue import select

    return select(parse_selector(text, context.now()), repository.snapshots(filter_of(arguments)))


def find_target(
    context: Context, repository: "Repository", text: str, arguments: argparse.Namespace
) -> "tuple[Snapshot, bytes]":
    """The snapshot and the path in it that `SNAPSHOT[:PATH]` names. Raises `NotFound`, `UsageError`."""
    from backup.snapshots.catalogue import select

    snapshots = repository.snapshots(filter_of(arguments))
    tags = {tag for snapshot in snapshots for tag in snapshot.labels.tags}
    target = parse_target(text, context.now(), tags)
    snapshot = select(target.selector, snapshots)
    return snapshot, os.fsencode(target.path or "")


def find_pair(
    context: Context,
    repository: "Repository",
    text: str,
    arguments: argparse.Namespace,
    tell: Callable[[str], None],
) -> "tuple[Snapshot | None, Snapshot]":
    """The two snapshots that `A..B` names, or a snapshot and its parent; `tell` where that is gone."""
    from backup.snapshots.catalogue import previous, select

    snapshots = repository.snapshots(filter_of(arguments))
    first, dots, second = text.partition("..")
    if dots:
        one, other = (select(parse_selector(name, context.now()), snapshots) for name in (first, second))
        return one, other
    after = select(parse_selector(text, context.now()), snapshots)
    before = previous(after, repository.snapshots())
    if before is not None and before.id != after.body.parent:
        tell(f"the parent of {after.id[:SHORT_ID]} is gone: compared with {before.id[:SHORT_ID]}")
    return before, after


def scan_options(context: Context, repository: "Repository", snapshot: "Snapshot") -> "BackupOptions":
    """How the live tree is looked at to compare it with a snapshot: as the backup of that one did."""
    from backup.cli.locks import locks
    from backup.cli.seals import seals_of
    from backup.ops.backup import BackupOptions
    from backup.ops.storing.recorded import recorded

    rules = recorded(snapshot.body.rules, f"snapshot {snapshot.id[:SHORT_ID]}")
    return BackupOptions(
        time=context.now(),
        host=snapshot.body.host,
        user="",
        rules=rules,
        locked=frozenset(locks()),
        seals=seals_of(repository),
    )
