"""imbfs repair"""

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.commands.check import MAX_PATHS
from backup.cli.context import Context
from backup.cli.output import count, printable, show, show_json, size
from backup.library.environment import cache_directory
from backup.model.ids import SHORT_ID
from backup.model.text import to_name

if TYPE_CHECKING:
    from backup.ops.repair import RepairResult
    from backup.ops.repairing.plan import BrokenPack, ManifestRepair, Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources", nargs="*", metavar="SOURCE", help="directory that may have the files of a snapshot as well"
    )
    parser.add_argument("--dry-run", action="store_true", help="tell what would be done, and do nothing")
    parser.add_argument(
        "--discard", action="store_true",
        help="delete what earlier repairs moved to quarantine/, unless something stays missing",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="other", metavar="REPO", help="take missing objects from this repository, too"
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.progress import step_progress
    from backup.ops.repair import repair
    from backup.repository import Repository

    sources = [os.path.abspath(os.fsencode(source)) for source in arguments.sources]
    for source in sources:
        os.stat(source)
    with ExitStack() as stack:
        other = None
        if arguments.other is not None:
            path = Path(os.path.abspath(arguments.other))
            other = stack.enter_context(Repository.open(path, cache_directory(), context.warn))
        monitor = stack.enter_context(step_progress(context))
        result = repair(
            context.repository_path, cache_directory(), context.warn, monitor,
            other=other, sources=sources, discard=arguments.discard, dry_run=arguments.dry_run,
        )  # fmt: skip
    if context.json:
        show_json(_summary(result, arguments.dry_run))
    else:
        _show(result, arguments.dry_run, None if context.verbose else MAX_PATHS)
    if arguments.discard and not result.whole:
        context.warn("quarantine/ is kept, because something is missing: what was moved aside may still help")
    return exits.DONE if result.whole else exits.DAMAGE


def _summary(result: "RepairResult", dry_run: bool) -> dict[str, Any]:
    plan = result.plan
    return {
        "dry_run": dry_run,
        "config": bool(plan.config),
        "packs": [
            {
                "pack": pack.id.hex(),
                "reason": pack.reason,
                "missing": pack.missing,
                "saved": len(pack.sound),
                "lost": pack.lost,
            }
            for pack in plan.packs
        ],
        "packs_mended": [pack.hex() for pack in plan.mended],
        "parity": [pack.hex() for pack, _ in plan.parity],
        "packs_listed": [pack.hex() for pack in plan.unlisted],
        "segments": [segment.hex() for segment, _ in plan.segments],
        "snapshots_restored": [manifest.id for manifest in plan.manifests if manifest.id],
        "snapshots_lost": [
            *(manifest.key.rpartition("/")[2] for manifest in plan.lost),
            *plan.vanished,
        ],
        "healed": [
            {"object": name.hex(), "from": remedy.origin}
            for name, remedy in sorted(plan.remedies.items())
            if name not in result.gone
        ],
        "discarded": {"files": len(plan.discarded), "bytes": sum(size for _, size in plan.discarded)},
        "missing": sorted(name.hex() for name in plan.missing | result.gone),
        "reaches": [{"snapshot": name, "path": to_name(path)} for name, path in plan.reaches],
    }


def _show(result: "RepairResult", dry_run: bool, most: int | None) -> None:
    plan = result.plan
    for line in _lines(plan):
        show(f"would: {line}" if dry_run else line)
    for name in sorted(result.gone):
        show(f"object {name.hex()[:SHORT_ID]} could not be read again: it stays missing")
    for snapshot, path in plan.reaches[:most]:
        show(f"still missing: {snapshot[:SHORT_ID]}:{printable(path)}")
    if most is not None and len(plan.reaches) > most:
        show(f"  and {count(len(plan.reaches) - most, 'path')} more (-v lists all)")
    missing = len(plan.missing | result.gone)
    if missing:
        show(
            f"{count(missing, 'object')} that snapshots need stay missing: the next backup stores what"
            " the source still has"
        )
    elif plan.empty:
        show("nothing to repair")
    elif not dry_run:
        show("repaired, but for the snapshots named above" if plan.lost or plan.vanished else "repaired")


def _lines(plan: "Plan") -> Iterator[str]:
    if plan.config:
        yield plan.config
    for name in plan.mended:
        yield f"pack {name.hex()[:SHORT_ID]}: mended from its parity"
    if plan.parity:
        yield f"{count(len(plan.parity), 'pack')} without sound parity: it is made anew"
    if plan.unlisted:
        yield f"{count(len(plan.unlisted), 'pack')} that no index segment lists: listed anew"
    for pack in plan.packs:
        yield _pack_line(pack)
    for segment, reason in plan.segments:
        yield f"{reason}: made anew from its packs ({segment.hex()[:SHORT_ID]} goes to quarantine/)"
    for manifest in plan.manifests:
        yield _manifest_line(manifest)
    for snapshot in plan.vanished:
        yield f"snapshot {snapshot[:SHORT_ID]} is lost: its manifest has vanished"
    for healed, remedy in sorted(plan.remedies.items()):
        yield f"object {healed.hex()[:SHORT_ID]}: healed from {printable(os.fsencode(remedy.origin))}"
    if plan.discarded:
        taken = size(sum(each for _, each in plan.discarded))
        yield f"{count(len(plan.discarded), 'file')} in quarantine/, {taken}: deleted for good"


def _manifest_line(manifest: "ManifestRepair") -> str:
    name = manifest.key.rpartition("/")[2][:SHORT_ID]
    if manifest.id is not None:
        return f"snapshot {name}: manifest {manifest.id[:SHORT_ID]} is made anew from its first line"
    told = f"; it still says {manifest.told}" if manifest.told else ""
    return f"snapshot {name} is lost ({manifest.reason}): its manifest goes to quarantine/{told}"


def _pack_line(pack: "BrokenPack") -> str:
    name = f"pack {pack.id.hex()[:SHORT_ID]}"
    if pack.missing:
        return f"{name} is missing: {count(pack.lost, 'object')} lost with it"
    return (
        f"{name}: {pack.reason}: {count(len(pack.sound), 'object')} saved into new packs, {pack.lost:,} lost;"
        " it goes to quarantine/"
    )
