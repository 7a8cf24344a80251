"""What a backup reads instead of paths: stdin, or a command's output."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backup.model.errors import ImbfsError, UsageError


def add_stream(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a stream in place of paths")
    group.add_argument("--stdin", action="store_true", help="back up what comes from stdin, as one file")
    group.add_argument(
        "--stdin-from-command", action="store_true",
        help="back up what a command prints; the arguments, best after --, are the command",
    )  # fmt: skip
    group.add_argument("--stdin-name", metavar="NAME", default="stdin", help="the file's name (stdin)")


def wants_stream(arguments: argparse.Namespace) -> bool:
    """Raises `UsageError` for options that do not go together."""
    if not arguments.stdin and not arguments.stdin_from_command:
        return False
    if arguments.stdin and (arguments.stdin_from_command or arguments.paths):
        raise UsageError("--stdin takes neither a path nor a command: a stream is a snapshot of its own")
    if arguments.stdin_from_command and not arguments.paths:
        raise UsageError("--stdin-from-command: name the command, after --")
    if arguments.immutable or arguments.accept_changes:
        raise UsageError("--immutable is about paths, and a stream has none")
    if arguments.files_from or arguments.files_from0 or arguments.approve or arguments.expect:
        raise UsageError("a stream can be neither compared beforehand nor backed up together with paths")
    return True


@contextmanager
def open_stream(arguments: argparse.Namespace) -> Iterator[tuple[int, Callable[[], None]]]:
    """The descriptor to read, and what raises `ImbfsError` where its end was not a good one.

    Raises OSError where the command cannot be run. It does not outlive the `with`.
    """
    if arguments.stdin:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("--stdin: nothing is piped into imbfs")
        yield sys.stdin.fileno(), lambda: None
        return
    import subprocess

    process = subprocess.Popen(arguments.paths, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None

    def ended() -> None:
        if process.wait():
            raise ImbfsError(
                f"the command {arguments.paths[0]} failed ({_how(process.returncode)}): no snapshot was made"
            )

    try:
        yield process.stdout.fileno(), ended
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.kill()
        process.wait()


def _how(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"ended by signal {-code}"
