"""The parent's tree of a directory, as the walk compares the live one with it."""

import stat
from collections.abc import Callable

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.snapshots.directory import Directory
from backup.snapshots.tree import REF, STAT, Buffer, Page, Row

#: Of a row's mode: where it stands in a stat record.
_MODE = slice(0, 4)


class ParentDirectory:
    """Walked once, in the order of names, beside the live directory."""

    def __init__(self, tree: ObjectId, directory: Directory) -> None:
        """All pages of the `directory` can be read."""
        self.tree = tree
        self._directory = directory
        self._position = 0
        #: Positions of names that the live directory does not have.
        self.removed: list[int] = []
        self._page: Page | None
        self._local: int
        self._start_page()

    def __len__(self) -> int:
        return len(self._directory)

    def seek(self, name: bytes) -> int:
        """The position of `name`, or -1. Names are to be asked for in order."""
        while self._page is not None and (here := self._page.names[self._local]) <= name:
            position = self._position
            self._step()
            if here == name:
                return position
            self.removed.append(position)
        return -1

    def find(self, name: bytes) -> int:
        """The position of `name`, or -1: of any name, at any time."""
        return self._directory.find(name)

    def names(self) -> list[bytes]:
        """All names, in order."""
        return [name for page in self._directory.pages() for name in page.names]

    def page_ahead(self) -> Page | None:
        """The page that comes next, where none of its names was asked for yet."""
        return self._page if self._local == 0 else None

    def pass_page(self, page: Page, *, found: bool = False) -> int:
        """Goes on after the page that was ahead; names not asked for are removed, unless all were `found`.

        Returns the position of the first name passed.
        """
        first = self._position
        if self._page is page:
            self._position += len(page) - self._local
            if not found:
                self.removed += range(first, self._position)
            self._start_page()
        return first

    def finish(self) -> None:
        """All that was not asked for is removed."""
        self.removed += range(self._position, len(self._directory))
        self._page = None

    def _step(self) -> None:
        assert self._page is not None
        self._position += 1
        self._local += 1
        if self._local == len(self._page):
            self._start_page()

    def _start_page(self) -> None:
        more = self._position < len(self._directory)
        self._page, self._local = self._directory.at(self._position) if more else (None, 0)

    def same(self, position: int, record: bytes, read: Callable[[Buffer], Buffer] = lambda old: old) -> bool:
        """Whether the parent's entry has this stat record, and nothing about it is in doubt.

        `read` makes of the parent's record what is compared.
        """
        page, local = self._directory.at(position)
        return read(page.stat(local)) == record and not page.ref(local)[4]

    def volume(self, position: int) -> int:
        page, local = self._directory.at(position)
        return page.ref(local)[3]

    def inode(self, position: int) -> int:
        page, local = self._directory.at(position)
        return page.record(local)[9]

    def row(self, position: int) -> Row:
        page, local = self._directory.at(position)
        return page.row(local)

    @property
    def pages(self) -> list[ObjectId]:
        return self._directory.page_ids

    def name(self, position: int) -> bytes:
        page, local = self._directory.at(position)
        return page.names[local]

    def page_from(self, position: int) -> tuple[ObjectId, Page] | None:
        """The page of a very large directory that begins at a position, with its name."""
        return self._directory.page_from(position)

    def subtree(self, position: int) -> ObjectId | None:
        """The tree of a subdirectory; None where the name is something else."""
        page, local = self._directory.at(position)
        return page.ref(local)[0] if is_directory(page.stat(local)) else None

    def hash(self, position: int) -> ObjectId | None:
        """The hash of all of a file's bytes, where there is one."""
        return self._directory.entry(position).hash

    def chunks(self, position: int) -> list[ObjectId]:
        """All objects that a file's content needs."""
        entry = self._directory.entry(position)
        return [extent.chunk for extent in entry.extents if extent.chunk is not None]

    def count_removed(self, read: Callable[[ObjectId], Buffer]) -> int:
        """How many names but directories are gone, those in directories that are gone included."""
        files = 0
        trees = []
        for position in self.removed:
            subtree = self.subtree(position)
            files += subtree is None
            trees += [subtree] if subtree else []
        while trees:
            for page in Directory(trees.pop(), read).pages():
                for record, ref in zip(STAT.iter_unpack(page.stats), REF.iter_unpack(page.refs), strict=True):
                    if stat.S_ISDIR(record[0]):
                        trees.append(ObjectId(ref[0]))
                    else:
                        files += 1
        return files


def is_directory(record: Buffer) -> bool:
    return stat.S_ISDIR(int.from_bytes(record[_MODE], "little"))


def open_parent(
    tree: ObjectId | None,
    read: Callable[[ObjectId], Buffer],
    damaged: Callable[[Damaged], None],
    *,
    root: bool = False,
) -> ParentDirectory | None:
    """None where there is no parent, or a part of its tree is `damaged`: all counts as new then."""
    if tree is None:
        return None
    try:
        directory = Directory(tree, read, root=root)
        # All pages of a very large one: in the middle of the walk it would be too late.
        for number in range(len(directory.page_ids)):
            directory.page(number)
    except Damaged as error:
        damaged(error)
        return None
    return ParentDirectory(tree, directory)
