"""imbfs duplicates"""

import argparse
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.filters import parse_sizes
from backup.cli.output import count, printable, quoted, show, show_json, size
from backup.cli.selecting import add_filters, find_target
from backup.model.errors import NotFound, UsageError
from backup.model.text import to_name

if TYPE_CHECKING:
    from backup.ops.duplicates import Group


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target",
        metavar="SNAPSHOT[:PATH]",
        nargs="?",
        default="latest",
        help="a snapshot, and a path in it (latest)",
    )
    parser.add_argument("--min-size", metavar="N", default="1", help="only files of at least this size: 1M")
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.ops.duplicates import duplicates
    from backup.snapshots.paths import find_spot, relative_parts

    smallest = parse_sizes(arguments.min_size)[0]
    if smallest is None or smallest < 1:
        raise UsageError(f"{arguments.min_size!r} is no smallest size: write 1, 4k or 10M")
    problems: list[bytes] = []

    def problem(path: bytes, text: str) -> None:
        problems.append(path)
        context.warn(f"{printable(path)}: {text}")

    with context.open_repository() as repository:
        snapshot, path = find_target(context, repository, arguments.target, arguments)
        parts = relative_parts(snapshot, path)
        spot = find_spot(snapshot.root, parts, repository.tree)
        if spot is None:
            raise NotFound(f"there is no {printable(path)} in snapshot {snapshot.id[:12]}")
        groups = duplicates(spot, b"/".join(parts), smallest, repository.tree, problem)
    if context.json:
        show_json(_record(groups))
    else:
        _show(groups)
    return exits.DAMAGE if problems else exits.DONE


def _record(groups: "list[Group]") -> dict[str, Any]:
    return {
        "wasted": sum(group.wasted for group in groups),
        "groups": [
            {
                "size": group.size,
                "files": len(group.inodes),
                "wasted": group.wasted,
                "hash": None if group.hash is None else group.hash.hex(),
                "paths": list(map(to_name, group.paths)),
            }
            for group in groups
        ],
    }


def _show(groups: "list[Group]") -> None:
    if not groups:
        show("no duplicates")
        return
    for group in groups:
        show(f"{len(group.inodes):,} × {size(group.size)}, {size(group.wasted)} too many")
        for path in group.paths:
            show(f"  {quoted(path)}")
    files = sum(len(group.inodes) - 1 for group in groups)
    wasted = size(sum(group.wasted for group in groups))
    show("")
    show(f"{count(files, 'file')} could go: {wasted} in the source, stored once here")
