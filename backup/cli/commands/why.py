"""imbfs why"""

import argparse
import os
import socket
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import printable, show, show_json
from backup.cli.rules import add_rules, rules_given, rules_of
from backup.model.errors import NoRepository, UsageError
from backup.model.ids import SHORT_ID
from backup.model.text import to_name

if TYPE_CHECKING:
    from backup.ops.why import Verdict
    from backup.snapshots.manifest import Snapshot
    from backup.source.descent import Identity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="+", help="what to ask about; it need not exist")
    parser.add_argument(
        "--source", metavar="PATH", action="append", default=[],
        help="what is backed up (what this host's last snapshot has, by its rules)",
    )  # fmt: skip
    add_rules(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.ops.storing.recorded import recorded
    from backup.ops.storing.sources import absolute
    from backup.ops.why import Reasons

    rules = rules_of(context, arguments)
    named = arguments.source or (context.profile.paths if context.profile else ())
    sources = [absolute(os.fsencode(path)) for path in named]
    last, skip = _repository(context, needed=not sources)
    if last is not None:
        sources = last.paths
        if not rules_given(arguments):
            rules = recorded(last.body.rules, f"snapshot {last.id[:SHORT_ID]}")
    reasons = Reasons(sources, rules, skip, context.warn)
    verdicts = [reasons.why(os.fsencode(path)) for path in arguments.paths]
    if context.json:
        show_json([_record(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            show(_line(verdict))
    return exits.DONE


def _repository(context: Context, needed: bool) -> "tuple[Snapshot | None, frozenset[Identity]]":
    """This host's last snapshot, where it is needed, and the directories that no backup takes."""
    from backup.ops.backup import own_directories

    try:
        with context.open_repository() as repository:
            skip = own_directories(repository)
            if not needed:
                return None, skip
            host = socket.gethostname()
            found = repository.snapshots(lambda snapshot: snapshot.body.host == host)
    except NoRepository:
        if not needed:
            return None, frozenset()
        raise
    if not found:
        raise UsageError("there is no snapshot of this host to ask: name what is backed up with --source")
    return max(found, key=lambda snapshot: snapshot.body.started_ns), skip


def _record(verdict: "Verdict") -> dict[str, Any]:
    return {
        "path": to_name(verdict.path),
        "included": verdict.included,
        "exists": verdict.exists,
        "rule": verdict.rule,
        "at": to_name(verdict.at),
        "reason": verdict.reason,
        "pattern": verdict.pattern,
        "origin": verdict.origin,
    }


def _line(verdict: "Verdict") -> str:
    head = "in " if verdict.included else "out"
    above = "" if verdict.at == verdict.path else f"{printable(verdict.at)} stays out: "
    gone = "" if verdict.exists else " (it is not there)"
    return f"{head}  {printable(verdict.path)}: {above}{printable(os.fsencode(verdict.reason))}{gone}"
