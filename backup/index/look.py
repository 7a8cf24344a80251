"""What an index file looks like before LMDB maps it: LMDB believes each byte of what it maps."""

import os
import stat
import struct
from pathlib import Path

#: LMDB's page header with a number, flags; then `struct MDB_meta`: magic, version, address, map size; page
#: size and the rest of the two tables, with their roots; last page used, transaction.
_META = struct.Struct("<QHHI II8x8x I36xQ 40xQ QQ")
_MAGIC, _VERSION, _P_META = 0xBEEFC0DE, 1, 0x08
_NO_ROOT = (1 << 64) - 1
_PAGE_SIZES = frozenset(1 << bits for bits in range(9, 16))


def is_own_file(path: Path) -> bool | None:
    """Whether `path` is a regular file of this user and no link; None where nothing is there."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def identity(path: Path) -> tuple[int, int] | None:
    """Tells one file from another that takes its place; None where nothing is there."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def what_is_wrong(path: Path) -> str:
    """In a few words, from the first two pages and the length alone; '' where all looks well.

    A file of no bytes is well: a crash left it before anything was written. Raises OSError.
    """
    with open(path, "rb", opener=_no_link) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return ""
        first = file.read(_META.size)
        if len(first) < _META.size:
            return "it is cut short"
        page = _META.unpack(first)[6]
        if page not in _PAGE_SIZES:
            return "its page size cannot be"
        file.seek(page)
        second = file.read(_META.size)
    if len(second) < _META.size:
        return "it is cut short"
    return _wrong_meta(first, 0, page, size) or _wrong_meta(second, 1, page, size)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def _wrong_meta(data: bytes, number: int, page: int, size: int) -> str:
    own, _, flags, _, magic, version, page_size, free_root, main_root, last, transaction = _META.unpack(data)
    if (own, flags, magic, version, page_size) != (number, _P_META, _MAGIC, _VERSION, page):
        return "its first pages are not those of an index"
    if transaction and transaction % 2 != number:
        return "its first pages are not those of an index"
    if last >= size // page:
        # LMDB would read beyond the end, and the process be killed.
        return "it is cut short"
    if any(root != _NO_ROOT and not 2 <= root <= last for root in (free_root, main_root)):
        return "its first pages name pages that it does not have"
    return ""
