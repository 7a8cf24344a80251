"""imbfs prune"""

import argparse
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.metrics import add_metrics
from backup.cli.output import count, show, size, tell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backup.model.ids import SnapshotId
    from backup.ops.prune import Plan, PruneSummary
    from backup.repository import Repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="tell what would be done, do nothing")
    add_max_unused(parser)
    add_metrics(parser)


def add_max_unused(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-unused", metavar="PERCENT", type=_share, default=0.05,
        help="how much of what stays may be unused (5); with 0, every pack that is used in part is repacked",
    )  # fmt: skip


def _share(text: str) -> float:
    number = float(text.removesuffix("%"))
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 100 percent")
    return number / 100


def run(context: Context, arguments: argparse.Namespace) -> int:
    with context.open_repository() as repository:
        summary = prune_repository(context, repository, arguments.max_unused, arguments.dry_run)
    context.report(record(summary, arguments.dry_run))
    return exits.DAMAGE if summary.chunks_missing else exits.DONE


def prune_repository(
    context: Context,
    repository: "Repository",
    max_unused: float,
    dry_run: bool = False,
    without: "Iterable[SnapshotId]" = (),
) -> "PruneSummary":
    """Prunes, and tells people what is done and what was. A dry run may be `without` some snapshots."""
    from backup.cli.progress import prune_progress
    from backup.ops.prune import PruneOptions, prune

    with prune_progress(context, lambda plan: _show_plan(context, plan)) as monitor:
        summary = prune(repository, PruneOptions(max_unused, dry_run, frozenset(without)), monitor)
    if not context.quiet and not context.json:
        _tell(summary, dry_run)
    if summary.chunks_missing:
        missing = count(summary.chunks_missing, "chunk")
        context.warn(f"{missing} that snapshots need cannot be found; `imbfs check` names the files")
    return summary


def _show_plan(context: Context, plan: "Plan") -> None:
    """The same for a dry run and for what is then done."""
    if context.json or context.quiet:
        return
    show(f"{count(len(plan.unused), 'pack')} unused, {count(len(plan.repacked), 'pack')} to be repacked")
    if plan.merged:
        show(f"{count(len(plan.merged), 'small pack')} to be merged")
    if plan.condemned:
        show(f"{count(len(plan.condemned), 'pack')} condemned by an earlier prune")
    show(
        f"{count(plan.objects_removed, 'object')} to remove: {size(plan.bytes_plain)} plain,"
        f" {size(plan.bytes_freed)} on disk; {size(plan.bytes_copied)} to copy"
    )
    show(f"{count(len(plan.kept), 'pack')} to keep, with {size(plan.unused_left)} unused")


def _tell(summary: "PruneSummary", dry_run: bool) -> None:
    if dry_run:
        tell("dry run, nothing was changed")
        return
    tell(f"removed {count(summary.packs_removed, 'pack')} in {summary.seconds:.1f} s")
    if summary.packs_waiting:
        waiting = f"{count(summary.packs_waiting, 'pack')} ({size(summary.bytes_waiting)})"
        tell(
            f"  condemned: {waiting}, freed by the next prune once these have ended:"
            f" {', '.join(summary.waiting_for)}"
        )


def record(summary: "PruneSummary", dry_run: bool) -> dict[str, Any]:
    """As JSON output has it."""
    plan = summary.plan
    return {
        "dry_run": dry_run,
        "objects_removed": plan.objects_removed,
        "bytes_plain": plan.bytes_plain,
        "bytes_freed": plan.bytes_freed,
        "bytes_copied": plan.bytes_copied,
        "bytes_unused_left": plan.unused_left,
        "packs_unused": len(plan.unused),
        "packs_repacked": len(plan.repacked),
        "packs_merged": len(plan.merged),
        "packs_kept": len(plan.kept),
        "packs_removed": summary.packs_removed,
        "packs_waiting": summary.packs_waiting,
        "bytes_waiting": summary.bytes_waiting,
        "waiting_for": summary.waiting_for,
        "chunks_missing": summary.chunks_missing,
        "seconds": summary.seconds,
    }
