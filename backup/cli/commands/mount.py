"""imbfs mount"""

import argparse
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.selecting import add_filters, find_target
from backup.model.errors import ImbfsError
from backup.model.ids import SHORT_ID

if TYPE_CHECKING:
    from backup.views.snapshot import SnapshotView

SUMMARY = "show a snapshot as a read-only file system"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="SNAPSHOT[:PATH]", help="a snapshot, and a directory in it")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="an empty directory")
    parser.add_argument("-f", "--foreground", action="store_true", help="stay until it is unmounted")
    parser.add_argument(
        "-o", metavar="OPT,…", dest="options", action="append", default=[],
        help="mount options: allow_other, uid=, gid=, umask=, and the kernel's own",
    )  # fmt: skip
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from fusefs.background import mount_in_background
    from fusefs.mounting import serve
    from fusefs.mountpoint import MountError, check_mountpoint

    _refuse_repository(context.repository_path, Path(arguments.mountpoint))

    @contextmanager
    def view() -> "Iterator[SnapshotView]":
        from backup.views.open import open_snapshot

        with context.open_repository() as repository:
            snapshot, path = find_target(context, repository, arguments.target, arguments)
            yield open_snapshot(repository, snapshot, path)

    options = [option for text in arguments.options for option in text.split(",") if option]
    options.insert(0, f"fsname={context.repository_path}#{_shown(arguments.target)}")
    try:
        point = check_mountpoint(arguments.mountpoint)
        if arguments.foreground:
            logging.basicConfig(level=logging.INFO, format="imbfs: %(message)s")
            with view() as shown:
                serve(shown, point, options)
        else:
            mount_in_background(view, point, options)
    except MountError as error:
        raise ImbfsError(str(error)) from error
    return exits.DONE


def _shown(target: str) -> str:
    return target[:SHORT_ID] if len(target) == 64 else target


def _refuse_repository(repository: Path, mountpoint: Path) -> None:
    """A mount there would hide the repository from itself. Raises `ImbfsError`."""
    own, point = os.path.realpath(repository), os.path.realpath(mountpoint)
    if point == own or point.startswith(own.rstrip("/") + "/"):
        raise ImbfsError(f"{mountpoint} is in the repository: mount on a directory outside it")
