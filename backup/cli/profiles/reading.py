"""From a file's text to a profile: everything in it is checked, nothing is evaluated."""

import difflib
import os
import tomllib
from typing import Any, NamedTuple

from backup.cli.context import Context
from backup.cli.exits import message_of
from backup.cli.profiles import judging
from backup.cli.profiles.keys import (
    ALL_TABLES,
    PLACES,
    TABLES,
    Key,
    WrongValue,
    keys_of,
    parser_of,
    rule_options,
    words_of,
)
from backup.cli.profiles.lines import Way, line_of
from backup.cli.profiles.naming import NAME
from backup.cli.profiles.profile import Hooks, Profile, Rule
from backup.cli.profiles.values import (
    NotThat,
    read_commands,
    read_duration,
    read_flag,
    read_history,
    read_place,
    read_seconds,
    read_text,
    read_texts,
)
from backup.model.errors import ImbfsError, UsageError


class Problem(NamedTuple):
    line: int
    text: str


class ProfileError(UsageError):
    """What is wrong with a profile; the message has the first problem, with file and line."""


def read_profile(name: str, text: str, file: str, context: Context) -> Profile:
    """Raises `ProfileError`."""
    profile, problems = examine(name, text, context)
    if problems:
        more = f" (and {len(problems) - 1} more: `imbfs profile check {name}`)" if len(problems) > 1 else ""
        raise ProfileError(f"{file}:{problems[0].line}: {problems[0].text}{more}")
    return profile


def examine(name: str, text: str, context: Context) -> tuple[Profile, list[Problem]]:
    """The profile, of what is right, and all that is wrong, in the order of lines."""
    try:
        known = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Profile(name), [_syntax(text, error)]
    reader = _Reader(text, context)
    profile = reader.profile(name, known)
    return profile, sorted(reader.problems)


def _syntax(text: str, error: tomllib.TOMLDecodeError) -> Problem:
    """tomllib tells the line in its message only."""
    message, _, place = str(error).rpartition(" (at ")
    words = place.removesuffix(")").replace(",", "").split()
    line = int(words[1]) if words[:1] == ["line"] else text.rstrip("\n").count("\n") + 1
    return Problem(line, f"this is not TOML: {message[:1].lower()}{message[1:]}")


class _Reader:
    """Goes through one file and collects what is wrong."""

    def __init__(self, text: str, context: Context) -> None:
        self._text = text
        self._context = context
        self._names: dict[str, str] = {}
        self.problems: list[Problem] = []

    def profile(self, name: str, known: dict[str, Any]) -> Profile:
        self._names = self._named(known.get("names", {}))
        own = self._values("", {key: value for key, value in known.items() if key not in ALL_TABLES}, ())
        tables = {
            table: self._table(known[table], table, (table,))
            for table in ALL_TABLES
            if table not in ("names", "rule") and table in known
        }
        options = {table: words_of(table, tables[table]) for table in TABLES if table in tables}
        backup = tables.get("backup", {})
        options["run"] = words_of("", own)
        options["why"] = words_of("backup", backup, only=rule_options())
        profile = Profile(
            name=name,
            repository=own.get("repository"),
            names=self._names,
            paths=tuple(backup.get("paths", ())),
            options=options,
            rules=tuple(self._rules(known.get("rule", []))),
            hooks=_hooks(tables.get("hooks", {})),
            every={table: values["every"] for table, values in tables.items() if "every" in values},
        )
        if not self.problems:
            self._together(profile)
        return profile

    def _complain(self, way: Way, text: str, value: object = None) -> None:
        self.problems.append(Problem(line_of(self._text, way, value), text))

    def _table(self, table: object, name: str, way: Way) -> dict[str, Any]:
        if isinstance(table, dict):
            return self._values(name, table, way)
        self._complain(way, f"{name} is a table: write [{name}], and its keys below it")
        return {}

    def _named(self, table: object) -> dict[str, str]:
        if not isinstance(table, dict):
            self._complain(("names",), 'names is a table: write [names], and below it NAME = "/…"')
            return {}
        found = {}
        for name, value in table.items():
            try:
                if not NAME.fullmatch(name):
                    raise NotThat("a name has letters, digits and . _ -, with a letter or digit first")
                found[name] = os.path.join(read_place(read_text(value), {}), "")
            except NotThat as error:
                self._complain(("names", name), f"names.{name}: {error}", error.value)
        return found

    def _rules(self, rules: object) -> list[Rule]:
        if not isinstance(rules, list):
            self._complain(("rule",), "there may be several rules: write [[rule]], with two brackets")
            return []
        found = []
        for number, rule in enumerate(rules):
            values = self._table(rule, "rule", ("rule", number))
            if "path" in values:
                patterns = [*values.get("exclude", []), *(f"!{each}" for each in values.get("include", []))]
                found.append(
                    Rule(
                        values["path"],
                        tuple(patterns),
                        values.get("history"),
                        values.get("immutable"),
                        values.get("locked", False),
                    )
                )
            elif isinstance(rule, dict) and "path" not in rule:
                self._complain(("rule", number), 'a rule is about a path: give it as path = "…"')
        return found

    def _values(self, table: str, given: dict[str, Any], way: Way) -> dict[str, Any]:
        keys = keys_of(table)
        found = {}
        for name, value in given.items():
            full = f"{table}.{name}" if table else name
            if name not in keys:
                self._complain((*way, name), f"{full}: there is no such key{_nearest(table, name)}")
                continue
            try:
                found[name] = self._value(table, name, keys[name], value)
            except NotThat as error:
                self._complain((*way, name), f"{full}: {error}", error.value)
        return found

    def _value(self, table: str, name: str, key: Key, value: object) -> Any:
        """Raises `NotThat`."""
        match key.kind:
            case "flag":
                return read_flag(value)
            case "seconds":
                return read_seconds(value)
            case "history":
                return read_history(value)
            case "duration":
                return read_duration(value)
            case "commands":
                return read_commands(value)
            case "path":
                return _absolute(read_place(read_text(value), self._names))
            case "place":
                return read_place(read_text(value), self._names)
            case "places":
                return [read_place(text, self._names) for text in read_texts(value)]
        texts = read_texts(value) if key.kind == "texts" else [read_text(value)]
        if name in PLACES:
            texts = [read_place(text, self._names) for text in texts]
        for text in texts:
            self._judge("backup" if table == "rule" else table, f"--{name}", text)
        return texts if key.kind == "texts" else texts[0]

    def _judge(self, command: str, option: str, text: str) -> None:
        """As the command itself does with its option. Raises `NotThat`."""
        try:
            judging.judge(command, parser_of(command).parse_args([f"{option}={text}"]), self._context)
        except (WrongValue, ImbfsError, OSError) as error:
            message = message_of(error).removeprefix(option).removeprefix(":").lstrip()
            raise NotThat(message, text) from None

    def _together(self, profile: Profile) -> None:
        """What is right by itself may be wrong together."""
        for table in TABLES:
            if table not in profile.options:
                continue
            try:
                judging.judge_table(table, parser_of(table).parse_args(profile.words(table)), profile)
            except UsageError as error:
                self._complain((table,), f"[{table}]: {error}")
        if profile.rules and "backup" not in profile.options:
            self._complain(("rule",), "a rule is about what is backed up: there is no [backup]")
        sources = [_absolute(path) for path in profile.paths]
        for number, rule in enumerate(profile.rules):
            if sources and not any(_inside(rule.path, source) for source in sources):
                way = ("rule", number, "path")
                self._complain(way, f"rule.path: {rule.path} is in nothing that backup.paths names")


def _absolute(path: str) -> str:
    from backup.ops.storing.sources import absolute

    return os.fsdecode(absolute(os.fsencode(path)))


def _inside(path: str, source: str) -> bool:
    return path == source or path.startswith(source.rstrip("/") + "/")


def _nearest(table: str, name: str) -> str:
    known = [*keys_of(table), *(ALL_TABLES if not table else ())]
    near = difflib.get_close_matches(name.replace("_", "-"), known, n=1)
    return f": did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(known))}"


def _hooks(values: dict[str, Any]) -> Hooks:
    return Hooks(
        before=tuple(values.get("before", ())),
        after=tuple(values.get("after", ())),
        on_failure=tuple(values.get("on-failure", ())),
        timeout=values.get("timeout", Hooks.timeout),
    )
