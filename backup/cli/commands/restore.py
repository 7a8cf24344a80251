"""imbfs restore"""

import argparse
import os
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import count, show_json, size, tell
from backup.cli.restoring import open_to_restore
from backup.cli.selecting import add_filters, find_target
from backup.cli.workers import parse_workers
from backup.model.errors import UsageError

if TYPE_CHECKING:
    from backup.model.entry import Entry
    from backup.ops.restore import Predicate, Reader, RestoreOptions, RestoreSummary
    from backup.snapshots.manifest import Snapshot


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SNAPSHOT[:PATH]", help="a snapshot, and a path in it")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--target", metavar="DIR", help="the directory to restore into")
    where.add_argument("--in-place", action="store_true", help="to where it came from")
    parser.add_argument("--as", dest="as_name", metavar="NAME", help="restore it under this name")
    parser.add_argument(
        "--overwrite", choices=("always", "if-changed", "never", "keep"),
        help="what to do with files that are there (if-changed); keep moves them aside",
    )  # fmt: skip
    parser.add_argument(
        "--include", metavar="PATTERN", action="append", default=[],
        help="only what fits, in the language of gitignore; paths begin at what is restored",
    )  # fmt: skip
    parser.add_argument(
        "--exclude", metavar="PATTERN", action="append", default=[], help="not what fits; wins over --include"
    )
    parser.add_argument("--delete", action="store_true", help="remove what the snapshot does not have")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be done, do nothing")
    parser.add_argument("--verify", action="store_true", help="read back and compare what was written")
    parser.add_argument("--numeric-owner", action="store_true", help="owners by number, whatever names say")
    parser.add_argument(
        "--workers", metavar="N", type=parse_workers, help="processes that write files (one for each CPU)"
    )
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.progress import restore_progress
    from backup.ops.backup import repository_identity
    from backup.ops.restore import RestoreOptions, restore
    from backup.ops.restoring.reader import RepositoryReader
    from backup.snapshots.paths import find_entry

    if arguments.target == "":
        raise UsageError("--target: name a directory")
    name = _new_name(arguments)
    workers = 0 if arguments.dry_run else arguments.workers
    with open_to_restore(context, "restore", workers) as (repository, crew, reading):
        snapshot, path = find_target(context, repository, arguments.source, arguments)
        reading.show([snapshot])
        entry, parts = find_entry(snapshot, path, repository.tree)
        target = _target(arguments, snapshot, entry, parts)
        if name is not None:
            target, entry = _renamed(target, entry, name)
        repository.require_outside(target)
        options = RestoreOptions(
            overwrite=arguments.overwrite or "if-changed",
            delete=arguments.delete,
            dry_run=arguments.dry_run,
            verify=arguments.verify,
            include=_predicate(arguments.include, "--include"),
            exclude=_predicate(arguments.exclude, "--exclude"),
            numeric_owner=arguments.numeric_owner,
            protected=frozenset({repository_identity(repository)}),
        )
        if arguments.overwrite is None and not arguments.dry_run:
            _tell_conflicts(context, RepositoryReader(repository), entry, target, options)
        with restore_progress(context, snapshot if not parts else None) as monitor:
            summary = restore(RepositoryReader(repository), entry, target, options, monitor, crew=crew)
    if context.json:
        show_json(_record(summary))
    elif not context.quiet:
        tell_summary(summary, arguments.dry_run)
    return exits.PARTLY if summary.errors else exits.DONE


def _tell_conflicts(
    context: Context, reader: "Reader", entry: "Entry", target: bytes, options: "RestoreOptions"
) -> None:
    """Names, before anything is changed, what the restore is about to replace or remove."""
    from backup.ops.restoring.foresight import foresee

    try:
        if not os.listdir(target):
            return
    except OSError:
        return  # not there; or the restore will say what is wrong with it
    found = foresee(reader, entry, target, options)
    for text in found.first:
        context.notice(text.replace("would", "will", 1))
    if found.count > len(found.first):
        context.notice(f"and {found.count - len(found.first):,} more: --dry-run lists them all")


def _new_name(arguments: argparse.Namespace) -> bytes | None:
    """Raises `UsageError`."""
    if arguments.as_name is None:
        return None
    name = os.fsencode(arguments.as_name)
    if arguments.in_place or name in (b"", b".", b"..") or b"/" in name:
        raise UsageError("--as: give a name, without a directory, for what goes into --target")
    return name


def _renamed(target: bytes, entry: "Entry", name: bytes) -> "tuple[bytes, Entry]":
    """A directory's content goes into a directory of this name; anything else has the name itself."""
    if entry.tree is not None:
        return os.path.join(target, name), entry
    return target, entry._replace(name=name)


def _predicate(patterns: list[str], option: str) -> "Predicate | None":
    from backup.source.patterns import PatternList, option_pattern

    return PatternList(option_pattern(text, option) for text in patterns).fits if patterns else None


def _target(arguments: argparse.Namespace, snapshot: "Snapshot", entry: "Entry", parts: list[bytes]) -> bytes:
    from backup.snapshots.paths import source_path

    if not arguments.in_place:
        return os.fsencode(os.path.abspath(arguments.target))
    here = source_path(snapshot, parts)
    return here if entry.tree is not None else os.path.dirname(here)


def _record(summary: "RestoreSummary") -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(summary)


def tell_summary(summary: "RestoreSummary", dry_run: bool) -> None:
    tell(
        ("would restore " if dry_run else "restored ")
        + f"{count(summary.files, 'file')}, {count(summary.dirs, 'directory').replace('ys', 'ies')},"
        f" {count(summary.links, 'link')}, {count(summary.specials, 'special file')};"
        f" {size(summary.bytes_written)} written in {summary.seconds:.1f} s"
    )
    rest = {
        "unchanged": summary.unchanged,
        "skipped": summary.skipped,
        "deleted": summary.deleted,
        "moved aside": summary.kept,
        "with errors": summary.errors,
    }
    shown = ", ".join(f"{number:,} {name}" for name, number in rest.items() if number)
    if shown:
        tell(f"  {shown}")
