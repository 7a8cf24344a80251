"""imbfs check"""

import argparse
import os
import re
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.metrics import add_metrics
from backup.cli.output import count, printable, show, size
from backup.library.environment import cache_directory
from backup.model.errors import UsageError
from backup.model.ids import SHORT_ID
from backup.model.text import to_name

if TYPE_CHECKING:
    from backup.ops.check import Damage, Part, Report, Share


#: Paths listed for one piece of damage; `-v` and `--json` list all.
MAX_PATHS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--read-data", action="store_true", help="read every byte, not the structure alone")
    parser.add_argument(
        "--subset",
        metavar="PERCENT|N/M",
        help="read so much only: those unread for longest, or the Nth of M parts",
    )
    add_metrics(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.progress import step_progress
    from backup.ops.check import check

    subset = None if arguments.subset is None else subset_of(arguments.subset)
    if subset is not None and not arguments.read_data:
        raise UsageError("--subset chooses what --read-data reads: give both")
    with context.open_repository() as repository, step_progress(context) as monitor:
        log = cache_directory() / "imbfs" / repository.config.id / "read"
        report = check(repository, arguments.read_data, monitor, subset, log)
    context.report(_summary(report))
    if not context.json:
        _show(report, MAX_PATHS if not context.verbose else None)
    return exits.DAMAGE if report.damage else exits.DONE


def subset_of(text: str) -> "Part | Share":
    """Raises `UsageError`."""
    from backup.ops.check import Part, Share

    if (match := re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)%", text)) and 0 < float(match[1]) <= 100:
        return Share(float(match[1]))
    if (match := re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)) and 1 <= int(match[1]) <= int(match[2]):
        return Part(int(match[1]), int(match[2]))
    raise UsageError(f"--subset {text}: give a share such as 5%, or a part such as 1/7")


def _summary(report: "Report") -> dict[str, Any]:
    return {
        "damage": [_record(damage) for damage in report.damage],
        "snapshots": report.snapshots,
        "packs": report.packs,
        "objects": report.objects,
        "trees": report.trees,
        "bytes_read": report.bytes_read,
        "leftovers": report.leftovers,
        "notes": report.notes,
    }


def _record(damage: "Damage") -> dict[str, Any]:
    return {
        "what": damage.what,
        "text": damage.text,
        "objects": sorted(name.hex() for name in damage.objects),
        "reaches": [{"snapshot": name, "path": to_name(path)} for name, path in damage.reaches],
    }


def _show(report: "Report", most: int | None) -> None:
    for damage in report.damage:
        show(f"damage: {damage.what}: {damage.text}")
        for snapshot, path in damage.reaches[:most]:
            show(f"  reaches {snapshot[:SHORT_ID]}:{printable(path)}")
        if most is not None and len(damage.reaches) > most:
            show(f"  and {count(len(damage.reaches) - most, 'path')} more (-v lists all)")
    read = f", {size(report.bytes_read)} read" if report.bytes_read else ""
    show(
        f"{count(report.snapshots, 'snapshot')}, {count(report.trees, 'tree')},"
        f" {count(report.objects, 'object')} in {count(report.packs, 'pack')}{read}"
    )
    if report.leftovers:
        show(f"{count(report.leftovers, 'pack')} that no snapshot needs: the next backup uses them")
    for note in report.notes:
        show(f"note: {printable(os.fsencode(note))}")
    show(f"{count(len(report.damage), 'piece')} of damage" if report.damage else "no damage")
