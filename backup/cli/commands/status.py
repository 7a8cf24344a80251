"""imbfs status"""

import argparse
import os
import socket

from backup.cli import exits
from backup.cli.changes import show_changes
from backup.cli.context import Context
from backup.cli.output import printable, tell
from backup.cli.selecting import scan_options
from backup.model.ids import SHORT_ID


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="*", help="what to look at (what was backed up last)")
    parser.add_argument("--host", metavar="NAME", help="compare with snapshots of this host (this one)")
    parser.add_argument("--verify", action="store_true", help="read files that look different")


def run(context: Context, arguments: argparse.Namespace) -> int:
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
        options = scan_options(context, repository, snapshot)
        with scan_progress(context) as monitor:
            for path in inner:
                found = status(repository, snapshot, path, options, monitor, read_files=arguments.verify)
                lines += found.lines
                errors += found.errors
        code = show_changes(context, lines)
    return exits.PARTLY if errors else code
