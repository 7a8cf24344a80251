"""imbfs backup"""

import argparse
import os
import socket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.guards import add_guards, alarm_records, immutable_of, locked_of, tell_alarms
from backup.cli.metrics import add_metrics
from backup.cli.output import count, size, tell
from backup.cli.priority import give_way, spare_collections
from backup.cli.rules import add_rules, read_bytes, rules_of
from backup.cli.seals import add_namespace, first_seals_of, seals_of
from backup.cli.stream import add_stream, open_stream, wants_stream
from backup.cli.workers import parse_workers
from backup.library.environment import user_name
from backup.model.errors import UsageError
from backup.model.ids import SHORT_ID
from backup.model.labels import require_tag, require_text
from backup.model.selector import parse_time
from backup.model.size import parse_size

if TYPE_CHECKING:
    from backup.ops.backup import BackupOptions, BackupResult
    from backup.repository import Repository

#: Slower than this, nothing would ever be done.
MIN_RATE = 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="*", help="what to back up")
    parser.add_argument("--tag", metavar="T", action="append", default=[], help="label the snapshot")
    parser.add_argument("--description", metavar="TEXT", default="", help="say what it is")
    parser.add_argument("--host", metavar="NAME", help="the host's name (this one's)")
    parser.add_argument("--time", metavar="TIME", help="the snapshot's time (now)")
    parser.add_argument("--read-all", action="store_true", help="read every file, changed or not")
    parser.add_argument("--dry-run", action="store_true", help="store nothing, tell what would be stored")
    parser.add_argument("--skip-unchanged", action="store_true", help="no snapshot where nothing changed")
    parser.add_argument(
        "--limit-rate", metavar="RATE", help="read so many bytes a second at most, such as 20M"
    )
    parser.add_argument("--low-priority", action="store_true", help="give way to other programs")
    parser.add_argument(
        "--workers",
        metavar="N",
        type=parse_workers,
        help="processes that read and compress (one for each CPU)",
    )
    parser.add_argument("--approve", action="store_true", help="show what changed, and store it after a yes")
    parser.add_argument(
        "--expect", choices=("only-additions", "only-renames", "none"),
        help="store nothing where there are other changes (exit 4, or 5 for renames)",
    )  # fmt: skip
    parser.add_argument("--xattr-hash", action="store_true", help="keep each file's hash on it, and go by it")
    add_namespace(parser)
    parser.add_argument("--ignore-ctime", action="store_true", help="compare files without their ctime")
    parser.add_argument("--ignore-inode", action="store_true", help="compare files without inode numbers")
    parser.add_argument("--accept-unmounted", action="store_true", help="take an empty mount point as it is")
    parser.add_argument("--files-from", metavar="FILE", action="append", default=[], help="paths, one a line")
    parser.add_argument(
        "--files-from0", metavar="FILE", action="append", default=[], help="paths, a NUL byte after each"
    )
    add_guards(parser)
    add_stream(parser)
    add_rules(parser)
    add_metrics(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.approval import judge_of
    from backup.cli.changes import show_lines
    from backup.cli.progress import backup_progress
    from backup.ops.backup import backup, last_figures

    spare_collections()
    options = options_of(context, arguments)
    if arguments.low_priority:
        give_way()
    stream = wants_stream(arguments)
    paths = [] if stream else paths_of(context, arguments)
    if arguments.namespace != 1 and not arguments.xattr_hash:
        raise UsageError("--namespace chooses where --xattr-hash keeps hashes: give both")
    _make_default_repository(context)
    with (
        context.open_repository() as repository,
        backup_progress(context, paths, lambda: last_figures(repository, paths, options)) as monitor,
    ):
        options = _with_seals(options, repository, arguments)
        judge = judge_of(arguments.approve, arguments.expect, monitor)
        if judge is None and arguments.dry_run and context.verbose and not context.json:
            judge = partial(show_lines, context)
        if stream:
            from backup.ops.stream import backup_stream

            name = os.fsencode(arguments.stdin_name)
            with open_stream(arguments) as (fd, ended):
                result = backup_stream(repository, fd, name, options, monitor, ended)
        elif judge is None:
            result = backup(repository, paths, options, monitor)
        else:
            from backup.ops.approve import backup_approved

            listed = arguments.dry_run and not arguments.approve and not arguments.expect
            result = backup_approved(repository, paths, options, monitor, judge, judge_first=listed)
    tell_alarms(context, result.alarms, result.top)
    context.report(result_record(result))
    if not context.json and not context.quiet:
        tell_result(result, arguments.dry_run)
    if result.alarms:
        return exits.ALARM
    return exits.PARTLY if result.statistics.errors else exits.DONE


def paths_of(context: Context, arguments: argparse.Namespace) -> list[bytes]:
    """Those named, else the profile's. Raises `UsageError`; OSError where a list cannot be read."""
    named = arguments.paths or (context.profile.paths if context.profile else ())
    paths = [os.fsencode(path) for path in named]
    for files, separator in ((arguments.files_from, b"\n"), (arguments.files_from0, b"\0")):
        for file in files:
            paths += filter(None, read_bytes(file).split(separator))
    if not paths:
        raise UsageError("name at least one path to back up")
    return paths


def options_of(context: Context, arguments: argparse.Namespace) -> "BackupOptions":
    """Raises `UsageError`; OSError where a file of patterns cannot be read."""
    from backup.cli.profiles.naming import names_of
    from backup.ops.backup import BackupOptions

    for tag in arguments.tag:
        require_tag(tag)
    for text in (arguments.description, arguments.host or ""):
        require_text(text)
    now = context.now()
    return BackupOptions(
        time=parse_time(arguments.time, now) if arguments.time else now,
        host=arguments.host or socket.gethostname(),
        user=user_name(),
        tags=list(dict.fromkeys(arguments.tag)),
        description=arguments.description,
        read_all=arguments.read_all,
        dry_run=arguments.dry_run,
        skip_unchanged=arguments.skip_unchanged,
        workers=arguments.workers,
        limit_rate=_rate(arguments.limit_rate),
        rules=rules_of(context, arguments),
        names=names_of(context.profile),
        ignore_ctime=arguments.ignore_ctime,
        ignore_inode=arguments.ignore_inode,
        accept_unmounted=arguments.accept_unmounted,
        immutable=immutable_of(arguments),
        locked=locked_of(arguments),
    )


def _with_seals(
    options: "BackupOptions", repository: "Repository", arguments: argparse.Namespace
) -> "BackupOptions":
    if not arguments.xattr_hash:
        return replace(options, seals=seals_of(repository))
    return replace(options, seals=first_seals_of(repository, arguments.namespace), seal=True)


def _rate(text: str | None) -> int | None:
    if text is None:
        return None
    rate = parse_size(text.removesuffix("/s"), "--limit-rate")
    if rate < MIN_RATE:
        raise UsageError(f"--limit-rate {text}: that is less than {MIN_RATE:,} bytes a second")
    return rate


def _make_default_repository(context: Context) -> None:
    """The first backup makes the default repository. One that was named is never made up."""
    from backup.repository import Repository
    from backup.repository.config import Config, new_config

    path = context.repository_path
    if context.repository_named or (path.exists() and any(path.iterdir())):
        return
    Repository.create(path, new_config(Config().hash, Config().compression, Config().pack_size))
    context.warn(f"made a new repository at {path}")


def result_record(result: "BackupResult") -> dict[str, Any]:
    figures = result.statistics
    return {
        "snapshot": result.snapshot,
        "parent": result.parent,
        "files": figures.files,
        "files_new": figures.files_new,
        "files_changed": figures.files_changed,
        "files_unchanged": figures.files_unchanged,
        "files_removed": figures.files_removed,
        "dirs": figures.dirs,
        "bytes_source": figures.bytes,
        "bytes_read": figures.bytes_read,
        "bytes_deduplicated": figures.bytes_deduplicated,
        "bytes_added": figures.bytes_added,
        "bytes_stored": figures.bytes_stored,
        "errors": figures.errors,
        "alarms": alarm_records(result.alarms),
        "seconds": figures.seconds,
        "unchanged": result.unchanged,
        "written": [*result.written],
    }


def tell_result(result: "BackupResult", dry_run: bool) -> None:
    figures = result.statistics
    if result.snapshot is not None:
        head = f"snapshot {result.snapshot[:SHORT_ID]}"
    else:
        head = "dry run, nothing stored" if dry_run else "nothing changed, no snapshot made"
    tell(
        f"{head}: {count(figures.files, 'file')}, {size(figures.bytes)} in {figures.seconds:.1f} s"
        + (f"; {count(figures.errors, 'item')} could not be read" if figures.errors else "")
    )
    tell(
        f"  {figures.files_new:,} new, {figures.files_changed:,} changed,"
        f" {figures.files_unchanged:,} unchanged, {figures.files_removed:,} removed"
    )
    tell(
        f"  {size(figures.bytes_read)} read, {size(figures.bytes_deduplicated)} of it stored already;"
        f" {size(figures.bytes_added)} new with metadata, {size(figures.bytes_stored)} on disk"
    )
