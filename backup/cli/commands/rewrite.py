"""imbfs rewrite"""

import argparse
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import count, printable, show, show_json, size, tell
from backup.cli.rules import add_patterns, patterns_of
from backup.cli.selecting import add_filters, filter_of
from backup.model.errors import UsageError
from backup.model.ids import SHORT_ID
from backup.model.selector import parse_selector
from backup.model.text import to_name

if TYPE_CHECKING:
    from backup.ops.rewrite import Rewritten
    from backup.repository import Repository
    from backup.snapshots.manifest import Snapshot
    from backup.source.rules import Rules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshots", metavar="SNAPSHOT", nargs="+", help="those to rewrite")
    add_patterns(parser.add_argument_group("what is left out"))
    parser.add_argument("--forget", action="store_true", help="forget those that were rewritten")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be left out, do nothing")
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.ops.forget import forget
    from backup.ops.rewrite import rewrite

    rules = _rules(context, arguments)
    with context.open_repository() as repository:
        snapshots = _chosen(context, repository, arguments)
        found = rewrite(repository, snapshots, rules, dry_run=arguments.dry_run)
        originals = [each.original for each in found if each.snapshot is not None]
        if arguments.forget:
            forget(repository, originals)
    for each in found:
        if each.error is not None:
            context.warn(f"snapshot {each.original[:SHORT_ID]} stays as it is: {each.error}")
    if context.json:
        gone = originals if arguments.forget else []
        show_json({"dry_run": arguments.dry_run, "forgotten": gone, "snapshots": [*map(_record, found)]})
    else:
        for each in found:
            _show(each, paths=arguments.dry_run or context.verbose > 0)
        if not context.quiet and not arguments.dry_run:
            _tell(len(originals), arguments.forget)
    return exits.DAMAGE if any(each.error is not None for each in found) else exits.DONE


def _rules(context: Context, arguments: argparse.Namespace) -> "Rules":
    rules = patterns_of(context, arguments)
    if not any(not pattern.negative for pattern in (*rules.patterns, *rules.weak_patterns)):
        raise UsageError("say what to leave out: --exclude PATTERN, or --exclude-file FILE")
    return rules


def _chosen(context: Context, repository: "Repository", arguments: argparse.Namespace) -> "list[Snapshot]":
    """Oldest first, each once."""
    from backup.snapshots.catalogue import select

    known = repository.snapshots(filter_of(arguments))
    chosen = {select(parse_selector(text, context.now()), known).id for text in arguments.snapshots}
    return [snapshot for snapshot in known if snapshot.id in chosen]


def _show(found: "Rewritten", paths: bool) -> None:
    if found.error is not None:
        return
    original = found.original[:SHORT_ID]
    if not found.excluded:
        show(f"{original}  nothing fits")
        return
    new = f" -> {found.snapshot[:SHORT_ID]}" if found.snapshot is not None else ""
    show(f"{original}{new}  without {count(found.files, 'file')}, {size(found.size)}")
    for path in found.excluded if paths else ():
        show(f"  {printable(path)}")


def _tell(number: int, forgotten: bool) -> None:
    if not number:
        tell("nothing was rewritten")
        return
    originals = "are forgotten" if forgotten else "stay: --forget drops them"
    tell(f"{count(number, 'new snapshot')}; the originals {originals}")


def _record(found: "Rewritten") -> dict[str, Any]:
    return {
        "original": found.original,
        "snapshot": found.snapshot,
        "files_removed": found.files,
        "bytes_removed": found.size,
        "excluded": [to_name(path) for path in found.excluded],
        "error": None if found.error is None else str(found.error),
    }
