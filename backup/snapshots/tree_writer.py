"""Making a directory's tree: one page, or a branch of pages cut at content-defined names."""

import zlib
from collections.abc import Callable, Iterator

from backup.model.ids import ObjectId
from backup.snapshots.tree import STAT, Row, encode_branch, encode_owners, encode_page

#: A directory of at most so many entries, and bytes, is one page.
MAX_ENTRIES = 4096
MAX_BYTES = 4 << 20
#: A page begins at a name whose CRC-32 is a multiple of this: one in 2,048.
CUT_ONE_IN = 2048

#: Stores a tree's plain bytes and names them.
Store = Callable[[bytes], ObjectId]
#: The name of an owner by number, '' where it has none.
NameOf = Callable[[int], str]


def write_tree(rows: list[Row], store: Store, user: NameOf, group: NameOf) -> ObjectId:
    """Stores the tree of a directory; `rows` sorted by name. Equal rows give equal trees."""
    if len(rows) <= MAX_ENTRIES and _size(rows) <= MAX_BYTES:
        return store(encode_page(rows, _owners(rows, user, group)))
    children = [
        (page[0].name, store(encode_page(page, _owners(page, user, group))), len(page)) for page in _cut(rows)
    ]
    return store(encode_branch(children))


def _cut(rows: list[Row]) -> Iterator[list[Row]]:
    page: list[Row] = []
    size = 0
    for row in rows:
        full = len(page) >= MAX_ENTRIES * 2 or size >= MAX_BYTES
        if page and (full or zlib.crc32(row.name) % CUT_ONE_IN == 0):
            yield page
            page, size = [], 0
        page.append(row)
        size += len(row.name) + len(row.extra) + STAT.size
    yield page


def _size(rows: list[Row]) -> int:
    return sum(len(row.extra) + len(row.name) + STAT.size for row in rows)


def _owners(rows: list[Row], user: NameOf, group: NameOf) -> bytes:
    owners = {row.stat[4:12] for row in rows}
    uids, gids = {_number(pair[:4]) for pair in owners}, {_number(pair[4:]) for pair in owners}
    return encode_owners({uid: user(uid) for uid in uids}, {gid: group(gid) for gid in gids})


def _number(field: bytes) -> int:
    return int.from_bytes(field, "little")
