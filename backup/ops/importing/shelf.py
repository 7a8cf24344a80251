"""Rows of directories that come in any order, kept on disk until their trees are made."""

import sqlite3
import struct
from collections.abc import Callable, Iterator
from typing import Any

from backup.model.ids import ObjectId
from backup.snapshots.tree import Row
from backup.snapshots.tree_writer import NameOf, write_tree

#: Of a stat record: the number of links.
_NLINK = slice(12, 16)
_NUMBER = struct.Struct("<I")
#: Paths whose number is remembered.
_REMEMBERED = 4096

#: The record of a directory that only the paths of others tell of.
Implied = Callable[[], bytes]


class NotADirectory(ValueError):
    """A member's path leads through something else."""


class Shelf:
    """Directories are numbered: 0 is the topmost. Of two rows of one name, the later stays. Close it."""

    def __init__(self, volume: int) -> None:
        self._volume = volume
        self._count = 1
        self._numbers: dict[tuple[bytes, ...], int] = {(): 0}
        # In a file that SQLite removes; lost in a crash, as the snapshot is that was being made.
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.executescript(
            """
            PRAGMA journal_mode = OFF;
            PRAGMA synchronous = OFF;
            CREATE TABLE rows (
                parent INTEGER, name BLOB, stat BLOB, object BLOB, extra BLOB, inode INTEGER, linked INTEGER,
                directory INTEGER, PRIMARY KEY (parent, name)
            ) WITHOUT ROWID;
            CREATE INDEX links ON rows (inode) WHERE linked;
            CREATE TABLE trees (directory INTEGER PRIMARY KEY, object BLOB, links INTEGER);
            BEGIN;
            """
        )

    def close(self) -> None:
        self._base.close()

    def directory(self, parts: tuple[bytes, ...], implied: Implied) -> int:
        """The number of a directory, made where it is not there. Raises `NotADirectory`."""
        known = len(parts)
        while parts[:known] not in self._numbers:
            known -= 1
        number = self._numbers[parts[:known]]
        for depth in range(known, len(parts)):
            number = self._below(number, parts[depth], implied)
            if len(self._numbers) >= _REMEMBERED:
                self._numbers = {(): 0}
            self._numbers[parts[: depth + 1]] = number
        return number

    def _below(self, parent: int, name: bytes, implied: Implied) -> int:
        row = self._find(parent, name)
        if row is None:
            number, self._count = self._count, self._count + 1
            self._put(parent, name, implied(), b"", b"", 0, 0, number)
            return number
        if row["directory"] is None:
            raise NotADirectory(name)
        return int(row["directory"])

    def _find(self, parent: int, name: bytes) -> dict[str, Any] | None:
        cursor = self._base.execute("SELECT * FROM rows WHERE parent = ? AND name = ?", (parent, name))
        row = cursor.fetchone()
        return None if row is None else dict(zip((part[0] for part in cursor.description), row, strict=True))

    def _put(self, *values: object) -> None:
        self._base.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def put_directory(self, parent: int, name: bytes, stat: bytes, extra: bytes) -> None:
        """What was in it stays."""
        row = self._find(parent, name)
        number = None if row is None else row["directory"]
        if number is None:
            number, self._count = self._count, self._count + 1
        self._put(parent, name, stat, b"", extra, 0, 0, number)

    def put(self, parent: int, name: bytes, stat: bytes, content: ObjectId, extra: bytes, inode: int) -> None:
        """Anything but a directory. Raises `NotADirectory` where one has this name."""
        self._refuse_directory(parent, name)
        self._put(parent, name, stat, content, extra, inode, 0, None)

    def link(self, parent: int, name: bytes, target: tuple[int, bytes]) -> bool:
        """One more name for what is at `target`; False where there is no such thing."""
        row = self._find(*target)
        if row is None or row["directory"] is not None:
            return False
        if target != (parent, name):
            self._refuse_directory(parent, name)
            self._base.execute("UPDATE rows SET linked = 1 WHERE parent = ? AND name = ?", target)
            self._put(parent, name, row["stat"], row["object"], row["extra"], row["inode"], 1, None)
        return True

    def _refuse_directory(self, parent: int, name: bytes) -> None:
        row = self._find(parent, name)
        if row is not None and row["directory"] is not None:
            raise NotADirectory(name)

    def write(self, store: Callable[[bytes], ObjectId], user: NameOf, group: NameOf) -> tuple[ObjectId, int]:
        """Stores all trees; the topmost one, and its number of links."""
        # A directory's number is larger than that of the one it is in.
        for number in range(self._count - 1, -1, -1):
            tree = write_tree(self._rows(number), store, user, group)
            query = "SELECT count(*) FROM rows WHERE parent = ? AND directory IS NOT NULL"
            links = 2 + self._base.execute(query, (number,)).fetchone()[0]
            self._base.execute("INSERT INTO trees VALUES (?, ?, ?)", (number, tree, links))
        return tree, links

    def _rows(self, parent: int) -> Iterator[Row]:
        cursor = self._base.execute(
            """
            SELECT name, stat, rows.object, extra, inode, linked, trees.object, trees.links
            FROM rows LEFT JOIN trees USING (directory) WHERE parent = ? ORDER BY name
            """,
            (parent,),
        )
        for name, stat, content, extra, inode, linked, tree, links in cursor:
            if linked:
                query = "SELECT count(*) FROM rows WHERE inode = ? AND linked"
                links = self._base.execute(query, (inode,)).fetchone()[0]
            record = stat if links is None else with_links(stat, links)
            yield Row(name, record, ObjectId(content if tree is None else tree), extra, self._volume, 0)


def with_links(stat: bytes, links: int) -> bytes:
    return stat[: _NLINK.start] + _NUMBER.pack(links) + stat[_NLINK.stop :]
