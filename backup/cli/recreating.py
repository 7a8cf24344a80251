"""`imbfs export --recreate`."""

import argparse
import dataclasses
import os

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import count, printable, show_json, tell
from backup.model.errors import UsageError

_HEADS = {
    "missing": "made anew",
    "damaged": "was damaged, and is made anew",
    "other": "replaced by one made anew",
    "same": "is as it would be made anew, and stays",
}


def run_recreate(context: Context, arguments: argparse.Namespace) -> int:
    """Raises `UsageError` for what cannot go together."""
    from backup.ops.recreate import recreate

    _require_alone(arguments)
    directory = os.fsencode(os.path.abspath(arguments.recreate))
    summary = recreate(directory, force=arguments.force, dry_run=arguments.dry_run)
    if context.json:
        show_json({**dataclasses.asdict(summary), "dry_run": arguments.dry_run})
    elif not context.quiet:
        head = "dry run, nothing written: " if arguments.dry_run else ""
        number = sum(summary.changes.values())
        kinds = ", ".join(f"{number:,} {word}" for word, number in sorted(summary.changes.items()))
        what = count(number, "change") + (f" ({kinds})" if kinds else "")
        place = printable(os.path.join(directory, b"changes.jsonl"))
        tell(f"{head}{place} {_HEADS[summary.found]}: {what}")
        if summary.written:
            context.notice("whether the export was whole cannot be told; the first line says what else")
    return exits.DONE


def _require_alone(arguments: argparse.Namespace) -> None:
    if not arguments.recreate:
        raise UsageError("--recreate: name the directory of an exported increment")
    names = ("source", "directory", "tar", "volume_size", "workers", "host")
    given = any(getattr(arguments, name) is not None for name in names)
    if given or arguments.increment or arguments.path or arguments.tag:
        raise UsageError(
            "--recreate works on DIR alone: it goes with --force and --dry-run, and without SNAPSHOT"
        )
