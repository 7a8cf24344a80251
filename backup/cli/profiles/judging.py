"""What a command itself says of its options: a profile is wrong where a command line would be."""

import argparse

from backup.cli.context import Context
from backup.cli.profiles.profile import Profile
from backup.model.errors import UsageError
from backup.model.retention import Policy


def judge(command: str, arguments: argparse.Namespace, context: Context) -> None:
    """One option alone. Raises `UsageError`, OSError."""
    from backup.cli.commands import backup, check, forget

    if command == "backup":
        backup.options_of(context, arguments)
    elif command == "forget":
        forget.policy_of(arguments)
    elif command == "check" and arguments.subset is not None:
        check.subset_of(arguments.subset)


def judge_table(table: str, arguments: argparse.Namespace, profile: Profile) -> None:
    """All options of a table together. Raises `UsageError`."""
    from backup.cli.commands import forget

    if table == "backup" and not (profile.paths or arguments.files_from or arguments.files_from0):
        raise UsageError('it says nothing of what to back up: give paths = ["~/…"]')
    if table == "forget" and forget.policy_of(arguments) in (None, Policy()):
        raise UsageError("it keeps nothing: say with keep-last, keep-daily, … what to keep")
    chosen = table == "forget" and (arguments.host or arguments.path or arguments.tag)
    if table == "forget" and not chosen and "backup" not in profile.options:
        raise UsageError("without [backup], say whose snapshots it is about: give host, path or tag")
    if table == "check" and arguments.subset is not None and not arguments.read_data:
        raise UsageError("subset chooses what read-data reads: give both")
