"""imbfs mount"""

import argparse
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.selecting import add_filters, filter_of, find_pair, find_target
from backup.model.errors import ImbfsError, UsageError
from backup.model.ids import SHORT_ID

if TYPE_CHECKING:
    from backup.repository import Repository
    from backup.repository.reading import Reading
    from backup.views.inodes import InodeView
    from backup.views.snapshot import Options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="SNAPSHOT[:PATH]", nargs="?", help="a snapshot, and a directory in it (all of them)"
    )
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="an empty directory")
    parser.add_argument("-f", "--foreground", action="store_true", help="stay until it is unmounted")
    parser.add_argument(
        "--increment", action="store_true",
        help="show what the snapshot changed against its parent; with A..B, what B changed against A",
    )  # fmt: skip
    parser.add_argument(
        "-o", metavar="OPT,…", dest="options", action="append", default=[],
        help="allow_other, uid=, gid=, umask=, allow_damaged, list_xattrs, layout=shadow, the kernel's own",
    )  # fmt: skip
    parser.add_argument(
        "--idle-timeout", metavar="SECONDS", type=_seconds, help="unmount when it was not used for so long"
    )
    add_filters(parser)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def run(context: Context, arguments: argparse.Namespace) -> int:
    from fusefs.background import mount_in_background
    from fusefs.mounting import serve
    from fusefs.mountpoint import MountError, check_mountpoint

    own, options = _own_options(arguments.options)
    if arguments.increment and not arguments.target:
        raise UsageError("--increment: name the snapshot")
    if own.layout and arguments.target:
        raise UsageError(f"layout={own.layout} shows all snapshots: name none")
    _refuse_repository(context.repository_path, Path(arguments.mountpoint))

    # In the background the driver's own stderr is the log: what it has to say at first is told here as well.
    notices: list[str] = []

    def note(text: str) -> None:
        context.warn(text)
        notices.append(text)

    @contextmanager
    def view() -> "Iterator[InodeView]":
        from backup.objects.ahead import Background
        from backup.repository.reading import Reading

        # The snapshots are looked for as long as the mount lives: the log is not to grow with that.
        tell = _once(note)
        with context.open_repository(tell) as repository, Reading(repository, "mount") as reading:
            Background()(repository.index.preload)
            yield _open(context, repository, reading, arguments, own, tell)

    shown = f"#{_shown(arguments.target)}" if arguments.target else ""
    if not any(option.startswith("fsname=") for option in options):
        options.insert(0, f"fsname={context.repository_path}{shown}")
    log_file = arguments.log_file and Path(arguments.log_file).absolute()
    try:
        point = check_mountpoint(arguments.mountpoint)
        if arguments.foreground:
            logging.basicConfig(level=logging.INFO, format="imbfs: %(message)s", filename=log_file)
            with view() as opened:
                serve(opened, point, options, on_ready=_notify_ready, idle_timeout=arguments.idle_timeout)
        else:
            mount_in_background(
                view, point, options,
                log_file=log_file, idle_timeout=arguments.idle_timeout, notices=notices,
            )  # fmt: skip
            for text in notices:
                context.warn(text)
    except MountError as error:
        raise ImbfsError(str(error)) from error
    return exits.DONE


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Tells each text the first time only."""
    told: set[str] = set()

    def tell_once(text: str) -> None:
        if text not in told:
            told.add(text)
            tell(text)

    return tell_once


class _Own:
    """Mount options that say what is shown: ours, not the kernel's."""

    def __init__(self) -> None:
        self.layout = ""
        self.allow_damaged = False
        self.list_xattrs = False

    def view_options(self) -> "Options":
        from backup.views.snapshot import Options

        return Options(self.allow_damaged, self.list_xattrs)


def _split_options(text: str) -> list[str]:
    """At commas; as in libfuse, one that belongs to a value has a backslash before it."""
    return [re.sub(r"\\([,\\])", r"\1", option) for option in re.findall(r"(?:\\.|[^,])+", text)]


def _own_options(given: list[str]) -> tuple[_Own, list[str]]:
    """Ours, and what is left for the driver. Raises `UsageError`."""
    own, rest = _Own(), []
    for option in (option for text in given for option in _split_options(text)):
        name, _, value = option.partition("=")
        if name == "layout":
            if value not in ("default", "shadow"):
                raise UsageError(f"-o {option}: layout is default or shadow")
            own.layout = "" if value == "default" else value
        elif option in ("allow_damaged", "list_xattrs"):
            setattr(own, option, True)
        else:
            rest.append(option)
    return own, rest


def _open(
    context: Context,
    repository: "Repository",
    reading: "Reading",
    arguments: argparse.Namespace,
    own: _Own,
    tell: Callable[[str], None],
) -> "InodeView":
    from backup.views.open import open_increment, open_repository, open_snapshot

    options = own.view_options()
    if not arguments.target:
        return open_repository(repository, own.layout, options, filter_of(arguments), reading.show)
    if arguments.increment:
        before, after = find_pair(context, repository, arguments.target, arguments, tell)
        reading.show([after] if before is None else [before, after])
        return open_increment(repository, before, after, options)
    snapshot, path = find_target(context, repository, arguments.target, arguments)
    reading.show([snapshot])
    return open_snapshot(repository, snapshot, path, options)


def _notify_ready() -> None:
    """Tells a service manager that the mount answers (sd_notify(3))."""
    import socket

    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] in ("/", "@"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + address[1:] if address[0] == "@" else address)
            notify.sendall(b"READY=1")


def _shown(target: str) -> str:
    return target[:SHORT_ID] if len(target) == 64 else target


def _refuse_repository(repository: Path, mountpoint: Path) -> None:
    """A mount there would hide the repository from itself. Raises `ImbfsError`."""
    own, point = os.path.realpath(repository), os.path.realpath(mountpoint)
    if point == own or point.startswith(own.rstrip("/") + "/"):
        raise ImbfsError(f"{mountpoint} is in the repository: mount on a directory outside it")
