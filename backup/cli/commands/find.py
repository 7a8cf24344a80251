"""imbfs find"""

import argparse
from itertools import chain
from typing import TYPE_CHECKING, get_args

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.filters import parse_hash, parse_owner, parse_sizes, parse_times
from backup.cli.output import printable, show, show_json_array
from backup.cli.selecting import add_filters, filter_of
from backup.model.entry import Kind
from backup.model.errors import UsageError

if TYPE_CHECKING:
    from backup.ops.find import Query
    from backup.repository import Repository
    from backup.snapshots.manifest import Snapshot


_FILTERS = ("size", "time", "kind", "owner", "hash")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "patterns", metavar="PATTERN", nargs="*", help="a name, or with a slash a path: *.txt"
    )
    parser.add_argument("-i", "--ignore-case", action="store_true", help="take a and A for the same")
    parser.add_argument("--size", metavar="RANGE", help="10M, +10M, '<4k' or 1k..10M")
    parser.add_argument("--time", metavar="RANGE", help="last modified: 2026-11-01, '2 days ago..', A..B")
    parser.add_argument("--kind", metavar="KIND", help="file, dir, symlink, fifo, socket, block, char")
    parser.add_argument("--owner", metavar="USER[:GROUP]", help="by name or number")
    parser.add_argument("--hash", metavar="HEX", help="files whose content's hash begins so")
    parser.add_argument("--deleted", action="store_true", help="only what the latest snapshot lacks")
    parser.add_argument(
        "-s", "--snapshot", metavar="SNAPSHOT", action="append", default=[], help="only in these"
    )
    parser.add_argument("--last", metavar="N", type=_positive, help="only in the N newest snapshots")
    parser.add_argument("--script", metavar="FILE", help="write a shell script that restores what was found")
    add_filters(parser)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of snapshots: write 1 or more")
    return int(text)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.restore_script import write_script
    from backup.cli.versions import show_versions, version_record
    from backup.ops.find import find

    query = _query(context, arguments)
    problems: list[bytes] = []

    def problem(path: bytes, text: str) -> None:
        problems.append(path)
        context.warn(f"{printable(path)}: {text}")

    with context.open_repository() as repository:
        every = repository.snapshots()
        snapshots = _chosen(context, repository, arguments)
        found = chain.from_iterable(find(repository, snapshots, query, every, problem))
        if arguments.script is not None:
            write_script(context, repository.path, found, arguments.script)
        elif context.json:
            show_json_array(map(version_record, found))
        else:
            first = next(found, None)
            if first is None:
                show("nothing found")
            else:
                show_versions(chain([first], found))
    return exits.DAMAGE if problems else exits.DONE


def _query(context: Context, arguments: argparse.Namespace) -> "Query":
    """Raises `UsageError` for a filter that is none."""
    from backup.ops.find import Query
    from backup.source.masks import Mask

    if (
        not arguments.patterns
        and not arguments.deleted
        and not any(getattr(arguments, name) for name in _FILTERS)
    ):
        raise UsageError("name a pattern, such as '*.txt', or a filter, such as --size +1G")
    smallest, largest = parse_sizes(arguments.size) if arguments.size else (None, None)
    since, until = parse_times(arguments.time, context.now()) if arguments.time else (None, None)
    owner, group = parse_owner(arguments.owner) if arguments.owner else (None, None)
    return Query(
        masks=[Mask(text, ignore_case=arguments.ignore_case) for text in arguments.patterns],
        smallest=smallest,
        largest=largest,
        since=since,
        until=until,
        kinds=_kinds(arguments.kind) if arguments.kind else frozenset(),
        owner=owner,
        group=group,
        hash=parse_hash(arguments.hash) if arguments.hash else None,
        deleted=arguments.deleted,
    )


def _kinds(text: str) -> frozenset[Kind]:
    known: tuple[Kind, ...] = get_args(Kind)
    wanted = text.split(",")
    for name in wanted:
        if name not in known:
            raise UsageError(f"{name!r} is no kind: there are {', '.join(known)}; several with commas")
    return frozenset(kind for kind in known if kind in wanted)


def _chosen(context: Context, repository: "Repository", arguments: argparse.Namespace) -> "list[Snapshot]":
    from backup.model.selector import parse_selector
    from backup.snapshots.catalogue import select

    snapshots = repository.snapshots(filter_of(arguments))
    if arguments.snapshot:
        wanted = {select(parse_selector(text, context.now()), snapshots).id for text in arguments.snapshot}
        snapshots = [snapshot for snapshot in snapshots if snapshot.id in wanted]
    return snapshots[-arguments.last :] if arguments.last else snapshots
