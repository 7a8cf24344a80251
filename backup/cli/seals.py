"""The seals of this user: docs/decisions/0016-seals.md."""

import argparse
from typing import TYPE_CHECKING

from backup.cli.context import state_directory
from backup.model.errors import ImbfsError

if TYPE_CHECKING:
    from backup.repository import Repository
    from backup.source.seals import Seals

MAX_NUMBER = 99


def add_namespace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--namespace", metavar="N", type=_number, default=1, help="use the Nth set of hashes on files (1)"
    )


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_NUMBER:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MAX_NUMBER}")
    return int(text)


def seals_of(repository: "Repository", number: int = 1) -> "Seals | None":
    """None where this user has never sealed a file, or the secret cannot be read."""
    from backup.source.seals import Seals, find_key

    try:
        key = find_key(state_directory() / "imbfs" / "key")
    except OSError:
        return None
    return None if key is None else Seals(key, repository.config.hash, number)


def first_seals_of(repository: "Repository", number: int) -> "Seals":
    """Makes the secret where there is none. Raises `ImbfsError`."""
    from backup.source.seals import Seals, make_key

    path = state_directory() / "imbfs" / "key"
    try:
        return Seals(make_key(path), repository.config.hash, number)
    except OSError as error:
        raise ImbfsError(
            f"{path}: {error.strerror}: without this file, hashes on files cannot be trusted;"
            " make the directory writable, or leave --xattr-hash out"
        ) from error
