"""A directory of a snapshot, whatever its size: one page, or a branch's pages, read when needed."""

import stat
from bisect import bisect_right
from collections.abc import Callable, Iterator

from backup.model.entry import FLAG_NO_CONTENT, KINDS, Entry
from backup.model.errors import Damaged
from backup.model.ids import NO_OBJECT, ObjectId
from backup.snapshots.extents import decode_content, listed_objects
from backup.snapshots.tree import (
    EXTRA_HASH,
    EXTRA_TARGET,
    EXTRA_XATTRS,
    NS,
    Branch,
    Buffer,
    Page,
    decode_xattrs,
    extra_fields,
    is_branch,
)

Read = Callable[[ObjectId], Buffer]


#: As large as the kernel lets a file be.
MAX_SIZE = (1 << 63) - 1
#: Pages of a very large directory that are kept at a time.
MAX_PAGES = 8


class Directory:
    """The entries of one tree by position, in the order of their names.

    `read` gives a tree's plain bytes, already checked against its name. Raises `Damaged`.
    """

    def __init__(self, tree: ObjectId, read: Read, *, root: bool = False) -> None:
        self._read = read
        plain = read(tree)
        if is_branch(plain) and not root:
            branch = Branch(plain)
            self._first_names = branch.first_names
            self._page_ids = branch.pages
            self._totals = branch.totals
            self._pages: dict[int, Page] = {}
        else:
            page = Page(plain, root=root)
            self._first_names = page.names[:1]
            self._page_ids = [tree]
            self._totals = [len(page)]
            self._pages = {0: page}

    def __len__(self) -> int:
        return self._totals[-1] if self._totals else 0

    @property
    def kept_entries(self) -> int:
        """The most entries that are held in memory at a time."""
        return len(self) * min(MAX_PAGES, len(self._page_ids)) // max(1, len(self._page_ids))

    @property
    def page_ids(self) -> list[ObjectId]:
        return self._page_ids

    def page(self, number: int) -> Page:
        page = self._pages.get(number)
        if page is None:
            page = self._load(number)
            if len(self._pages) >= MAX_PAGES:
                del self._pages[next(iter(self._pages))]
            self._pages[number] = page
        return page

    def _load(self, number: int) -> Page:
        page = Page(self._read(self._page_ids[number]))
        start = self._totals[number - 1] if number else 0
        if len(page) != self._totals[number] - start or page.names[0] != self._first_names[number]:
            raise Damaged("a tree's page is not the one that its branch names")
        if any(page.names[-1] >= name for name in self._first_names[number + 1 : number + 2]):
            raise Damaged("a tree's page holds names that belong in the next one")
        return page

    def pages(self) -> Iterator[Page]:
        """All pages in order."""
        return map(self.page, range(len(self._page_ids)))

    def at(self, position: int) -> tuple[Page, int]:
        """The page that holds a position, and the position in it."""
        if not 0 <= position < len(self):
            raise IndexError(position)
        if len(self._totals) == 1:
            return self._pages[0], position
        number = bisect_right(self._totals, position)
        return self.page(number), position - (self._totals[number - 1] if number else 0)

    def page_from(self, position: int) -> tuple[ObjectId, Page] | None:
        """The page that begins at a position, with its name; None where none does."""
        number = bisect_right(self._totals, position)
        if number == len(self._totals) or position != (self._totals[number - 1] if number else 0):
            return None
        return self._page_ids[number], self.page(number)

    def find(self, name: bytes) -> int:
        """The position of a name, or -1."""
        number = bisect_right(self._first_names, name) - 1
        if number < 0:
            return -1
        position = self.page(number).find(name)
        if position < 0:
            return -1
        return position + (self._totals[number - 1] if number else 0)

    def entry(self, position: int) -> Entry:
        page, local = self.at(position)
        return decode_entry(page, local, self._read)

    def entries(self) -> Iterator[Entry]:
        """All entries in order. One whose own list of chunks is damaged is given without content."""
        for page in self.pages():
            for position in range(len(page)):
                try:
                    yield decode_entry(page, position, self._read)
                except Damaged:
                    bare = decode_entry(page, position, None)
                    yield bare._replace(flags=bare.flags | FLAG_NO_CONTENT)


def lists_of(page: Page, position: int) -> list[ObjectId]:
    """The lists of extents that an entry names: objects of kind tree. Raises `Damaged`."""
    return listed_objects(dict(extra_fields(page.extra(position))))


def decode_entry(page: Page, position: int, read: Read | None) -> Entry:
    """The entry with all of its parts; without a file's extents where `read` is None. Raises `Damaged`."""
    mode, uid, gid, nlink, size, m_s, c_s, m_ns, c_ns, ino, rdev = page.record(position)
    object_id, start, extra, volume, flags = page.ref(position)
    # Most entries have none, and are not worth a look at nothing; one outside of the page is damage still.
    fields = dict(extra_fields(page.extra(position))) if extra or start > page.extra_size else {}
    users, groups = page.owner_names
    kind = stat.S_IFMT(mode)
    if kind not in KINDS or size > MAX_SIZE or m_ns >= NS or c_ns >= NS:
        raise Damaged("a tree holds an entry of a kind, size or time that no file has")
    is_file = kind == stat.S_IFREG
    whole = object_id if is_file and object_id != NO_OBJECT else None
    # By position, in the order of the fields: many entries are made, and names cost time.
    return Entry(
        page.names[position],
        mode,
        uid,
        gid,
        nlink,
        size,
        m_s * NS + m_ns,
        c_s * NS + c_ns,
        ino,
        rdev,
        volume,
        flags,
        users.get(uid, ""),
        groups.get(gid, ""),
        object_id if kind == stat.S_IFDIR else None,
        bytes(fields.get(EXTRA_TARGET, b"")),
        decode_xattrs(fields[EXTRA_XATTRS]) if EXTRA_XATTRS in fields else (),
        decode_content(size, object_id, fields, read) if is_file and read else (),
        ObjectId(bytes(fields[EXTRA_HASH])) if EXTRA_HASH in fields else whole,
    )
