"""imbfs export"""

import argparse
import dataclasses
import os
from typing import TYPE_CHECKING

from backup.cli import exits
from backup.cli.commands.restore import tell_summary
from backup.cli.context import Context
from backup.cli.output import show_json
from backup.cli.restoring import Opened, open_to_restore
from backup.cli.selecting import add_filters, find_pair, find_target
from backup.cli.workers import parse_workers
from backup.model.errors import UsageError

if TYPE_CHECKING:
    from backup.ops.restore import RestoreMonitor, RestoreOptions, RestoreSummary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SNAPSHOT[:PATH]", nargs="?", help="a snapshot, and a path in it; or A..B"
    )
    parser.add_argument("directory", metavar="DIR", nargs="?", help="a new or empty directory")
    parser.add_argument(
        "--increment", action="store_true", help="what the snapshot changed: files/, deleted/, changes.jsonl"
    )
    parser.add_argument(
        "--recreate", metavar="DIR", help="make changes.jsonl of an exported increment anew, from its files"
    )
    parser.add_argument("--force", action="store_true", help="with --recreate: replace a list that is sound")
    parser.add_argument("--dry-run", action="store_true", help="with --recreate: write nothing")
    parser.add_argument("--tar", metavar="FILE", help="write a tar file; - for stdout")
    parser.add_argument(
        "--volume-size",
        metavar="N",
        help="write volumes of at most this size, such as 4G, and an index of them",
    )
    parser.add_argument(
        "--workers", metavar="N", type=parse_workers, help="processes that write files (one for each CPU)"
    )
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    if arguments.recreate is not None:
        from backup.cli.recreating import run_recreate

        return run_recreate(context, arguments)
    if arguments.force or arguments.dry_run:
        raise UsageError("--force and --dry-run are for --recreate")
    if not arguments.source:
        raise UsageError("name a snapshot")
    return _export(context, arguments)


def _export(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.progress import restore_progress
    from backup.cli.tar import run_tar
    from backup.ops.backup import repository_identity
    from backup.ops.restore import RestoreOptions

    if arguments.tar is not None:
        return run_tar(context, arguments)
    if not arguments.directory:
        raise UsageError("name a directory, or with --tar a file")
    if arguments.volume_size is not None:
        raise UsageError("--volume-size is for --tar")
    target = os.fsencode(os.path.abspath(arguments.directory))
    workers = 0 if arguments.increment else arguments.workers
    with open_to_restore(context, "export", workers) as opened:
        opened.repository.require_outside(target)
        options = RestoreOptions(protected=frozenset({repository_identity(opened.repository)}))
        with restore_progress(context, None) as monitor:
            copy = _increment if arguments.increment else _snapshot
            summary = copy(context, opened, arguments, target, options, monitor)
    if context.json:
        show_json(dataclasses.asdict(summary))
    elif not context.quiet:
        tell_summary(summary, False)
    return exits.PARTLY if summary.errors else exits.DONE


def _snapshot(
    context: Context,
    opened: Opened,
    arguments: argparse.Namespace,
    target: bytes,
    options: "RestoreOptions",
    monitor: "RestoreMonitor",
) -> "RestoreSummary":
    from backup.ops.export import export
    from backup.snapshots.paths import find_entry

    repository = opened.repository
    snapshot, path = find_target(context, repository, arguments.source, arguments)
    opened.reading.show([snapshot])
    entry, _ = find_entry(snapshot, path, repository.tree)
    return export(repository, entry, target, options, monitor, opened.crew)


def _increment(
    context: Context,
    opened: Opened,
    arguments: argparse.Namespace,
    target: bytes,
    options: "RestoreOptions",
    monitor: "RestoreMonitor",
) -> "RestoreSummary":
    from backup.ops.export import export_increment
    from backup.snapshots.paths import find_spot

    repository = opened.repository
    before, after = find_pair(context, repository, arguments.source, arguments, context.notice)
    opened.reading.show([after] if before is None else [before, after])
    old = None if before is None else find_spot(before.root, [], repository.tree)
    new = find_spot(after.root, [], repository.tree)
    assert new is not None, "a snapshot has a root"
    return export_increment(repository, old, new, target, options, monitor)
