"""Commands with profiles: what each says stands before the options of the command line."""

import argparse
import os
import socket
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.metrics import run_command
from backup.cli.profiles.file import load, profile_names
from backup.cli.profiles.keys import parser_of
from backup.cli.profiles.naming import expand_arguments, names_of
from backup.cli.profiles.profile import Profile
from backup.model.errors import ImbfsError, Stopped, UsageError

if TYPE_CHECKING:
    from backup.snapshots.manifest import Snapshot

#: Commands that take several profiles, one after the other.
SEVERAL = ("backup", "run")
DEFAULT = "default"

Job = tuple[Context, argparse.Namespace]


def run_with_profiles(
    module: ModuleType,
    arguments: argparse.Namespace,
    parse: Callable[[Sequence[str]], argparse.Namespace],
    report: Callable[[BaseException, int], int],
) -> int:
    """Runs a command once for each profile, after all of them were checked. The worst exit code counts.

    `parse` makes the arguments with some options before those given.
    """
    command = module.__name__.rpartition(".")[2]
    jobs = []
    for profile in load(_names(arguments), Context(arguments)):
        # Snapshots that are named are forgotten, whatever the profile keeps.
        named = command == "forget" and arguments.snapshots
        own = parse(() if named else profile.words(command))
        expand_arguments(command, own, profile.names)
        jobs.append((Context(own, profile), own))
    if len(jobs) == 1:
        return run_command(module, *jobs[0])
    if command not in SEVERAL:
        raise UsageError(f"`imbfs {command}` takes one profile, and {len(jobs)} are named")
    for context, _ in jobs:
        _require_ready(context)
    return exits.worst([_one_of_several(module, job, report) for job in jobs])


def _names(arguments: argparse.Namespace) -> list[str]:
    """Those named; to `run`, else, the one called default, or the only one."""
    named = [*arguments.profile, *getattr(arguments, "profiles", ())]
    if named:
        return named
    known = profile_names()
    if DEFAULT in known or len(known) == 1:
        return [DEFAULT] if DEFAULT in known else known
    hint = f"name one of {', '.join(known)}" if known else "there is none: `imbfs profile init` makes one"
    raise UsageError(f"which profile? {hint}")


def _require_ready(context: Context) -> None:
    """Raises `ImbfsError` where a backup would fail at its beginning."""
    profile = context.profile
    assert profile is not None
    if context.repository_named:
        context.open_repository().close()
    if profile.paths and not any(map(os.path.lexists, profile.paths)):
        raise ImbfsError(f"profile {profile.name}: {profile.paths[0]} does not exist: nothing was backed up")


def _one_of_several(module: ModuleType, job: Job, report: Callable[[BaseException, int], int]) -> int:
    context, arguments = job
    assert context.profile is not None
    context.notice(f"profile {context.profile.name}")
    try:
        return run_command(module, context, arguments)
    except Stopped:
        raise
    except (ImbfsError, OSError) as error:
        return report(error, context.verbose)


def arguments_of(profile: Profile, command: str) -> argparse.Namespace:
    """A command's arguments as the profile has them."""
    return parser_of(command).parse_args(profile.words(command))


class Source(NamedTuple):
    """The host and the paths that a profile's snapshots have; `named`: by names where they have one."""

    host: str
    paths: frozenset[bytes]
    named: frozenset[bytes]

    def made(self, snapshot: "Snapshot") -> bool:
        same = self.paths == frozenset(snapshot.paths) or self.named == snapshot.named_paths
        return same and snapshot.body.host == self.host


def source_of(context: Context, profile: Profile) -> Source:
    """Raises `UsageError`, OSError."""
    from backup.cli.commands.backup import paths_of
    from backup.ops.storing.sources import absolute
    from backup.snapshots.names import named

    arguments = arguments_of(profile, "backup")
    paths = {absolute(path) for path in paths_of(context, arguments)}
    outer = [path for path in paths if not any(_inside(path, other) for other in paths)]
    names = names_of(profile)
    by_name = frozenset(named(path, names) for path in outer)
    return Source(arguments.host or socket.gethostname(), frozenset(outer), by_name)


def _inside(path: bytes, other: bytes) -> bool:
    return path != other and path.startswith(other.rstrip(b"/") + b"/")
