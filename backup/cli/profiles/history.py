"""Rules with `history = "latest"`: older snapshots lose what only the latest one is to keep."""

import os
from collections.abc import Container, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import count, size, tell
from backup.cli.profiles.naming import names_of
from backup.cli.profiles.profile import Profile, Rule, escaped
from backup.cli.profiles.using import source_of
from backup.model.ids import SHORT_ID

if TYPE_CHECKING:
    from backup.repository import Repository
    from backup.snapshots.manifest import Snapshot
    from backup.snapshots.names import Names
    from backup.source.rules import Rules


def left_out(rules: Sequence[Rule], sources: Container[str] = ()) -> list[str]:
    """Patterns of what only the latest snapshot keeps. A rule for a path inside another's decides there.

    A directory itself stays where it is a source, or on the way to something that stays.
    """
    named = {rule.path.rstrip("/"): rule.history == "latest" for rule in rules if rule.history is not None}
    goes = dict(named)
    for path, latest in named.items():
        for above in _between(path, named) if not latest else ():
            # On the way to what stays: entered, with all else in it left out.
            goes.setdefault(above, True)
    patterns = []
    for path in sorted(goes, key=lambda path: path.count("/")):
        on_the_way = any(not latest and other.startswith(path + "/") for other, latest in named.items())
        gone = goes[path] and not on_the_way
        if path and path not in sources:
            patterns.append(f"{'' if gone else '!'}{escaped(path)}")
        patterns.append(f"{'' if goes[path] else '!'}{escaped(path)}/*")
    return patterns if any(named.values()) else []


def _between(path: str, named: dict[str, bool]) -> list[str]:
    """The directories on the way to `path` from the rules above it that leave things out."""
    parts = path.split("/")
    found: list[str] = []
    passed: list[str] = []
    for end in range(len(parts) - 1, 0, -1):
        above = "/".join(parts[:end])
        if named.get(above) is False:
            break
        if above in named:
            found += passed
            passed = []
        else:
            passed.append(above)
    return found


def has_latest_only(profile: Profile | None) -> bool:
    return profile is not None and any(rule.history == "latest" for rule in profile.rules)


def keep_latest_only(
    context: Context, profile: Profile, repository: "Repository", *, dry_run: bool = False
) -> tuple[int, dict[str, Any]]:
    """Rewrites the profile's snapshots but for the newest. The exit code, and what came of it for JSON."""
    from backup.ops.forget import forget
    from backup.ops.rewrite import rewrite

    source = source_of(context, profile)
    older = repository.snapshots(source.made)[:-1]
    names = names_of(profile)
    found = []
    for _, lying in groupby(older, lambda snapshot: (snapshot.top, snapshot.paths)):
        there = list(lying)
        rules = _rules(_as_it_lay(profile.rules, names, there[0]), {*map(os.fsdecode, there[0].paths)})
        found += rewrite(repository, there, rules, dry_run=dry_run)
    done = [each for each in found if each.excluded and each.error is None]
    if not dry_run:
        forget(repository, [each.original for each in done])
    failed = [each for each in found if each.error is not None]
    for each in failed:
        context.warn(f"snapshot {each.original[:SHORT_ID]} stays as it is: {each.error}")
    files, gone = sum(each.files for each in done), sum(each.size for each in done)
    if done and not context.json and not context.quiet:
        older_ones = count(len(done), "older snapshot")
        without = "would be without" if dry_run else "without"
        tell(f"{older_ones} {without} {count(files, 'file')}, {size(gone)}: only the latest keeps those")
    summary = {
        "snapshots": {each.original: each.snapshot for each in done},
        "files_removed": files,
        "bytes_removed": gone,
    }
    return exits.DAMAGE if failed else exits.DONE, summary


def _as_it_lay(rules: Sequence[Rule], names: "Names", snapshot: "Snapshot") -> list[Rule]:
    """The rules, about the paths that the snapshot's source had: one with a name may have moved since."""
    from backup.snapshots.names import path_then

    paths = (path_then(os.fsencode(rule.path), names, snapshot.names) for rule in rules)
    return [replace(rule, path=os.fsdecode(path)) for rule, path in zip(rules, paths, strict=True)]


def _rules(rules: Sequence[Rule], sources: Container[str]) -> "Rules":
    from backup.source.patterns import option_pattern
    from backup.source.rules import Rules

    patterns = [option_pattern(pattern, "history") for pattern in left_out(rules, sources)]
    return Rules(patterns=tuple(patterns), ignore_names=())
