"""imbfs scrub"""

import argparse
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.commands.check import subset_of
from backup.cli.context import Context
from backup.cli.output import count, printable, show, show_json, size, tell
from backup.cli.priority import give_way
from backup.cli.seals import add_namespace, seals_of
from backup.library.environment import cache_directory
from backup.model.errors import UsageError
from backup.model.ids import SHORT_ID
from backup.model.text import to_name

if TYPE_CHECKING:
    from backup.ops.scrub import Found, Report, State
    from backup.snapshots.manifest import Snapshot

_WORDS: "dict[State, str]" = {
    "silent": "changed silently",
    "unreadable": "unreadable",
    "modified": "modified",
    "unknown": "unknown",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="*", help="what to read (what was backed up last)")
    parser.add_argument("--host", metavar="NAME", help="compare with a snapshot of this host (this one)")
    parser.add_argument(
        "--subset",
        metavar="PERCENT|N/M",
        help="read so much only: the files unread for longest, or the Nth of M parts",
    )
    add_namespace(parser)
    parser.add_argument("--low-priority", action="store_true", help="give way to other programs")
    parser.add_argument("--forget", action="store_true", help="remove the hashes kept on files; read nothing")


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.progress import scan_progress
    from backup.ops.scrub import scrub
    from backup.ops.status import find_source

    subset = None if arguments.subset is None else subset_of(arguments.subset)
    if arguments.low_priority:
        give_way()
    if arguments.forget:
        return _forget(context, arguments)
    with context.open_repository() as repository:
        paths = [os.fsencode(path) for path in arguments.paths]
        snapshot, inner = find_source(repository.snapshots(), arguments.host or socket.gethostname(), paths)
        paths = snapshot.paths if inner == [b""] else inner
        log = cache_directory() / "imbfs" / repository.config.id / f"scrub.{arguments.namespace}"
        seals = seals_of(repository, arguments.namespace)
        with scan_progress(context) as monitor:
            report = scrub(repository, snapshot, paths, seals, monitor, subset, log, _teller(context))
    if context.json:
        show_json(_record(report, snapshot))
    else:
        _show(report, snapshot)
    if report.count("silent"):
        return exits.DAMAGE
    return exits.PARTLY if report.count("unreadable") else exits.DONE


def _teller(context: Context) -> "Callable[[Found], None]":
    def tell_found(found: "Found") -> None:
        if context.json or (found.state in ("modified", "unknown") and not context.verbose):
            return
        text = f": {found.text}" if found.text else ""
        show(f"{_WORDS[found.state]}: {printable(found.path)}{text}")

    return tell_found


def _show(report: "Report", snapshot: "Snapshot") -> None:
    parts = [f"{count(report.count('intact'), 'file')} as kept, {size(report.bytes_read)} read"]
    for state, word in _WORDS.items():
        if report.count(state):
            parts.append(f"{report.count(state):,} {word}")
    if report.count("passed"):
        parts.append(f"{report.count('passed'):,} not read this time")
    show("; ".join(parts))
    if report.count("silent"):
        tell(
            "imbfs: to put one back as it was:"
            f" imbfs restore {snapshot.id[:SHORT_ID]}:PATH --in-place --verify"
        )


def _record(report: "Report", snapshot: "Snapshot") -> dict[str, Any]:
    return {
        "snapshot": snapshot.id,
        "intact": report.count("intact"),
        "modified": report.count("modified"),
        "unknown": report.count("unknown"),
        "silent": [to_name(found.path) for found in report.found if found.state == "silent"],
        "unreadable": [
            {"path": to_name(found.path), "error": found.text}
            for found in report.found
            if found.state == "unreadable"
        ],
        "not_read": report.count("passed"),
        "bytes_read": report.bytes_read,
    }


def _forget(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.progress import scan_progress
    from backup.ops.scrub import forget_seals
    from backup.ops.storing.sources import absolute
    from backup.source.seals import attribute_of

    if not arguments.paths:
        raise UsageError("--forget removes what was written on files: name the paths")
    if arguments.subset is not None:
        raise UsageError("--forget reads nothing: leave out --subset")
    paths = [absolute(os.fsencode(path)) for path in arguments.paths]
    with context.open_repository() as repository, scan_progress(context) as monitor:
        result = forget_seals(repository, paths, attribute_of(arguments.namespace), monitor)
    if context.json:
        show_json({"removed": result.removed, "errors": result.errors})
    elif not context.quiet:
        tell(f"imbfs: {count(result.removed, 'file')} had a hash: removed")
    return exits.PARTLY if result.errors else exits.DONE
