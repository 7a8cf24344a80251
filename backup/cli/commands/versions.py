"""imbfs versions"""

import argparse
import os

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import printable, show_json_array
from backup.cli.selecting import add_filters, filter_of, find_target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="PATH", help="a path at the source, or in a snapshot: latest:a.txt")
    parser.add_argument("--follow", action="store_true", help="also under the names that it had before")
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.versions import show_versions, version_record
    from backup.ops.versions import versions

    problems: list[bytes] = []

    def problem(path: bytes, text: str) -> None:
        problems.append(path)
        context.warn(f"{printable(path)}: {text}")

    given = os.fsencode(arguments.file)
    with context.open_repository() as repository:
        snapshots = repository.snapshots(filter_of(arguments))
        paths = [os.path.abspath(given), given.strip(b"/")] if not given.startswith(b"/") else [given]
        if b":" in given and not os.path.lexists(given):
            snapshot, inner = find_target(context, repository, arguments.file, arguments)
            paths.insert(0, os.path.join(snapshot.top, inner))
        found = versions(repository, snapshots, paths, follow=arguments.follow, problem=problem)
    if context.json:
        show_json_array(map(version_record, found))
    else:
        show_versions(found)
    return exits.DAMAGE if problems else exits.DONE
