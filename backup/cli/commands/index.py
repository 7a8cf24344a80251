"""imbfs index"""

import argparse

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import show, show_json, size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("rebuild", "status"), help="make it anew, or show what it holds")


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.ops.rebuild_index import rebuild_index

    with context.open_repository() as repository:
        if arguments.action == "rebuild":
            rebuild_index(repository)
        status = repository.index.status()
    if context.json:
        show_json(status._asdict())
    else:
        show(f"{status.path}: {size(status.bytes)}")
        show(
            f"{status.objects:,} objects, {status.trees:,} trees,"
            f" {status.packs:,} packs in {status.segments:,} segments"
        )
    return exits.DONE
