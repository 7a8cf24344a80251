"""imbfs stats"""

import argparse
import shutil
import sys
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.commands.snapshots import record
from backup.cli.context import Context
from backup.cli.output import count, printable, show, show_json, size, table, write
from backup.cli.selecting import add_filters, filter_of, find_target
from backup.model.errors import NotFound, UsageError
from backup.model.ids import SHORT_ID, SnapshotId
from backup.model.selector import parse_selector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backup.model.entry import Entry
    from backup.model.ids import ObjectId
    from backup.ops.measuring.amounts import Amount, Divided
    from backup.ops.stats import Stats
    from backup.repository import Repository
    from backup.snapshots.manifest import Snapshot


CHART_HEIGHT = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshots", metavar="SNAPSHOT", nargs="*", help="only these (all)")
    parser.add_argument(
        "--references", action="store_true", help="list how many objects are reached by how many snapshots"
    )
    parser.add_argument(
        "--ncdu", metavar="FILE", help="write SNAPSHOT[:PATH] (latest) to a file that ncdu reads (-: stdout)"
    )
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.ops.stats import stats

    with context.open_repository() as repository:
        if arguments.ncdu is not None:
            return _write_ncdu(context, repository, arguments)
        chosen = _chosen(context, repository, arguments)
        found = stats(repository)
    if context.json:
        show_json(_record(found, chosen))
    else:
        _show(found, chosen, arguments.references)
    if not (found.missing or found.damaged):
        return exits.DONE
    context.warn(
        f"{count(found.damaged, 'tree')} cannot be read and {count(found.missing, 'object')} cannot be found:"
        " the figures are too low; `imbfs check` tells more"
    )
    return exits.DAMAGE


def _chosen(
    context: Context, repository: "Repository", arguments: argparse.Namespace
) -> set[SnapshotId] | None:
    """None: all of them."""
    from backup.snapshots.catalogue import select

    narrowed = arguments.host is not None or arguments.path or arguments.tag
    if not arguments.snapshots and not narrowed:
        return None
    known = repository.snapshots(filter_of(arguments))
    if not arguments.snapshots:
        return {snapshot.id for snapshot in known}
    return {select(parse_selector(text, context.now()), known).id for text in arguments.snapshots}


def _rows(found: "Stats", chosen: set[SnapshotId] | None) -> "list[tuple[Snapshot, Divided, Amount]]":
    """Each snapshot, its figures, and all that it and those before it brought."""
    from itertools import accumulate

    grown = accumulate(each.new for each in found.divided)
    rows = zip(found.snapshots, found.divided, grown, strict=True)
    return [row for row in rows if chosen is None or row[0].id in chosen]


# For people


def _show(found: "Stats", chosen: set[SnapshotId] | None, references: bool) -> None:
    if chosen is None:
        _show_totals(found)
    if references:
        show("")
        _show_references(found)
        return
    rows = _rows(found, chosen)
    if rows:
        show("") if chosen is None else None
        heads = ("ID", "TIME", "SIZE", "STORED", "NEW", "UNIQUE", "SHARE", "GROWN TO")
        table(heads, map(_row, rows), right=range(2, 8))
    if chosen is not None:
        show(f"only in {'this one' if len(chosen) == 1 else 'these'}: {_amount(found.only_in(chosen))}")
    elif sys.stdout is not None and sys.stdout.isatty():
        _show_chart(rows)


def _show_totals(found: "Stats") -> None:
    shown = sum(snapshot.body.statistics.bytes for snapshot in found.snapshots)
    files = sum(snapshot.body.statistics.files for snapshot in found.snapshots)
    sources = {(snapshot.body.host, tuple(snapshot.paths)) for snapshot in found.snapshots}
    data, reached = found.data, found.reached
    lines = {
        "snapshots": f"{len(found.snapshots):,} of {count(len(sources), 'source')}",
        "they show": f"{count(files, 'file')}, {size(shown)}",
        "deduplicated": f"{size(data.plain)} in {count(data.objects, 'chunk')}{_ratio(shown, data.plain)}",
        "compressed": f"{size(data.stored)}{_ratio(data.plain, data.stored)}",
        "trees": f"{size(found.trees.plain)} in {count(found.trees.objects, 'tree')},"
        f" {size(found.trees.stored)} compressed",
        "in all": f"{size(reached.stored)}{_ratio(shown, reached.stored)}",
        **({"contents": _amount(found.contents)} if found.contents.objects else {}),
        "unreachable": _amount(found.unreachable),
        "packs": f"{found.packs:,}, {size(found.packs_size)}",
        "segments": f"{found.segments:,}, {size(found.segments_size)}",
        "index": size(found.index_size),
        **({"quarantine": _quarantine(found)} if found.quarantined else {}),
    }
    for name, text in lines.items():
        show(f"{name:>12}  {text}")


def _ratio(before: float, after: float) -> str:
    return f" ({before / after:.1f} to 1)" if before and after else ""


def _quarantine(found: "Stats") -> str:
    taken = f"{count(found.quarantined, 'file')}, {size(found.quarantined_size)}"
    return f"{taken} (`imbfs repair --discard` deletes them)"


def _amount(amount: "Amount") -> str:
    return f"{count(amount.objects, 'object')}, {size(amount.stored)}"


def _row(row: "tuple[Snapshot, Divided, Amount]") -> tuple[str, ...]:
    snapshot, divided, grown = row
    figures = (divided.reached.stored, divided.new.stored, divided.unique.stored, divided.share, grown.stored)
    return (
        snapshot.id[:SHORT_ID],
        snapshot.body.time[:19].replace("T", " "),
        size(snapshot.body.statistics.bytes),
        *map(size, figures),
    )


def _show_references(found: "Stats") -> None:
    rows = [
        (f"{number:,}", f"{amount.objects:,}", size(amount.plain), size(amount.stored))
        for number, amount in found.references.items()
    ]
    table(("SNAPSHOTS", "OBJECTS", "PLAIN", "STORED"), rows, right=range(4))


def _show_chart(rows: "list[tuple[Snapshot, Divided, Amount]]") -> None:
    from backup.cli.chart import area_chart
    from backup.snapshots.catalogue import time_of

    points = [(time_of(snapshot).timestamp(), grown.stored) for snapshot, _, grown in rows]
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return
    width = min(shutil.get_terminal_size().columns, 120) - 14
    if width < 20:
        return
    show("")
    lines = area_chart(points, width, CHART_HEIGHT, size)
    for line in lines:
        show(line)
    first, last = (rows[place][0].body.time[:10] for place in (0, -1))
    margin = lines[0].index("│") + 1
    show(" " * (margin - 1) + "└" + "─" * width)
    show(" " * margin + first + last.rjust(width - len(first)))


# For programs


def _record(found: "Stats", chosen: set[SnapshotId] | None) -> dict[str, Any]:
    bodies = [snapshot.body.statistics for snapshot in found.snapshots]
    return {
        "totals": {
            "snapshots": len(found.snapshots),
            "files": sum(figures.files for figures in bodies),
            "bytes": sum(figures.bytes for figures in bodies),
            "data": _figures(found.data),
            "trees": _figures(found.trees),
            "reached": _figures(found.reached),
            "contents": _figures(found.contents),
            "unreachable": _figures(found.unreachable),
            "packs": {"number": found.packs, "bytes": found.packs_size},
            "segments": {"number": found.segments, "bytes": found.segments_size},
            "index": {"bytes": found.index_size},
            "quarantine": {"number": found.quarantined, "bytes": found.quarantined_size},
            "missing": found.missing,
            "damaged": found.damaged,
        },
        "snapshots": [_snapshot(*row) for row in _rows(found, chosen)],
        "only_here": None if chosen is None else _figures(found.only_in(chosen)),
        "references": [
            {"snapshots": number, **_figures(amount)} for number, amount in found.references.items()
        ],
    }


def _figures(amount: "Amount") -> dict[str, int]:
    return {"objects": amount.objects, "plain": amount.plain, "stored": round(amount.stored)}


def _snapshot(snapshot: "Snapshot", divided: "Divided", grown: "Amount") -> dict[str, Any]:
    return {
        **record(snapshot),
        "reached": _figures(divided.reached),
        "new": _figures(divided.new),
        "unique": _figures(divided.unique),
        "share": round(divided.share),
        "grown_to": round(grown.stored),
    }


# For ncdu


def _write_ncdu(context: Context, repository: "Repository", arguments: argparse.Namespace) -> int:
    from backup.cli.ncdu import ncdu_export
    from backup.snapshots.paths import find_entry, source_path

    if len(arguments.snapshots) > 1:
        raise UsageError("--ncdu takes one snapshot")
    text = arguments.snapshots[0] if arguments.snapshots else "latest"
    snapshot, path = find_target(context, repository, text, arguments)
    top, parts = find_entry(snapshot, path, repository.tree)
    if top.tree is None:
        raise NotFound(f"{text} is no directory: name one for --ncdu")
    code = exits.DONE

    def problem(name: bytes, error: Exception) -> None:
        nonlocal code
        code = exits.DAMAGE
        context.warn(f"{printable(name)}: {error}")

    def entries(tree: "ObjectId") -> "Iterator[Entry]":
        return repository.directory(tree).entries()

    pieces = ncdu_export(top, source_path(snapshot, parts), entries, problem)
    if arguments.ncdu == "-":
        for piece in pieces:
            write(piece)
    else:
        with open(arguments.ncdu, "wb") as file:
            file.writelines(pieces)
    return code
