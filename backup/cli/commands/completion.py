"""imbfs completion"""

import argparse
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from backup.cli import exits
from backup.cli.completing import Answer, Candidate, Line, answer, parse_line
from backup.cli.completion_scripts import SCRIPTS
from backup.cli.context import Context
from backup.cli.output import write
from backup.library.environment import cache_directory
from backup.model.errors import ImbfsError
from backup.model.ids import SHORT_ID
from backup.model.selector import parse_target

if TYPE_CHECKING:
    from backup.model.ids import ObjectId
    from backup.repository import Repository


#: Names offered at once: more cannot be looked at.
MOST_PATHS = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="the shell that is to complete")
    # The script asks with the line that is being typed.
    parser.add_argument("line", nargs="?", help=argparse.SUPPRESS)


def run(context: Context, arguments: argparse.Namespace) -> int:
    if arguments.line is None:
        write(SCRIPTS[arguments.shell].encode())
        return exits.DONE
    line = parse_line(arguments.line)
    found = _answer(context, line)
    lines: list[str] = [found.kind]
    for candidate in found.candidates:
        if candidate.value.startswith(line.word) and "\n" not in candidate.value:
            lines.append(
                _for_bash(candidate, line, found) if arguments.shell == "bash" else "\t".join(candidate)
            )
    write(os.fsencode("\n".join(lines)) + b"\n")
    return exits.DONE


def _for_bash(candidate: Candidate, line: Line, found: Answer) -> str:
    """bash breaks words at `:` and `=`, and wants the rest; it quotes nothing but paths."""
    if line.quote:
        return candidate.value
    breaks = os.environ.get("COMP_WORDBREAKS", "")
    start = max((line.word.rfind(letter) + 1 for letter in breaks if letter in ":="), default=0)
    rest = candidate.value[start:]
    return rest if found.kind == "paths" else re.sub(r"([^\w@%+=:,./~-])", r"\\\1", rest)


def _answer(context: Context, line: Line) -> Answer:
    """An error is no use to somebody who is typing."""
    try:
        return answer(line, _Known(_repository_path(context, line)))
    except (ImbfsError, OSError, SystemExit):
        return Answer()


def _repository_path(context: Context, line: Line) -> Path:
    """The one that the line names, or else this run's, or else that of the profile that the line names."""
    words, profile = line.before, None
    for number, word in enumerate(words):
        if word in ("-r", "--repo") and number + 1 < len(words):
            return Path(os.path.expanduser(words[number + 1]))
        if word.startswith("--repo="):
            return Path(os.path.expanduser(word.removeprefix("--repo=")))
        if word == "--profile" and number + 1 < len(words):
            profile = words[number + 1]
        elif word.startswith("--profile="):
            profile = word.removeprefix("--profile=")
    named = None if profile is None or context.repository_named else _repository_of(profile, context)
    return context.repository_path if named is None else Path(named)


def _repository_of(profile: str, context: Context) -> str | None:
    from backup.cli.profiles.file import load

    try:
        return load([profile], context)[0].repository
    except (ImbfsError, OSError):
        return None


class _Known:
    """What the repository holds, read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def _open(self) -> "Iterator[Repository]":
        from backup.repository import Repository

        with Repository.open(self._path, cache_directory(), lambda _: None) as repository:
            yield repository

    def snapshots(self) -> Iterator[Candidate]:
        from backup.cli.output import printable

        with self._open() as repository:
            snapshots = repository.snapshots()
        if snapshots:
            yield Candidate("latest", "the newest")
        for snapshot in reversed(snapshots):
            paths = " ".join(map(printable, snapshot.paths))
            text = f"{snapshot.body.time[:16].replace('T', ' ')} {snapshot.body.host} {paths}"
            yield Candidate(snapshot.id[:SHORT_ID], text)
        for tag in sorted({tag for snapshot in snapshots for tag in snapshot.labels.tags}):
            yield Candidate(f"tag:{tag}", "the newest with this tag")

    def tags(self) -> list[str]:
        with self._open() as repository:
            return sorted({tag for each in repository.snapshots() for tag in each.labels.tags})

    def hosts(self) -> list[str]:
        with self._open() as repository:
            return sorted({each.body.host for each in repository.snapshots()})

    def profiles(self) -> list[str]:
        from backup.cli.profiles.file import profile_names

        return profile_names()

    def paths(self, target: str) -> Iterator[str]:
        from backup.snapshots.catalogue import select
        from backup.snapshots.paths import find_entry

        with self._open() as repository:
            snapshots = repository.snapshots()
            tags = {tag for snapshot in snapshots for tag in snapshot.labels.tags}
            selector, path = parse_target(target, datetime.now(UTC).astimezone(), tags)
            if path is None or (selector.tag is not None and selector.tag not in tags):
                return
            directory, slash, start = path.rpartition("/")
            snapshot = select(selector, snapshots)
            top, _ = find_entry(snapshot, os.fsencode(directory + slash), repository.tree)
            names = _names(repository, top.tree, os.fsencode(start)) if top.tree is not None else iter(())
            for name in names:
                yield f"{selector.text}:{directory}{slash}{os.fsdecode(name)}"


def _names(repository: "Repository", tree: "ObjectId", start: bytes) -> Iterator[bytes]:
    """Names that begin so, those of directories with a slash; found by bisection, however many there are."""
    directory = repository.directory(tree)
    low, high = 0, len(directory)
    while low < high:
        middle = (low + high) // 2
        page, local = directory.at(middle)
        low, high = (middle + 1, high) if page.names[local] < start else (low, middle)
    for position in range(low, min(len(directory), low + MOST_PATHS)):
        page, local = directory.at(position)
        name = page.names[local]
        if not name.startswith(start):
            return
        mode = int.from_bytes(page.stat(local)[:4], "little")
        yield name + (b"/" if stat.S_ISDIR(mode) else b"")
