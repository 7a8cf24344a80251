"""imbfs umount"""

import argparse
from pathlib import Path

from backup.cli import exits
from backup.cli.context import Context
from backup.model.errors import ImbfsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", type=Path, help="where it is mounted")


def run(context: Context, arguments: argparse.Namespace) -> int:
    from fusefs.mountpoint import MountError, unmount

    try:
        unmount(arguments.mountpoint)
    except MountError as error:
        raise ImbfsError(str(error)) from error
    return exits.DONE
