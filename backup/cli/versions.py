"""Printing versions of files: one row each, with the snapshots that have it."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from backup.cli.commands.ls import record, time_text
from backup.cli.output import quoted, show, size
from backup.model.ids import SHORT_ID
from backup.model.text import to_name

if TYPE_CHECKING:
    from backup.ops.find import Version


def version_record(version: "Version") -> dict[str, Any]:
    """As JSON output has it. `time` is that of the first snapshot that has it, `snapshots` are ids."""
    return record(version.path, version.entry) | {
        "source": to_name(os.path.join(version.top, version.path)),
        "time": version.snapshots[0].body.time,
        "snapshots": [snapshot.id for snapshot in version.snapshots],
    }


def show_versions(versions: "Iterable[Version]") -> None:
    """Under their path, a row each."""
    last = None
    for version in versions:
        path = os.path.join(version.top, version.path).rstrip(b"/") or b"/"
        if path != last:
            show(quoted(path) + ("/" if version.entry.tree is not None else ""))
            last = path
        entry = version.entry
        shown = size(entry.size) if entry.kind == "file" else entry.kind
        time = time_text(entry.mtime_ns)[:19].replace("T", " ")
        show(f"  {time}  {shown:>10}  {_range(version)}")


def _range(version: "Version") -> str:
    first, last = version.snapshots[0], version.snapshots[-1]
    when = first.body.time[:16].replace("T", " ")
    if first is last:
        return f"{first.id[:SHORT_ID]} ({when})"
    until = last.body.time[:16].replace("T", " ")
    number = len(version.snapshots)
    return f"{first.id[:SHORT_ID]} … {last.id[:SHORT_ID]} ({number:,} snapshots, {when} … {until})"
