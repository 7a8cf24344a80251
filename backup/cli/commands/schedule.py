"""imbfs schedule"""

import argparse
import re
from typing import TYPE_CHECKING

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import show_json, table
from backup.model.errors import ImbfsError, NotFound, UsageError

if TYPE_CHECKING:
    from backup.cli.scheduling.program import Scheduled


DAILY = "03:00"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("install", "remove", "status"), help="what to do")
    parser.add_argument("names", metavar="PROFILE", nargs="*", help="which (default)")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--daily", metavar="HH:MM", help=f"install: each day at this time ({DAILY})")
    when.add_argument("--calendar", metavar="WHEN", help="install: when, as systemd.time(7) has it")
    when.add_argument(
        "--cron", metavar="FIELDS", help="install: when, as crontab(5) has it; cron is used then"
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.profiles.using import DEFAULT

    names = arguments.names or arguments.profile
    if arguments.action == "status":
        return _status(context, names)
    if arguments.action == "remove":
        if arguments.daily or arguments.calendar or arguments.cron:
            raise UsageError("say when with `imbfs schedule install` only")
        return _remove(context, names or [DEFAULT])
    return _install(context, arguments, names or [DEFAULT])


def _install(context: Context, arguments: argparse.Namespace, names: list[str]) -> int:
    from backup.cli.profiles import load
    from backup.cli.scheduling import cron, systemd

    hour, minute = _daily(arguments.daily or DAILY)
    load(names, context)
    use_cron = arguments.cron is not None or (arguments.calendar is None and not systemd.is_there())
    if use_cron and not cron.is_there():
        raise ImbfsError("neither a systemd of this user nor crontab is there to run anything")
    for name in names:
        if use_cron:
            cron.install(name, when := arguments.cron or f"{minute} {hour} * * *")
            systemd_too = systemd.is_there() and systemd.remove(name)
            if systemd_too:
                context.notice(f"the timer of {name} is removed: cron runs it now")
        else:
            systemd.install(name, when := arguments.calendar or f"*-*-* {hour:02}:{minute:02}:00")
            if cron.is_there() and cron.remove(name):
                context.notice(f"the line of {name} is gone from the crontab: systemd runs it now")
        context.notice(f"profile {name} is run by {'cron' if use_cron else 'systemd'}: {when}")
    if not use_cron:
        context.notice("so that it runs while you are logged out, too: loginctl enable-linger")
    return exits.DONE


def _daily(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text)
    if match is None:
        raise UsageError(f"--daily {text}: give a time such as 03:00")
    return int(match[1]), int(match[2])


def _remove(context: Context, names: list[str]) -> int:
    from backup.cli.profiles import profile_file
    from backup.cli.scheduling import cron, systemd

    for name in names:
        profile_file(name)
        by = [
            called
            for called, scheduler in (("systemd", systemd), ("cron", cron))
            if scheduler.is_there() and scheduler.remove(name)
        ]
        if not by:
            raise NotFound(f"profile {name} is not scheduled: `imbfs schedule status` lists those that are")
        context.notice(f"profile {name} is not run by {' or '.join(by)} any more")
    return exits.DONE


def _status(context: Context, names: list[str]) -> int:
    from backup.cli.scheduling import cron, systemd

    found: list[Scheduled] = []
    for scheduler in (systemd, cron):
        if scheduler.is_there():
            found += [each for each in scheduler.status() if not names or each.profile in names]
    if context.json:
        show_json([each._asdict() for each in found])
    elif found:
        table(("PROFILE", "BY", "WHEN", "NEXT", "LAST"), found)
    else:
        context.notice("nothing is scheduled: `imbfs schedule install` does it")
    return exits.DONE
