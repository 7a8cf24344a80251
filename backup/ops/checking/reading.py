"""Reading whole packs, several at a time: does each hash to its name?"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from backup.model.ids import PackId
from backup.objects.hashing import new_hasher
from backup.objects.pack import pack_key
from backup.repository import Repository

#: Read at a time when a pack is hashed: so much memory a thread.
PIECE = 1 << 20
#: More threads do not make a disk quicker.
MAX_THREADS = 8


class PackRead(NamedTuple):
    """`wrong`: why the pack is not what its name says; '' where it is. `bytes`: how many were read."""

    pack: PackId
    wrong: str
    bytes: int


def read_packs(
    repository: Repository, packs: Iterable[PackId], advance: Callable[[int], None]
) -> Iterator[PackRead]:
    """Reads packs by threads, which hash while others read; results come in the order of `packs`."""
    threads = min(MAX_THREADS, len(os.sched_getaffinity(0)))
    waiting: deque[Future[PackRead]] = deque()
    with ThreadPoolExecutor(threads, "read") as pool:
        try:
            for pack in packs:
                waiting.append(pool.submit(_read, repository, pack))
                if len(waiting) > 2 * threads:
                    yield _told(waiting.popleft().result(), advance)
            while waiting:
                yield _told(waiting.popleft().result(), advance)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _told(read: PackRead, advance: Callable[[int], None]) -> PackRead:
    advance(read.bytes)
    return read


def _read(repository: Repository, pack: PackId) -> PackRead:
    hasher = new_hasher(repository.config.hash)
    offset = 0
    try:
        while piece := repository.storage.read(pack_key(pack), offset, PIECE):
            hasher.update(piece)
            offset += len(piece)
    except OSError as error:
        return PackRead(pack, f"the pack cannot be read: {error.strerror}", offset)
    if hasher.digest() != pack:
        return PackRead(pack, "the pack does not hash to its name: its bytes have changed", offset)
    return PackRead(pack, "", offset)
