"""Making a repository, opening one, and finding a snapshot in it."""

import os
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from backup.library.environment import cache_directory
from backup.library.paths import Pathlike
from backup.model.errors import UsageError
from backup.model.selector import parse_selector
from backup.objects.block import CompressionSettings
from backup.objects.hashing import HASH_NAMES, HashName
from backup.objects.parity import require_library
from backup.repository import Repository
from backup.repository.config import MAX_PACK_SIZE, MIN_PACK_SIZE, PACK_SIZE, new_config
from backup.snapshots.catalogue import select
from backup.snapshots.manifest import Snapshot


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)


def open_repository(
    path: Pathlike, *, cache: Pathlike | None = None, notice: Callable[[str], None] = _warn
) -> Repository:
    """Opens a repository: close it, or use it in a `with`.

    `cache` is the directory for an index that cannot be in the repository, by default the user's cache
    directory; `notice` is told what a person should know, such as damage that was got around. Raises
    `NoRepository`, `Damaged`, `ImbfsError`.
    """
    return Repository.open(_path(path), cache_directory() if cache is None else _path(cache), notice)


def init_repository(
    path: Pathlike,
    *,
    hash: HashName = "blake3",
    compression_level: int | None = 3,
    pack_size: int = PACK_SIZE,
    parity: int = 0,
    cache: Pathlike | None = None,
    notice: Callable[[str], None] = _warn,
) -> Repository:
    """Makes an empty repository and opens it.

    `compression_level` is zstd's, from -7 to 19; None stores without compressing. `pack_size` in bytes,
    `parity` in percent. Raises `UsageError` for a value that cannot be; `ImbfsError` where something stands.
    """
    if hash not in HASH_NAMES:
        raise UsageError(f"hash {hash!r}: give one of {', '.join(HASH_NAMES)}")
    if compression_level is not None and (compression_level == 0 or not -7 <= compression_level <= 19):
        raise UsageError(f"compression_level {compression_level}: give -7 to 19 without 0, or None")
    if not MIN_PACK_SIZE <= pack_size <= MAX_PACK_SIZE:
        raise UsageError(f"pack_size {pack_size}: give {MIN_PACK_SIZE} to {MAX_PACK_SIZE} bytes")
    if not 0 <= parity <= 100:
        raise UsageError(f"parity {parity}: give a percentage")
    if parity:
        require_library()
    level = compression_level
    compression = CompressionSettings("none", 0) if level is None else CompressionSettings("zstd", level)
    Repository.create(_path(path), new_config(hash, compression, pack_size, parity))
    return open_repository(path, cache=cache, notice=notice)


def find_snapshot(repository: Repository, selector: str = "latest") -> Snapshot:
    """The snapshot that `latest`, `latest~2`, the beginning of an id, `@2026-11-01` or `tag:NAME` names.

    Raises `NotFound`, with the candidates in its message; `UsageError` for a time that is none.
    """
    return select(parse_selector(selector, datetime.now(UTC).astimezone()), repository.snapshots())


def _path(path: Pathlike) -> Path:
    return Path(os.fsdecode(path)).absolute()
