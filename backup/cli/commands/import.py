"""imbfs import"""

import argparse
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from backup.cli import exits
from backup.cli.commands.backup import result_record, tell_result
from backup.cli.context import Context
from backup.cli.output import show_json
from backup.cli.rules import add_rules, rules_of
from backup.library.environment import user_name
from backup.model.errors import ImbfsError, UsageError
from backup.model.labels import require_tag, require_text
from backup.model.selector import parse_time

if TYPE_CHECKING:
    from backup.ops.backup import BackupOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="DIR|TAR", help="the copy; - for a tar file from stdin")
    parser.add_argument("--time", metavar="TIME", help="when the copy was made (the time of TAR)")
    parser.add_argument("--as", dest="shown_as", metavar="PATH", help="what it is a copy of (itself)")
    parser.add_argument("--host", metavar="NAME", help="the host that it is a copy of (this one)")
    parser.add_argument("--tag", metavar="T", action="append", default=[], help="label the snapshot")
    parser.add_argument("--description", metavar="TEXT", default="", help="say what it is")
    add_rules(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.progress import backup_progress

    with _opened(arguments.source) as tar:
        options = _options(context, arguments, tar)
        top = _top(arguments)
        path = os.fsencode(arguments.source)
        with (
            context.open_repository() as repository,
            backup_progress(context, [] if tar else [path]) as monitor,
        ):
            if tar is None:
                from backup.ops.take_in import take_in

                result = take_in(repository, path, top, options, monitor)
            else:
                from backup.ops.take_in_tar import take_in_tar

                shown = "stdin" if arguments.source == "-" else arguments.source
                assert top is not None, "a tar file has a place"
                result = take_in_tar(repository, tar, shown, top, options, monitor)
    if context.json:
        show_json(result_record(result))
    elif not context.quiet:
        tell_result(result, False)
    return exits.PARTLY if result.statistics.errors else exits.DONE


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO | None]:
    """The tar file; None for a directory. Raises `ImbfsError`."""
    if source == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("nothing is piped into imbfs: name a directory or a tar file")
        yield sys.stdin.buffer
        # Whoever writes to the pipe is not to fail for the padding at the end.
        while sys.stdin.buffer.read(1 << 16):
            pass
        return
    try:
        if os.path.isdir(source):
            yield None
            return
        file = open(source, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ImbfsError(f"{source}: {error.strerror}: name a directory or a tar file") from error
    with file:
        yield file


def _options(context: Context, arguments: argparse.Namespace, tar: BinaryIO | None) -> "BackupOptions":
    """Raises `UsageError`."""
    from backup.ops.backup import BackupOptions

    for tag in arguments.tag:
        require_tag(tag)
    for text in (arguments.description, arguments.host or ""):
        require_text(text)
    rules = rules_of(context, arguments)
    if tar is not None and (rules.markers or rules.one_file_system):
        raise UsageError("what only shows in a live tree cannot be left out of a tar file: use --exclude")
    return BackupOptions(
        time=_time(context, arguments, tar),
        host=arguments.host or socket.gethostname(),
        user=user_name(),
        tags=list(dict.fromkeys(arguments.tag)),
        description=arguments.description,
        rules=rules,
    )


def _time(context: Context, arguments: argparse.Namespace, tar: BinaryIO | None) -> datetime:
    now = context.now()
    if arguments.time is not None:
        when = parse_time(arguments.time, now)
    elif tar is None or arguments.source == "-":
        raise UsageError("say with --time when the copy was made")
    else:
        when = datetime.fromtimestamp(os.fstat(tar.fileno()).st_mtime, now.tzinfo)
    if when > now:
        said = arguments.time or f"{when:%Y-%m-%d %H:%M}, the time of the file"
        raise UsageError(f"--time {said}: a copy was not made in the future")
    return when


def _top(arguments: argparse.Namespace) -> bytes | None:
    """The path that it is a copy of; None for that of a directory itself. Raises `UsageError`."""
    if arguments.shown_as is None:
        if arguments.source == "-":
            raise UsageError("say with --as what it is a copy of: a path, beginning with /")
        return None if os.path.isdir(arguments.source) else os.fsencode(os.path.abspath(arguments.source))
    if not os.path.isabs(arguments.shown_as):
        raise UsageError(f"--as {arguments.shown_as}: give the whole path, beginning with /")
    return os.fsencode("/" + os.path.normpath(arguments.shown_as).lstrip("/"))
