"""Making a directory's tree: one page, or a branch of pages cut at content-defined names."""

import zlib
from collections.abc import Callable, Iterable

from backup.model.ids import ObjectId
from backup.snapshots.tree import STAT, Page, Row, encode_branch, encode_owners, encode_page

#: A directory of at most so many entries, and bytes, is one page.
MAX_ENTRIES = 4096
MAX_BYTES = 4 << 20
#: A page begins at a name whose CRC-32 is a multiple of this: one in 2,048.
CUT_ONE_IN = 2048

#: Stores a tree's plain bytes and names them.
Store = Callable[[bytes], ObjectId]
#: The name of an owner by number, '' where it has none.
NameOf = Callable[[int], str]


def write_tree(rows: Iterable[Row], store: Store, user: NameOf, group: NameOf) -> ObjectId:
    """Stores the tree of a directory; `rows` sorted by name. Equal rows give equal trees."""
    writer = TreeWriter(store, user, group)
    for row in rows:
        writer.add(row)
    return writer.finish()


class TreeWriter:
    """Takes a directory's rows in the order of their names, and stores pages as they become full."""

    def __init__(self, store: Store, user: NameOf, group: NameOf) -> None:
        self._store = store
        self._user = user
        self._group = group
        #: The rows of the page that is being filled, and the pages before it, once there must be several.
        self._rows: list[Row] = []
        self._size = 0
        self._pages: list[tuple[bytes, ObjectId, int]] | None = None

    def add(self, row: Row) -> None:
        if self._pages is not None and self._rows and (self._full() or begins_page(row.name)):
            self._close_page(self._pages)
        self._rows.append(row)
        self._size += len(row.name) + len(row.extra) + STAT.size
        if self._pages is None and (len(self._rows) > MAX_ENTRIES or self._size > MAX_BYTES):
            self._split()

    def add_page(self, name: ObjectId, page: Page, following: bytes | None) -> bool:
        """Takes a whole page of another large directory as it is; False where rows would not make it.

        `following` is the name that comes after the page, None where none does.
        """
        ends = following is None or begins_page(following) or _fills_page(page)
        if self._pages is None or not ends:
            return False
        if self._rows:
            if not (self._full() or begins_page(page.names[0])):
                return False
            self._close_page(self._pages)
        self._pages.append((page.names[0], name, len(page)))
        return True

    def finish(self) -> ObjectId:
        """The tree's name."""
        if self._pages is None:
            return self._store(self._encoded())
        if self._rows:
            self._close_page(self._pages)
        return self._store(encode_branch(self._pages))

    def _full(self) -> bool:
        return len(self._rows) >= MAX_ENTRIES * 2 or self._size >= MAX_BYTES

    def _split(self) -> None:
        """It is too large for one page: from its beginning on, it is cut into several."""
        rows, self._pages = self._rows, []
        self._rows, self._size = [], 0
        for row in rows:
            self.add(row)

    def _close_page(self, pages: list[tuple[bytes, ObjectId, int]]) -> None:
        pages.append((self._rows[0].name, self._store(self._encoded()), len(self._rows)))
        self._rows, self._size = [], 0

    def _encoded(self) -> bytes:
        return encode_page(self._rows, _owners(self._rows, self._user, self._group))


def begins_page(name: bytes) -> bool:
    """Whether a page of a large directory begins at this name, whatever comes before it."""
    return zlib.crc32(name) % CUT_ONE_IN == 0


def _fills_page(page: Page) -> bool:
    size = sum(map(len, page.names)) + page.extra_size + STAT.size * len(page)
    return len(page) >= MAX_ENTRIES * 2 or size >= MAX_BYTES


def _owners(rows: list[Row], user: NameOf, group: NameOf) -> bytes:
    owners = {row.stat[4:12] for row in rows}
    uids, gids = {_number(pair[:4]) for pair in owners}, {_number(pair[4:]) for pair in owners}
    return encode_owners({uid: user(uid) for uid in uids}, {gid: group(gid) for gid in gids})


def _number(field: bytes) -> int:
    return int.from_bytes(field, "little")
