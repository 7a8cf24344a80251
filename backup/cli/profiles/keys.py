"""The keys of a profile. Those of a command's table are the command's options."""

import argparse
from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple, NoReturn

from backup.cli.rules import add_rules

Kind = Literal[
    "text", "texts", "flag", "seconds", "path", "place", "places", "commands", "duration", "history"
]

#: The commands that have a table, and the options that make no sense in it.
TABLES: dict[str, frozenset[str]] = {
    "backup": frozenset(
        {
            "time",
            "dry-run",
            "stdin",
            "stdin-from-command",
            "stdin-name",
            "approve",
            "accept-changes",
            "ignore-lock",
            "metrics",
        }
    ),
    "forget": frozenset({"dry-run", "prune", "max-unused"}),
    "prune": frozenset({"dry-run", "metrics"}),
    "check": frozenset({"metrics"}),
}
#: What names a file or directory: `~` and `$VAR` mean something there.
PLACES = frozenset({"exclude-file", "files-from", "files-from0", "immutable", "locked"})


class Key(NamedTuple):
    """`option` is the command's, where there is one."""

    kind: Kind
    option: str | None = None


class WrongValue(Exception):
    """What argparse says of a value."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise WrongValue(message.partition(": ")[2] or message)


@cache
def parser_of(command: str) -> argparse.ArgumentParser:
    """Raises `WrongValue` where others end the program."""
    parser = _Parser(prog=command, add_help=False, allow_abbrev=False)
    import_module(f"backup.cli.commands.{command}").add_arguments(parser)
    return parser


@cache
def rule_options() -> frozenset[str]:
    """Those that say what stays out: `why` takes them as well."""
    parser = argparse.ArgumentParser(add_help=False)
    add_rules(parser)
    return frozenset(parser._option_string_actions)


def keys_of(table: str) -> dict[str, Key]:
    """The keys of a table; those at the top of the file for the empty name."""
    if table not in TABLES:
        return _OWN[table]
    return _OWN.get(table, {}) | {
        option.removeprefix("--"): Key(_kind(action), option)
        for option, action in parser_of(table)._option_string_actions.items()
        if option.startswith("--") and option.removeprefix("--") not in TABLES[table]
    }


def _kind(action: argparse.Action) -> Kind:
    if action.nargs == 0:
        return "flag"
    return "texts" if isinstance(action.default, list) else "text"


_OWN: dict[str, dict[str, Key]] = {
    "": {"repository": Key("place"), "metrics": Key("place", "--metrics")},
    "backup": {"paths": Key("places")},
    "prune": {"every": Key("duration")},
    "check": {"every": Key("duration")},
    #: The names are the user's.
    "names": {},
    "rule": {
        "path": Key("path"),
        "exclude": Key("texts"),
        "include": Key("texts"),
        "history": Key("history"),
        "immutable": Key("flag"),
        "locked": Key("flag"),
    },
    "hooks": {
        "before": Key("commands"),
        "after": Key("commands"),
        "on-failure": Key("commands"),
        "timeout": Key("seconds"),
    },
}
#: All tables; `rule` may be there more than once.
ALL_TABLES = ("names", "backup", "rule", "forget", "prune", "check", "hooks")


def words_of(table: str, values: dict[str, Any], only: frozenset[str] | None = None) -> list[str]:
    """The command's options. Of patterns, the last one that fits decides: `include` comes last."""
    words = []
    for name, value in sorted(values.items(), key=lambda item: item[0] == "include"):
        option = keys_of(table)[name].option
        if option is None or (only is not None and option not in only):
            continue
        if value is True:
            words.append(option)
        elif value is not False:
            words += [f"{option}={text}" for text in (value if isinstance(value, list) else [value])]
    return words
