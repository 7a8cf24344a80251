"""imbfs snapshots"""

import argparse
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import printable, show, show_json, size, table
from backup.cli.selecting import add_filters, filter_of
from backup.model.ids import SHORT_ID
from backup.model.text import to_bytes

if TYPE_CHECKING:
    from backup.snapshots.manifest import Snapshot


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    with context.open_repository() as repository:
        snapshots = repository.snapshots(filter_of(arguments))
    if context.json:
        show_json([record(snapshot) for snapshot in snapshots])
    elif snapshots:
        heads = ("ID", "TIME", "HOST", "FILES", "SIZE", "TAGS", "PATHS")
        table(heads, map(_row, snapshots), right=(3, 4))
    else:
        show("no snapshots")
    return exits.DONE


def record(snapshot: "Snapshot") -> dict[str, Any]:
    """A snapshot as JSON output has it."""
    body = snapshot.body
    return {
        "id": snapshot.id,
        "time": body.time,
        "host": body.host,
        "user": body.user,
        "paths": body.paths,
        "tags": snapshot.labels.tags,
        "parent": body.parent,
        "description": snapshot.labels.description,
        "files": body.statistics.files,
        "bytes": body.statistics.bytes,
    }


def _row(snapshot: "Snapshot") -> tuple[str, ...]:
    body = snapshot.body
    return (
        snapshot.id[:SHORT_ID],
        body.time[:19].replace("T", " "),
        body.host,
        f"{body.statistics.files:,}",
        size(body.statistics.bytes),
        ",".join(snapshot.labels.tags),
        " ".join(printable(to_bytes(path)) for path in body.paths),
    )
