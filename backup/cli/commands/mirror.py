"""imbfs mirror"""

import argparse
import dataclasses
import os

from backup.cli import exits
from backup.cli.commands.restore import tell_summary
from backup.cli.context import Context
from backup.cli.output import count, show_json, tell
from backup.cli.restoring import open_to_restore
from backup.cli.selecting import add_filters, find_target
from backup.cli.workers import parse_workers
from backup.model.errors import NotFound, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "places", metavar="[SNAPSHOT[:PATH]] DIR", nargs="+", help="a snapshot (latest), the mirror"
    )
    parser.add_argument("--force", action="store_true", help="also replace and remove what no snapshot holds")
    parser.add_argument("--park", metavar="DIR", help="move what is gone there, in place of removing it")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be done, do nothing")
    parser.add_argument("--verify", action="store_true", help="compare and read back the content of files")
    parser.add_argument(
        "--workers", metavar="N", type=parse_workers, help="processes that write files (one for each CPU)"
    )
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.progress import restore_progress
    from backup.ops.backup import repository_identity
    from backup.ops.mirror import MirrorOptions, mirror
    from backup.ops.restore import RestoreOptions
    from backup.snapshots.paths import find_entry, source_path

    *source, directory = arguments.places
    if len(source) > 1 or not directory:
        raise UsageError("give a snapshot and a directory, or the directory alone")
    target = os.fsencode(os.path.abspath(directory))
    park = None if arguments.park is None else os.fsencode(os.path.abspath(arguments.park))
    if park is not None and (park + b"/").startswith(target + b"/"):
        raise UsageError("--park: a directory in the mirror would be mirrored away: name one beside it")
    workers = 0 if arguments.dry_run else arguments.workers
    with open_to_restore(context, "mirror", workers) as (repository, crew, reading):
        repository.require_outside(target)
        snapshot, path = find_target(context, repository, (source or ["latest"])[0], arguments)
        reading.show([snapshot])
        entry, parts = find_entry(snapshot, path, repository.tree)
        if entry.tree is None:
            raise NotFound(f"{source[0]} is a {entry.kind_noun}: a mirror is of a directory")
        protected = frozenset({repository_identity(repository)})
        options = MirrorOptions(
            RestoreOptions(dry_run=arguments.dry_run, verify=arguments.verify, protected=protected),
            force=arguments.force,
            park=park,
        )
        with restore_progress(context, snapshot if not parts else None) as monitor:
            done = mirror(repository, entry, source_path(snapshot, parts), target, options, monitor, crew)
    if context.json:
        show_json(dataclasses.asdict(done.restored) | {"parked": done.parked, "snapshot": snapshot.id})
    elif not context.quiet:
        tell_summary(done.restored, arguments.dry_run)
        if done.parked:
            tell(f"  {count(done.parked, 'name')} parked in {arguments.park}")
    return exits.PARTLY if done.restored.errors else exits.DONE
