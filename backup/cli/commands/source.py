"""imbfs source"""

import argparse
import os

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import printable, show_json, table
from backup.model.errors import UsageError
from backup.model.labels import require_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("lock", "unlock", "list"), help="what to do")
    parser.add_argument("paths", metavar="PATH", nargs="*", help="which")
    parser.add_argument("--reason", metavar="TEXT", default="", help="lock: say why")


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.locks import lock, unlock
    from backup.ops.storing.sources import absolute

    if arguments.reason and arguments.action != "lock":
        raise UsageError("--reason is for `imbfs source lock`")
    if arguments.action == "list":
        if arguments.paths:
            raise UsageError("`imbfs source list` takes no path: it lists all that are locked")
        return _list(context)
    if not arguments.paths:
        raise UsageError(f"`imbfs source {arguments.action}`: name at least one path")
    require_text(arguments.reason)
    paths = [absolute(os.fsencode(path)) for path in arguments.paths]
    if arguments.action == "unlock":
        unlock(paths)
        return exits.DONE
    lock(paths, context.now().isoformat(timespec="seconds"), arguments.reason)
    for path in paths:
        if not os.path.lexists(path):
            context.notice(f"{printable(path)} is locked, and nothing is there now")
    return exits.DONE


def _list(context: Context) -> int:
    from backup.cli.locks import locks

    known = locks()
    if context.json:
        show_json([*known.values()])
    elif known:
        rows = [
            (printable(path), each.since[:16].replace("T", " "), each.reason) for path, each in known.items()
        ]
        table(("PATH", "SINCE", "REASON"), rows)
    else:
        context.notice("nothing is locked")
    return exits.DONE
