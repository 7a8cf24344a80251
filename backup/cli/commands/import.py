"""imbfs import"""

import argparse
import os
import socket

from backup.cli import exits
from backup.cli.commands.backup import result_record, tell_result
from backup.cli.context import Context
from backup.cli.output import show_json
from backup.cli.rules import add_rules, rules_of
from backup.library.environment import user_name
from backup.model.errors import UsageError
from backup.model.labels import require_tag, require_text
from backup.model.selector import parse_time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the copy")
    parser.add_argument("--time", metavar="TIME", required=True, help="when the copy was made")
    parser.add_argument("--as", dest="shown_as", metavar="PATH", help="what it is a copy of (DIR itself)")
    parser.add_argument("--host", metavar="NAME", help="the host that it is a copy of (this one)")
    parser.add_argument("--tag", metavar="T", action="append", default=[], help="label the snapshot")
    parser.add_argument("--description", metavar="TEXT", default="", help="say what it is")
    add_rules(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.progress import backup_progress
    from backup.ops.backup import BackupOptions
    from backup.ops.take_in import take_in

    for tag in arguments.tag:
        require_tag(tag)
    for text in (arguments.description, arguments.host or ""):
        require_text(text)
    now = context.now()
    when = parse_time(arguments.time, now)
    if when > now:
        raise UsageError(f"--time {arguments.time}: a copy was not made in the future")
    if arguments.shown_as is not None and not os.path.isabs(arguments.shown_as):
        raise UsageError(f"--as {arguments.shown_as}: give the whole path, beginning with /")
    shown_as = None if arguments.shown_as is None else os.fsencode(os.path.normpath(arguments.shown_as))
    options = BackupOptions(
        time=when,
        host=arguments.host or socket.gethostname(),
        user=user_name(),
        tags=list(dict.fromkeys(arguments.tag)),
        description=arguments.description,
        rules=rules_of(context, arguments),
    )
    path = os.fsencode(arguments.directory)
    with context.open_repository() as repository, backup_progress(context, [path]) as monitor:
        result = take_in(repository, path, shown_as, options, monitor)
    if context.json:
        show_json(result_record(result))
    elif not context.quiet:
        tell_result(result, False)
    return exits.PARTLY if result.statistics.errors else exits.DONE
