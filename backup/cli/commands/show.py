"""imbfs show"""

import argparse

import msgspec

from backup.cli import exits
from backup.cli.commands.snapshots import record
from backup.cli.context import Context
from backup.cli.output import printable, show, show_json, size
from backup.cli.selecting import add_filters, find_snapshot
from backup.model.text import to_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshot", metavar="SNAPSHOT", help="latest, latest~2, an id, @2026-11-01, tag:NAME")
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    with context.open_repository() as repository:
        snapshot = find_snapshot(context, repository, arguments.snapshot, arguments)
    body = snapshot.body
    figures = msgspec.to_builtins(body.statistics)
    if context.json:
        more = {
            "root": body.root,
            "top": body.top,
            "program": body.program,
            "original": body.original,
            "statistics": figures,
        }
        show_json(record(snapshot) | more)
        return exits.DONE
    lines = {
        "id": snapshot.id,
        "time": body.time,
        "host": body.host,
        "user": body.user,
        "paths": " ".join(printable(to_bytes(path)) for path in body.paths),
        "shown from": printable(to_bytes(body.top)),
        "tags": ", ".join(snapshot.labels.tags),
        "description": snapshot.labels.description,
        "parent": body.parent or "",
        "rewritten from": body.original or "",
        "root": body.root,
        "made by": body.program,
    }
    for name, text in lines.items():
        show(f"{name:>16}  {text}".rstrip())
    for name, number in figures.items():
        shown = size(number) if name.startswith("bytes") else f"{number:,}"
        show(f"{name.replace('_', ' '):>16}  {shown}")
    return exits.DONE
