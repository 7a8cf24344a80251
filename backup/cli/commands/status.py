"""imbfs status"""

import argparse
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from backup.cli import exits
from backup.cli.changes import show_changes
from backup.cli.context import Context
from backup.cli.guards import immutable_of, locked_of, tell_alarms
from backup.cli.output import printable, tell
from backup.cli.selecting import scan_options
from backup.model.ids import SHORT_ID

if TYPE_CHECKING:
    from backup.ops.guarding.alarms import Alarm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="*", help="what to look at (what was backed up last)")
    parser.add_argument("--host", metavar="NAME", help="compare with snapshots of this host (this one)")
    parser.add_argument("--verify", action="store_true", help="read files that look different")


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.profiles.using import arguments_of
    from backup.cli.progress import scan_progress
    from backup.ops.status import find_source, status

    with context.open_repository() as repository:
        host = arguments.host or socket.gethostname()
        paths = [os.fsencode(path) for path in arguments.paths]
        snapshot, inner = find_source(repository.snapshots(), host, paths)
        if not context.quiet and not context.json:
            named, when = " ".join(map(printable, snapshot.paths)), snapshot.body.time[:19].replace("T", " ")
            tell(f"{named} since snapshot {snapshot.id[:SHORT_ID]} of {when}")
        lines, errors = [], 0
        alarms: list[Alarm] = []
        options = scan_options(context, repository, snapshot)
        if context.profile is not None:
            guards = arguments_of(context.profile, "backup")
            options = replace(options, immutable=immutable_of(guards), locked=locked_of(guards))
        with scan_progress(context) as monitor:
            for path in inner:
                found = status(repository, snapshot, path, options, monitor, read_files=arguments.verify)
                lines += found.lines
                errors += found.errors
                alarms += found.alarms
        code = show_changes(context, lines)
        tell_alarms(context, alarms, snapshot.top, kept=False)
    return exits.PARTLY if errors else code
