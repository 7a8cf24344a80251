"""Making an index smaller: LMDB takes pages again that became free, and never gives them back."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

if TYPE_CHECKING:
    from lmdb import _Database, _StatDict

#: A file of fewer pages stays as it is.
MANY_PAGES = 4096


def is_mostly_free(env: lmdb.Environment, tables: "Iterable[_Database]") -> bool:
    """Whether less than half of a large file holds anything."""
    pages = env.info()["last_pgno"] + 1
    if pages < MANY_PAGES:
        return False
    with env.begin() as txn:
        used = sum(_pages(txn.stat(table)) for table in tables)
    return used + _pages(env.stat()) < pages // 2


def _pages(counts: "_StatDict") -> int:
    return counts["branch_pages"] + counts["leaf_pages"] + counts["overflow_pages"]


def write_compact(env: lmdb.Environment, path: Path) -> None:
    """Copies what is in use: all of it or nothing. Raises OSError, `lmdb.Error`."""
    # Of one that was killed.
    path.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        env.copyfd(descriptor, compact=True)
        os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)
