"""The reserve: a file that only takes up space. On a full disk it is given up, so that what frees space can
begin: a lease and a condemned note have to be written before anything is deleted.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from backup.model.errors import CannotStore, is_full
from backup.storage import Storage

KEY = "reserve"
#: Bytes: for a lease, a note of `prune.CONDEMNED_AT_ONCE` packs, and some pages of the index.
SIZE = 256 << 10

T = TypeVar("T")


def keep_reserve(storage: Storage) -> None:
    """Makes it where there is none, and room for it."""
    with suppress(OSError):
        try:
            storage.size(KEY)
        except FileNotFoundError:
            # Bytes that no file system makes smaller.
            storage.put(KEY, os.urandom(SIZE))


def release_reserve(storage: Storage) -> bool:
    """False where there was none. Raises OSError."""
    try:
        storage.delete(KEY)
    except FileNotFoundError:
        return False
    return True


def with_reserve(storage: Storage, work: Callable[[], T]) -> T:
    """What `work` gives; where there is no space for it, what it gives without the reserve."""
    try:
        return work()
    except (OSError, CannotStore) as error:
        if not (is_full(error) and release_reserve(storage)):
            raise
    return work()
