"""What may come next on a command line that is being typed: asked by the shell, at each Tab."""

import argparse
from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

from backup.cli.commands import COMMANDS
from backup.cli.main import command_parser, split, top_parser

#: Which of the shell's own completions to use; `words` are ours, and so are `paths`, with directories
#: ending in a slash.
Kind = Literal["words", "paths", "files", "directories"]

_OWN: dict[str, Kind] = {
    "FILE": "files",
    "PATH": "files",
    "SOURCE": "files",
    "DIR": "directories",
    "MOUNTPOINT": "directories",
    "REPO": "directories",
}
_TAGS = ("T", "TAG")
_SNAPSHOTS = ("A", "B")


class Candidate(NamedTuple):
    value: str
    description: str = ""


class Answer(NamedTuple):
    kind: Kind = "words"
    candidates: tuple[Candidate, ...] = ()


class Known(Protocol):
    """What the repository that the line names holds (nothing where it cannot be read), and profiles."""

    def snapshots(self) -> Iterable[Candidate]: ...

    def tags(self) -> Iterable[str]: ...

    def hosts(self) -> Iterable[str]: ...

    def profiles(self) -> Iterable[str]: ...

    def paths(self, target: str) -> Iterable[str]:
        """Names that complete `SNAPSHOT:PATH`, each with what stands before it."""


class Line(NamedTuple):
    """A line as the shell takes it apart: the words before the one that is being typed, and that one."""

    before: list[str]
    word: str
    #: The quote that the word is still in; '' for none.
    quote: str


def parse_line(text: str) -> Line:
    """The words of a simple command, up to where it is being typed; quotes and backslashes are taken out."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    letters = iter(text)
    for letter in letters:
        if letter == "\\" and quote != "'":
            word = (word or "") + next(letters, "")
        elif quote:
            quote, word = ("", word) if letter == quote else (quote, (word or "") + letter)
        elif letter in "'\"":
            quote, word = letter, word or ""
        elif letter.isspace():
            words, word = ([*words, word], None) if word is not None else (words, None)
        else:
            word = (word or "") + letter
    return Line(words, word or "", quote)


def answer(line: Line, known: Known) -> Answer:
    """`line.before` begins with the program's name."""
    before, command, after = split(line.before[1:])
    if command is None:
        found = _value_of(top_parser(), line, before, known)
        return found or (_options(top_parser()) if line.word.startswith("-") else _commands())
    if command not in COMMANDS:
        return Answer()
    parser = command_parser(command)
    found = _value_of(parser, line, after, known)
    if found is not None:
        return found
    if line.word.startswith("-") and "--" not in after:
        return _options(parser)
    action = _positional(parser, after)
    return Answer() if action is None else _values(parser, action, line.word, known)


def _commands() -> Answer:
    return Answer(candidates=tuple(Candidate(*each) for each in COMMANDS.items()))


def _options(parser: argparse.ArgumentParser) -> Answer:
    return Answer(
        candidates=tuple(
            Candidate(max(action.option_strings, key=len), _help(action))
            for action in parser._actions
            if action.option_strings and action.help != argparse.SUPPRESS
        )
    )


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


def _value_of(parser: argparse.ArgumentParser, line: Line, before: list[str], known: Known) -> Answer | None:
    """What the option before the word, or in it (`--host=`), takes; None where none is waiting."""
    options = parser._option_string_actions
    if before and (action := options.get(before[-1])) is not None and action.nargs is None:
        return _values(parser, action, line.word, known)
    name, equals, value = line.word.partition("=")
    if equals and (action := options.get(name)) is not None and action.nargs is None:
        found = _values(parser, action, value, known)
        return found._replace(
            candidates=tuple(each._replace(value=f"{name}={each.value}") for each in found.candidates)
        )
    return None


def _positional(parser: argparse.ArgumentParser, before: list[str]) -> argparse.Action | None:
    """The argument that comes next, after those before it."""
    given = 0
    words = iter(before)
    for word in words:
        if word == "--":
            given += len(list(words))
        elif word.startswith("-") and word != "-":
            action = parser._option_string_actions.get(word)
            if action is not None and action.nargs is None:
                next(words, None)
        else:
            given += 1
    for action in parser._actions:
        if action.option_strings or action.help == argparse.SUPPRESS:
            continue
        if not given or action.nargs in ("*", "+"):
            return action
        given -= 1
    return None


def _values(parser: argparse.ArgumentParser, action: argparse.Action, word: str, known: Known) -> Answer:
    if action.choices is not None:
        return _words(map(str, action.choices))
    name = action.metavar if isinstance(action.metavar, str) else action.dest
    if name.startswith("SNAPSHOT") or name in _SNAPSHOTS:
        return _snapshots(parser, name, word, known)
    if name == "PROFILE":
        return _words(known.profiles())
    if name in _TAGS:
        return _words(known.tags())
    if action.dest == "host":
        return _words(known.hosts())
    return Answer(_OWN.get(name, "words"))


def _words(values: Iterable[str]) -> Answer:
    return Answer(candidates=tuple(map(Candidate, values)))


def _snapshots(parser: argparse.ArgumentParser, name: str, word: str, known: Known) -> Answer:
    if word.startswith(("/", "./", "../", "~")) and any(
        action.metavar == "MOUNTPOINT" for action in parser._actions
    ):
        return Answer("directories")
    if ":" in word.removeprefix("tag:") and ":" in name:
        # A colon may be a tag's own.
        tags = (each for each in known.snapshots() if word.startswith("tag:") and each.value.startswith(word))
        return Answer("paths", (*map(Candidate, known.paths(word)), *tags))
    if name in _SNAPSHOTS:
        return Answer(candidates=(*known.snapshots(), Candidate("source", "the live tree")))
    return Answer(candidates=tuple(known.snapshots()))
