"""Options for what must not change, and what is not to be looked at; and telling of it."""

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backup.cli.context import Context
from backup.cli.locks import locks
from backup.cli.output import count, printable
from backup.model.errors import UsageError

if TYPE_CHECKING:
    from backup.ops.guarding.alarms import Alarm, Immutable
    from backup.source.gitignore import Pattern


def add_guards(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what must not change")
    group.add_argument(
        "--immutable", metavar="PATH", action="append", default=[],
        help="what changes or goes there is an alarm, and stays as the last backup has it (exit 6)",
    )  # fmt: skip
    group.add_argument(
        "--accept-changes", metavar="PATH", action="append", default=[],
        help="let such changes there through, this time",
    )  # fmt: skip
    group.add_argument(
        "--locked", metavar="PATH", action="append", default=[],
        help="do not look there, and keep it as the last backup has it",
    )  # fmt: skip
    group.add_argument("--ignore-lock", action="store_true", help="take what is locked as it is")


def immutable_of(arguments: argparse.Namespace) -> "Immutable":
    """Raises `UsageError`."""
    from backup.ops.guarding.alarms import Immutable
    from backup.source.places import Places, has_wildcard

    guarded = [_place(text, "--immutable") for text in arguments.immutable]
    accepted = [_place(text, "--accept-changes") for text in arguments.accept_changes]
    if accepted and not guarded:
        raise UsageError(
            "--accept-changes is for what is immutable, and nothing is: say what, with --immutable"
        )
    named = [path for path, negative, _ in (*guarded, *accepted) if not negative and not has_wildcard(path)]
    return Immutable(
        Places(pattern for *_, patterns in guarded for pattern in patterns),
        Places(pattern for *_, patterns in accepted for pattern in patterns),
        tuple(named),
    )


def _place(text: str, option: str) -> "tuple[bytes, bool, list[Pattern]]":
    """The path, whether it is taken out again (`!`), and its patterns."""
    from backup.ops.storing.sources import absolute
    from backup.source.places import place_patterns

    negative = text.startswith("!")
    path = absolute(os.fsencode(text[negative:]))
    return path, negative, place_patterns(path, option, negative=negative)


def locked_of(arguments: argparse.Namespace) -> frozenset[bytes]:
    """Those of the options, and those of this user. Raises `UsageError`, `ImbfsError`."""
    from backup.ops.storing.sources import absolute

    if arguments.ignore_lock:
        return frozenset()
    return frozenset(absolute(os.fsencode(text)) for text in arguments.locked) | locks().keys()


_WORDS = {
    "changed": "has other content",
    "touched": "was touched, and perhaps changed (--verify tells)",
    "replaced": "was replaced by something else",
    "removed": "is gone",
    "moved": "was moved to",
}


def tell_alarms(context: Context, alarms: "Sequence[Alarm]", top: bytes, *, kept: bool = True) -> None:
    """On stderr, one line each; `kept`: and what has come of it."""
    for alarm in alarms:
        files = f", with {count(alarm.files, 'file')}" if alarm.files > 1 else ""
        to = f" {printable(os.path.join(top, alarm.to))}" if alarm.to is not None else ""
        then = ": kept as the last backup has it" if kept else ""
        path = printable(os.path.join(top, alarm.path))
        context.warn(f"alarm: {path} is immutable, and {_WORDS[alarm.change]}{to}{files}{then}")
    if alarms:
        context.warn(
            f"{count(len(alarms), 'alarm')}: `imbfs restore` puts back what was there,"
            " `imbfs backup --accept-changes PATH` takes a change that is wanted"
        )


def alarm_records(alarms: "Sequence[Alarm]") -> list[dict[str, Any]]:
    """As JSON output has them."""
    from backup.model.text import to_name

    found: list[dict[str, Any]] = []
    for alarm in alarms:
        record: dict[str, Any] = {"change": alarm.change, "path": to_name(alarm.path), "files": alarm.files}
        if alarm.to is not None:
            record["to"] = to_name(alarm.to)
        found.append(record)
    return found
