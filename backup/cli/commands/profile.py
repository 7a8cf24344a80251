"""imbfs profile"""

import argparse
import json
import os
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import show, show_json, tell, write
from backup.model.errors import UsageError

if TYPE_CHECKING:
    from backup.cli.profiles import Problem


ACTIONS = ("init", "list", "show", "edit", "check", "import", "export")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS, help="what to do")
    parser.add_argument("names", metavar="PROFILE", nargs="*", help="which (default); import: FILE [PROFILE]")
    parser.add_argument(
        "--path", metavar="PATH", action="append", default=[], help="init: what it backs up (~)"
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.profiles import profile_names
    from backup.cli.profiles.using import DEFAULT

    if arguments.action == "list":
        return _list(context)
    if arguments.path and arguments.action != "init":
        raise UsageError("--path is for `imbfs profile init`")
    if arguments.action == "import":
        return _import(context, arguments.names)
    names = arguments.names or arguments.profile
    if arguments.action == "check":
        return _check(context, names or profile_names())
    if len(names) > 1:
        raise UsageError(f"`imbfs profile {arguments.action}` takes one profile")
    name = names[0] if names else DEFAULT
    if arguments.action == "init":
        return _init(context, name, arguments.path)
    return _edit(context, name) if arguments.action == "edit" else _show(context, name)


def _init(context: Context, name: str, paths: list[str]) -> int:
    from backup.cli.profiles import profile_file, read_profile
    from backup.cli.profiles.default import DEFAULT
    from backup.cli.profiles.editing import write_profile

    file = profile_file(name)
    places = [os.path.abspath(path).replace("$", "$$") for path in paths] or ["~"]
    try:
        text = DEFAULT.format(name=name, paths=json.dumps(places, ensure_ascii=False))
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("a profile is UTF-8 and cannot name this path: use files-from in it") from None
    read_profile(name, text, str(file), context)
    write_profile(file, text, replace=False)
    context.notice(f"made {file}: `imbfs profile edit {name}` changes it, `imbfs run {name}` does it")
    return exits.DONE


def _import(context: Context, words: list[str]) -> int:
    """What cannot be a profile is told, and nothing is written."""
    from backup.cli.profiles import profile_file, read_profile
    from backup.cli.profiles.editing import write_profile
    from backup.cli.profiles.importing import imported

    if not 1 <= len(words) <= 2:
        raise UsageError("`imbfs profile import FILE [PROFILE]` takes a file, and the profile's name")
    name = words[1] if len(words) == 2 else Path(words[0]).stem
    file = profile_file(name)
    text, left = imported(Path(words[0]))
    read_profile(name, text, f"{words[0]}, as the profile {name}", context)
    write_profile(file, text, replace=False)
    for each in left:
        context.warn(f"not carried over: {each}")
    context.notice(f"made {file}: `imbfs profile edit {name}` changes it, `imbfs run {name}` does it")
    return exits.DONE


def _list(context: Context) -> int:
    """Those that are wrong are listed, too, with how many problems they have."""
    from backup.cli.profiles import profile_file, profile_names

    found = [(name, profile_file(name), _problems(name, context)) for name in profile_names()]
    if context.json:
        show_json([{"name": name, "file": str(file), "problems": len(wrong)} for name, file, wrong in found])
        return exits.DONE
    for name, file, wrong in found:
        show(f"{name}  {file}" + (f"  ({len(wrong)} wrong: `imbfs profile check {name}`)" if wrong else ""))
    if not found:
        context.notice("there is no profile: `imbfs profile init` makes one")
    return exits.DONE


def _problems(name: str, context: Context) -> "list[Problem]":
    from backup.cli.profiles import Problem, ProfileError
    from backup.cli.profiles.file import profile_text
    from backup.cli.profiles.reading import examine

    try:
        return examine(name, profile_text(name), context)[1]
    except ProfileError as error:
        return [Problem(1, str(error))]
    except OSError as error:
        return [Problem(1, exits.message_of(error))]


def _show(context: Context, name: str) -> int:
    from backup.cli.profiles.file import profile_text

    text = profile_text(name)
    if context.json:
        try:
            show_json(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"profile {name} is not TOML: {error}") from None
    else:
        write(text.encode())
    return exits.DONE


def _check(context: Context, names: list[str]) -> int:
    from backup.cli.profiles import profile_file
    from backup.cli.profiles.file import profile_text

    found = []
    for name in names:
        file = profile_file(name)
        if not file.exists():
            profile_text(name)
        found += [(name, file, problem) for problem in _problems(name, context)]
    if context.json:
        show_json(
            [
                {"profile": name, "file": str(file), "line": each.line, "problem": each.text}
                for name, file, each in found
            ]
        )
    else:
        for _, file, each in found:
            show(f"{file}:{each.line}: {each.text}")
        if not found and not context.quiet:
            tell(f"nothing is wrong with {', '.join(names) or 'any profile'}")
    return exits.USAGE if found else exits.DONE


def _edit(context: Context, name: str) -> int:
    """The editor gets a copy, which takes the place of the profile when nothing is wrong with it."""
    from backup.cli.profiles import profile_file
    from backup.cli.profiles.editing import edit, write_profile
    from backup.cli.profiles.file import profile_text
    from backup.cli.profiles.reading import examine

    before = profile_text(name)
    with tempfile.TemporaryDirectory(prefix="imbfs-") as directory:
        copy = Path(directory) / f"{name}.toml"
        copy.write_text(before)
        while True:
            edit(copy)
            text = copy.read_text(errors="replace")
            problems = examine(name, text, context)[1]
            if not problems:
                break
            for problem in problems:
                tell(f"{copy.name}:{problem.line}: {problem.text}")
            if not _again():
                raise UsageError("the profile is left as it was: what was edited is wrong")
    if text == before:
        context.notice("nothing was changed")
    else:
        write_profile(profile_file(name), text)
    return exits.DONE


def _again() -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stderr.write("edit it again? (anything but `yes` gives it up) ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == "yes"
