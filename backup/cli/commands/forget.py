"""imbfs forget"""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.commands.prune import add_max_unused
from backup.cli.context import Context
from backup.cli.output import count, printable, show, tell
from backup.cli.selecting import add_filters, filter_of
from backup.model.duration import Duration, parse_duration
from backup.model.errors import ImbfsError, UsageError
from backup.model.ids import SHORT_ID
from backup.model.labels import require_tag
from backup.model.retention import PERIODS, GroupBy, Policy
from backup.model.selector import parse_selector
from backup.model.text import to_name

if TYPE_CHECKING:
    from backup.model.retention import Decision, Group
    from backup.ops.forget import Plan
    from backup.repository import Repository


UNLIMITED = "unlimited"
GROUP_BY: dict[str, GroupBy] = {"host": "host", "paths": "paths", "tags": "tags"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshots", metavar="SNAPSHOT", nargs="*", help="those to forget; or give a policy")
    policy = parser.add_argument_group("policy: what any of these keeps, stays")
    policy.add_argument("--keep-last", metavar="N", type=_number, help="the N newest (or: unlimited)")
    for period in PERIODS:
        policy.add_argument(
            f"--keep-{period}", metavar="N", type=_number, help=f"the newest of each of N {_each(period)}"
        )
    policy.add_argument(
        "--keep-within", metavar="DURATION", type=_duration,
        help="all that are at most so much older than the newest: 30d, 12h, 2w, 1y6m",
    )  # fmt: skip
    for period in PERIODS:
        policy.add_argument(
            f"--keep-within-{period}", metavar="DURATION", type=_duration,
            help=f"the newest of each of the {_each(period)} within that",
        )  # fmt: skip
    policy.add_argument("--keep-tag", metavar="T", action="append", default=[], help="all with this tag")
    parser.add_argument(
        "--group-by", metavar="KEYS", type=_group_by, default=frozenset({"host", "paths"}),
        help="decide apart on what differs in these: host,paths,tags (host,paths); '' puts all together",
    )  # fmt: skip
    parser.add_argument("--allow-last", action="store_true", help="forget even the last snapshot of a source")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be forgotten, do nothing")
    parser.add_argument("--prune", action="store_true", help="free what no snapshot reaches then")
    add_max_unused(parser)
    add_filters(parser)


def _each(period: str) -> str:
    return {"daily": "days"}.get(period, period.removesuffix("ly") + "s")


def _number(text: str) -> int:
    if text == UNLIMITED:
        return sys.maxsize
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor {UNLIMITED!r}")
    return min(int(text[:18]), sys.maxsize)


def _duration(text: str) -> Duration:
    try:
        return parse_duration(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _group_by(text: str) -> frozenset[GroupBy]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in GROUP_BY:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(GROUP_BY)}")
    return frozenset(GROUP_BY[name] for name in names)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.ops.forget import forget

    policy = policy_of(arguments)
    if arguments.snapshots and policy is not None:
        raise UsageError("name snapshots, or give a policy with --keep-…: not both")
    if not arguments.snapshots and policy is None:
        raise UsageError(
            "name the snapshots to forget, or say with --keep-last, --keep-daily, … what to keep"
        )
    with context.open_repository() as repository:
        plan = _plan(context, repository, arguments, policy)
        if not arguments.dry_run:
            forget(repository, plan.forgotten)
        if not context.json:
            _show(plan)
            _tell(context, plan, arguments.dry_run, policy is not None)
        history = None if policy is None else _history(context, repository, arguments.dry_run)
        code, pruned = _prune(context, repository, plan, arguments) if arguments.prune else (exits.DONE, None)
    done, summary = history or (exits.DONE, None)
    context.report(_record(plan, arguments.dry_run) | {"history": summary, "prune": pruned})
    return exits.worst((done, code))


def _history(context: Context, repository: "Repository", dry_run: bool) -> tuple[int, dict[str, Any]] | None:
    """What only the latest snapshot keeps, by the profile's rules, goes from the others."""
    from backup.cli.profiles.history import has_latest_only, keep_latest_only

    # A run does it as a step of its own, whether it forgets or not.
    if context.profile is None or context.is_part or not has_latest_only(context.profile):
        return None
    return keep_latest_only(context, context.profile, repository, dry_run=dry_run)


def _prune(
    context: Context, repository: "Repository", plan: "Plan", arguments: argparse.Namespace
) -> tuple[int, dict[str, Any]]:
    from backup.cli.commands.prune import prune_repository, record

    try:
        summary = prune_repository(
            context, repository, arguments.max_unused, arguments.dry_run, plan.forgotten
        )
    except ImbfsError:
        # What was forgotten is forgotten, whatever became of pruning.
        context.report(_record(plan, arguments.dry_run) | {"history": None, "prune": None})
        raise
    return exits.DAMAGE if summary.chunks_missing else exits.DONE, record(summary, arguments.dry_run)


def _tell(context: Context, plan: "Plan", dry_run: bool, by_policy: bool) -> None:
    if not context.quiet:
        did = "would forget" if dry_run else "forgot"
        kept = f", {len(plan.kept):,} kept" if by_policy else ""
        tell(f"{did} {count(len(plan.forgotten), 'snapshot')}{kept}")


def policy_of(arguments: argparse.Namespace) -> Policy | None:
    """None where no rule is given. Raises `UsageError`."""
    given = vars(arguments)
    for tag in arguments.keep_tag:
        # An empty variable in a script must not read as a policy that keeps nothing.
        require_tag(tag)
    policy = Policy(
        last=arguments.keep_last or 0,
        periods={period: n for period in PERIODS if (n := given[f"keep_{period}"]) is not None},
        within=arguments.keep_within,
        within_periods={period: d for period in PERIODS if (d := given[f"keep_within_{period}"]) is not None},
        tags=frozenset(arguments.keep_tag),
    )
    return None if policy == Policy() and arguments.keep_last is None else policy


def _plan(
    context: Context, repository: "Repository", arguments: argparse.Namespace, policy: Policy | None
) -> "Plan":
    from backup.cli.profiles.using import source_of
    from backup.ops.forget import plan_by_name, plan_by_policy

    chosen, by, allow_last = filter_of(arguments), arguments.group_by, arguments.allow_last
    if policy is not None:
        if context.profile is not None and not (arguments.host or arguments.path or arguments.tag):
            # Other profiles, with other policies, may share the repository.
            source = source_of(context, context.profile)
            return plan_by_policy(repository, policy, by, source.made, allow_last)
        return plan_by_policy(repository, policy, by, chosen, allow_last)
    selectors = [parse_selector(text, context.now()) for text in arguments.snapshots]
    return plan_by_name(repository, selectors, by, chosen, allow_last)


def _show(plan: "Plan") -> None:
    for group, decisions in plan.groups.items():
        show(_title(group))
        for decision in decisions:
            show(_line(decision))
    for snapshot in plan.unreadable:
        show(f"  forget  {snapshot[:SHORT_ID]}  named; its manifest is damaged or gone")
    for snapshot in plan.left_alone:
        show(f"  keep    {snapshot[:SHORT_ID]}  its manifest is damaged: forget it by name")


def _title(group: "Group") -> str:
    parts = []
    if group.host is not None:
        parts.append(group.host)
    if group.paths is not None:
        parts.append(" ".join(map(printable, group.paths)))
    if group.tags is not None:
        parts.append(f"tags {','.join(group.tags)}" if group.tags else "no tags")
    return "  ".join(parts) or "all snapshots"


def _line(decision: "Decision") -> str:
    snapshot = decision.snapshot
    verdict = "keep  " if decision.keep else "forget"
    time = snapshot.time.strftime("%Y-%m-%d %H:%M:%S")
    return f"  {verdict}  {snapshot.id[:SHORT_ID]}  {time}  {', '.join(decision.reasons)}"


def _record(plan: "Plan", dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "forgotten": plan.forgotten,
        "kept": plan.kept,
        "left_alone": plan.left_alone,
        "decisions": [_decision(decision) for decision in plan.decisions],
    }


def _decision(decision: "Decision") -> dict[str, Any]:
    snapshot = decision.snapshot
    return {
        "id": snapshot.id,
        "time": snapshot.time.isoformat(),
        "host": snapshot.host,
        "paths": [to_name(path) for path in snapshot.paths],
        "tags": snapshot.tags,
        "keep": decision.keep,
        "reasons": decision.reasons,
    }
