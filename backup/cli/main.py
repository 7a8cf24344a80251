"""The `imbfs` command."""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType, ModuleType
from typing import NoReturn

from backup import __version__
from backup.cli import exits
from backup.cli.commands import COMMANDS
from backup.cli.context import Context
from backup.cli.log import Log, open_log
from backup.cli.metrics import run_command
from backup.cli.output import flush, tell
from backup.model.errors import ImbfsError

DESCRIPTION = "Backups that are folders: back up a tree, mount any snapshot, copy back with cp."


class Parser(argparse.ArgumentParser):
    """Reports wrong usage in one line, with where to read more."""

    def error(self, message: str) -> NoReturn:
        tell(f"imbfs: {message} (`{self.prog} --help` tells more)")
        raise SystemExit(exits.USAGE)


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    signal.signal(signal.SIGTERM, _interrupt)
    logs: list[Log] = []
    try:
        code = _main(argv, logs)
        for log in logs:
            log.end(code)
        return code
    finally:
        for log in logs:
            log.close()


def _main(argv: list[str], logs: list[Log]) -> int:
    """Adds the log to `logs`, where there is one."""
    verbose = 0
    try:
        module, arguments = parse(argv)
        verbose = arguments.verbose
        # The driver of a mount writes a log of its own.
        if arguments.log_file is not None and not module.__name__.endswith(".mount"):
            logs.append(open_log(arguments.log_file, argv))
        code = _run(argv, module, arguments)
        flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has gone: nobody is left to tell.
        return exits.FAILED
    except (ImbfsError, OSError, KeyboardInterrupt, MemoryError) as error:
        return _report(error, verbose)
    except Exception as error:
        if verbose < 2:
            return _report(_Unexpected(error), verbose)
        return _report(error, verbose)


#: Commands that read profiles themselves, wrong ones too.
_ABOUT_PROFILES = ("profile", "schedule")


def _run(argv: list[str], module: ModuleType, arguments: argparse.Namespace) -> int:
    command = module.__name__.rpartition(".")[2]
    if command in _ABOUT_PROFILES or (not arguments.profile and command != "run"):
        return run_command(module, Context(arguments), arguments)
    from backup.cli.profiles.using import run_with_profiles

    return run_with_profiles(module, arguments, lambda words: parse(argv, words)[1], _report)


class _Unexpected(ImbfsError):
    def __init__(self, error: Exception) -> None:
        super().__init__(f"unexpected {type(error).__name__}: {error} (-vv shows where; please report it)")


def _report(error: BaseException, verbose: int) -> int:
    if verbose > 1:
        import traceback

        traceback.print_exception(error)
    tell(f"imbfs: {exits.message_of(error)}")
    return exits.code_of(error)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def parse(argv: list[str], first: Sequence[str] = ()) -> tuple[ModuleType, argparse.Namespace]:
    """The command's module and its arguments; `first` are options that others win over.

    Only that module is imported.
    """
    before, command, after = split(argv)
    top = top_parser()
    given = top.parse_args(before)
    if given.help or (command is None and "--help" in after):
        print(_help(top))
        raise SystemExit(exits.DONE)
    if given.version:
        print(f"imbfs {__version__}")
        raise SystemExit(exits.DONE)
    if command is None:
        top.error("name a command")
    if command not in COMMANDS:
        top.error(f"there is no command {command!r}{_nearest(command)}")
    parser = command_parser(command)
    parser.set_defaults(**{name: getattr(given, name) for name in _GLOBALS})
    return _module(command), _parse(parser, [*first, *after])


def _parse(parser: Parser, words: list[str]) -> argparse.Namespace:
    """Options and arguments in any order; what stands behind `--` is an argument, whatever it looks like."""
    end = words.index("--") if "--" in words else len(words)
    # argparse forgets about `--` where options and arguments mix. No argument has a NUL byte.
    behind = {f"\0{number}": word for number, word in enumerate(words[end + 1 :])}
    parsed = parser.parse_intermixed_args([*words[:end], *behind])
    for name, value in vars(parsed).items():
        if isinstance(value, str):
            setattr(parsed, name, behind.get(value, value))
        elif isinstance(value, list):
            setattr(
                parsed, name, [behind.get(word, word) if isinstance(word, str) else word for word in value]
            )
    return parsed


#: Global options work before the command and after it.
_GLOBALS = ("repo", "profile", "json", "quiet", "verbose", "no_progress", "log_file")


def command_parser(command: str) -> Parser:
    """The parser of one command's arguments, the global options among them."""
    module = _module(command)
    parser = Parser(prog=f"imbfs {command}", description=COMMANDS[command], allow_abbrev=False)
    module.add_arguments(parser)
    _add_globals(parser)
    return parser


def split(argv: list[str]) -> tuple[list[str], str | None, list[str]]:
    """What stands before the command, the command, what stands after it."""
    position = 0
    while position < len(argv) and argv[position][:1] == "-" != argv[position]:
        position += 2 if _takes_value(argv[position]) else 1
    if position >= len(argv):
        return argv, None, []
    return argv[:position], argv[position], argv[position + 1 :]


def _takes_value(option: str) -> bool:
    """`--repo` and its like, and `-r`; and `-qr`, short options in one word."""
    return option in ("--repo", "--profile", "--log-file") or (
        option[1] != "-" and "r" not in option[1:-1] and option.endswith("r")
    )


def top_parser() -> Parser:
    parser = Parser(
        prog="imbfs", usage="imbfs [options] COMMAND …", description=DESCRIPTION, allow_abbrev=False,
        add_help=False,
    )  # fmt: skip
    parser.add_argument("-h", "--help", action="store_true", help="show this help and exit")
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    _add_globals(parser)
    return parser


def _add_globals(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("options of every command")
    group.add_argument(
        "-r", "--repo", metavar="REPO", help="the repository's directory (else $IMBFS_REPOSITORY)"
    )
    group.add_argument(
        "--profile",
        metavar="PROFILE",
        action="append",
        default=[],
        help="do it as a profile says",
    )
    group.add_argument("--json", action="store_true", help="print JSON on stdout")
    group.add_argument("-q", "--quiet", action="store_true", help="print results and errors only")
    group.add_argument("-v", "--verbose", action="count", default=0, help="tell more (-vv: errors in full)")
    group.add_argument("--no-progress", action="store_true", help="show no progress")
    group.add_argument("--log-file", metavar="FILE", help="append to FILE what is told, with the time")


def _help(top: Parser) -> str:
    lines = [f"  {name:<10} {summary}" for name, summary in COMMANDS.items()]
    epilog = "`imbfs COMMAND --help` tells more of each."
    return "\n".join((top.format_help(), "commands:", *lines, "", epilog))


def _nearest(command: str) -> str:
    import difflib

    near = difflib.get_close_matches(command, COMMANDS, n=1)
    return f": did you mean {near[0]!r}?" if near else ""


def _module(command: str) -> ModuleType:
    return import_module(f"backup.cli.commands.{command}")


if __name__ == "__main__":
    raise SystemExit(main())
