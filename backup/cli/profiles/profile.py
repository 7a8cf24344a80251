"""What a profile says, checked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from backup.model.duration import Duration

Command = tuple[str, ...]
History = Literal["all", "latest"]


@dataclass(frozen=True)
class Rule:
    """What holds for a path and all below it. With `!`, a pattern takes in; they begin at the path.

    `history` says which snapshots keep it, `immutable` whether changes there are alarms; None: this rule says
    nothing of that. `locked`: it is not looked at.
    """

    path: str
    patterns: tuple[str, ...] = ()
    history: History | None = None
    immutable: bool | None = None
    locked: bool = False


@dataclass(frozen=True)
class Hooks:
    """Commands, each as its words. `timeout`, for each command, is in seconds."""

    before: tuple[Command, ...] = ()
    after: tuple[Command, ...] = ()
    on_failure: tuple[Command, ...] = ()
    timeout: float = 3600


@dataclass(frozen=True)
class Profile:
    """`options` are those of each command that the profile has a table for, as on a command line."""

    name: str
    repository: str | None = None
    #: Absolute paths, each under what it is called.
    names: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    hooks: Hooks = Hooks()
    #: How often a run prunes and checks; where it says nothing, each time.
    every: Mapping[str, Duration] = field(default_factory=dict)

    def words(self, command: str) -> list[str]:
        """What stands before the options that a person gives, so that theirs decide."""
        words = [*self.options.get(command, ())]
        if command in ("backup", "why"):
            words += [f"--exclude={pattern}" for rule in self.rules for pattern in patterns_of(rule)]
        if command == "backup":
            words += [word for rule in self.rules for word in _guards_of(rule)]
        return words


def patterns_of(rule: Rule) -> list[str]:
    """The rule's patterns, for all that is backed up."""
    return [_below(rule.path, pattern) for pattern in rule.patterns]


def _guards_of(rule: Rule) -> list[str]:
    words = [f"--locked={rule.path}"] if rule.locked else []
    if rule.immutable is not None:
        words.append(f"--immutable={'' if rule.immutable else '!'}{rule.path}")
    return words


def _below(path: str, pattern: str) -> str:
    """A pattern that says below `path` what `pattern` says in general."""
    negative = "!" if pattern.startswith("!") else ""
    body = pattern.removeprefix("!")
    base = negative + escaped(path).rstrip("/")
    if "/" in body.removesuffix("/"):
        return f"{base}/{body.removeprefix('/')}"
    return f"{base}/**/{body}"


def escaped(path: str) -> str:
    """A pattern that fits this path only."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)
