"""imbfs tag"""

import argparse
from typing import TYPE_CHECKING

from backup.cli import exits
from backup.cli.commands.snapshots import record
from backup.cli.context import Context
from backup.cli.output import show, show_json
from backup.cli.selecting import add_filters, filter_of
from backup.model.errors import UsageError
from backup.model.ids import SHORT_ID
from backup.model.labels import require_tag, require_text
from backup.model.selector import parse_selector

if TYPE_CHECKING:
    from backup.ops.tag import LabelChange


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshots", metavar="SNAPSHOT", nargs="+", help="those to change")
    parser.add_argument("--add", metavar="T", action="append", default=[], help="add this tag")
    parser.add_argument("--remove", metavar="T", action="append", default=[], help="remove this tag")
    parser.add_argument(
        "--set", metavar="T", action="append", help="have these tags and no others ('': none)"
    )
    parser.add_argument("--description", metavar="TEXT", help="say what it is ('': nothing)")
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.ops.tag import tag
    from backup.snapshots.catalogue import select

    change = _change(arguments)
    with context.open_repository() as repository:
        known = repository.snapshots(filter_of(arguments))
        chosen = [select(parse_selector(text, context.now()), known).id for text in arguments.snapshots]
        snapshots = [tag(repository, snapshot, change) for snapshot in dict.fromkeys(chosen)]
    if context.json:
        show_json([record(snapshot) for snapshot in snapshots])
        return exits.DONE
    for snapshot in snapshots:
        labels = [", ".join(snapshot.labels.tags) or "no tags", snapshot.labels.description]
        show(f"{snapshot.id[:SHORT_ID]}  {'  '.join(filter(None, labels))}")
    return exits.DONE


def _change(arguments: argparse.Namespace) -> "LabelChange":
    from backup.ops.tag import LabelChange

    new = None if arguments.set is None else tuple(tag for tag in arguments.set if tag)
    change = LabelChange(tuple(arguments.add), frozenset(arguments.remove), new, arguments.description)
    if change == LabelChange():
        raise UsageError("say what to change: --add, --remove, --set or --description")
    if new is not None and (change.add or change.remove):
        raise UsageError("--set gives all tags: --add and --remove do not go with it")
    for tag in (*change.add, *(new or ())):
        require_tag(tag)
    for text in (*change.remove, change.description or ""):
        require_text(text)
    return change
