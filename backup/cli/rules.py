"""The options that say what goes into a backup and what stays out."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backup.cli.context import Context
from backup.model.errors import UsageError
from backup.model.size import parse_size

if TYPE_CHECKING:
    from backup.source.gitignore import Pattern
    from backup.source.rules import Marker, Rules


class _Include(argparse.Action):
    """`--include P` is `--exclude !P`: the last one that fits decides, whichever it is."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), (option_string, f"!{values}")])


class _Exclude(_Include):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), (option_string, values)])


def add_patterns(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--exclude", metavar="PATTERN", action=_Exclude, dest="patterns", default=[],
        help="what fits stays out, in the language of gitignore",
    )  # fmt: skip
    group.add_argument(
        "--include",
        metavar="PATTERN",
        action=_Include,
        dest="patterns",
        default=[],
        help="what fits goes in after all",
    )
    group.add_argument(
        "--exclude-file", metavar="FILE", action="append", default=[], help="patterns, one a line"
    )


def add_rules(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what stays out")
    add_patterns(group)
    group.add_argument(
        "--ignore-file", metavar="NAME", action="append", default=[],
        help="take patterns from files of this name in directories, too (.gitignore)",
    )  # fmt: skip
    group.add_argument("--no-ignore-files", action="store_true", help="take none from .imbfsignore")
    group.add_argument("--exclude-caches", action="store_true", help="not what is beside a CACHEDIR.TAG")
    group.add_argument(
        "--exclude-if-present", metavar="NAME[:HEADER]", action="append", default=[],
        help="not what is beside a file of this name, which begins with HEADER",
    )  # fmt: skip
    group.add_argument("--exclude-larger-than", metavar="SIZE", help="no larger files")
    group.add_argument("--one-file-system", action="store_true", help="do not enter other file systems")


def patterns_of(context: Context, arguments: argparse.Namespace) -> "Rules":
    """The patterns alone. Raises `UsageError`; OSError where a file of patterns cannot be read."""
    from backup.source.patterns import option_pattern
    from backup.source.rules import Rules

    return Rules(
        patterns=tuple(option_pattern(text, option) for option, text in arguments.patterns),
        weak_patterns=tuple(patterns_in(context, arguments.exclude_file)),
        ignore_names=(),
    )


def rules_of(context: Context, arguments: argparse.Namespace) -> "Rules":
    """Raises `UsageError`; OSError where a file of patterns cannot be read."""
    from backup.source.rules import CACHE_MARKER, IGNORE_NAME

    size = arguments.exclude_larger_than
    markers = [_marker(text) for text in arguments.exclude_if_present]
    own = [] if arguments.no_ignore_files else [IGNORE_NAME]
    return replace(
        patterns_of(context, arguments),
        ignore_names=(*map(_file_name, arguments.ignore_file), *own),
        markers=(*([CACHE_MARKER] if arguments.exclude_caches else []), *markers),
        larger_than=None if size is None else parse_size(size, "--exclude-larger-than"),
        one_file_system=arguments.one_file_system,
    )


def rules_given(arguments: argparse.Namespace) -> bool:
    """Whether any of the options was."""
    parser = argparse.ArgumentParser(add_help=False)
    add_rules(parser)
    return any(getattr(arguments, name) != value for name, value in vars(parser.parse_args([])).items())


def _marker(text: str) -> "Marker":
    from backup.source.rules import Marker

    name, _, header = os.fsencode(text).partition(b":")
    return Marker(_name(name, "--exclude-if-present"), header, f"--exclude-if-present {text}")


def _file_name(text: str) -> bytes:
    return _name(os.fsencode(text), "--ignore-file")


def _name(name: bytes, option: str) -> bytes:
    if name in (b"", b".", b"..") or b"/" in name:
        raise UsageError(f"{option}: give the name of a file, without a directory")
    return name


def patterns_in(context: Context, files: list[str]) -> "list[Pattern]":
    """What is no pattern is told. Raises OSError."""
    from backup.source.gitignore import parse_lines

    found = []
    for path in files:
        found += parse_lines(read_bytes(path), path, context.warn)
    return found


def read_bytes(path: str) -> bytes:
    """A file's bytes; those of stdin for `-`. Raises OSError."""
    if path == "-":
        return sys.stdin.buffer.read()
    with open(path, "rb") as file:
        return file.read()
