"""Trees: directory listings that are used in place. `docs/format.md`, "Trees".

A tree is a *page* (entries) or a *branch* (pages of one very large directory, in order). A page is
two fixed-width columns, then heaps:

    header | stat × count | ref × count | name ends × count | names | extras | owners

The stat column holds exactly what the live tree's lstat(2) tells, so that an unchanged directory
is recognised by comparing two runs of bytes.
"""

import os
import struct
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate, pairwise
from operator import lt
from typing import NamedTuple

from backup.model.errors import Damaged
from backup.model.ids import ID_SIZE, ObjectId

PAGE, BRANCH = 0, 1
MAGIC = b"ITRE"
NS = 1_000_000_000

HEADER = struct.Struct("<4sB3xIIII")
#: mode, uid, gid, nlink, size, mtime s, ctime s, mtime ns, ctime ns, ino, rdev
STAT = struct.Struct("<IIIIQqqIIQQ")
_MODE_AND_SIZE = struct.Struct("<I12xQ")
#: object, extra's offset, extra's length, volume, flags
REF = struct.Struct(f"<{ID_SIZE}sIIII")
_FLAGS = range(REF.size - 4, REF.size)
NAME_END = struct.Struct("<I")
#: A branch's row: page, number of entries up to and with this page
CHILD = struct.Struct(f"<{ID_SIZE}sQ")
EXTRA = struct.Struct("<BI")
XATTR = struct.Struct("<HI")
OWNER = struct.Struct("<BIB")

#: What an entry's extra is made of.
EXTRA_TARGET, EXTRA_XATTRS, EXTRA_EXTENTS, EXTRA_EXTENT_LISTS, EXTRA_HASH = 1, 2, 3, 4, 5
OWNER_USER, OWNER_GROUP = 0, 1

MAX_NAME = 255
#: The name of the one entry in the page that a manifest names: the snapshot's root itself.
ROOT_NAME = b"."

Buffer = bytes | memoryview


def encode_stat(status: os.stat_result, size: int | None = None) -> bytes:
    """A stat record of what lstat(2) told; `size` where the content that was read has another."""
    # The tuple's times are the whole seconds.
    mode, ino, _, nlink, uid, gid, length, _, m_s, c_s = status
    m_ns, c_ns = status.st_mtime_ns - m_s * NS, status.st_ctime_ns - c_s * NS
    if size is not None:
        length = size
    return STAT.pack(mode, uid, gid, nlink, length, m_s, c_s, m_ns, c_ns, ino, status.st_rdev)


def mode_and_size(record: Buffer) -> tuple[int, int]:
    return _MODE_AND_SIZE.unpack_from(record)


class Row(NamedTuple):
    """One entry as a page takes it: its columns encoded, its extra still apart."""

    name: bytes
    stat: bytes
    object: ObjectId
    extra: bytes
    volume: int
    flags: int


def encode_page(rows: list[Row], owners: bytes) -> bytes:
    """The plain form of a page. `rows` are sorted by name."""
    names, stats, objects, extras, volumes, flags = zip(*rows, strict=True) if rows else ((),) * 6
    name_ends, extra_ends = list(accumulate(map(len, names))), list(accumulate(map(len, extras), initial=0))
    refs = map(REF.pack, objects, extra_ends, map(len, extras), volumes, flags)
    return b"".join(
        (
            HEADER.pack(MAGIC, PAGE, len(rows), name_ends[-1] if rows else 0, extra_ends[-1], len(owners)),
            *stats,
            *refs,
            struct.pack(f"<{len(rows)}I", *name_ends),
            *names,
            *extras,
            owners,
        )
    )


def encode_branch(children: list[tuple[bytes, ObjectId, int]]) -> bytes:
    """The plain form of a branch: first name, page and number of entries of each page."""
    total = name_end = 0
    rows, ends = [], []
    for name, page, count in children:
        total += count
        name_end += len(name)
        rows.append(CHILD.pack(page, total))
        ends.append(NAME_END.pack(name_end))
    names = (name for name, _, _ in children)
    head = HEADER.pack(MAGIC, BRANCH, len(children), name_end, 0, 0)
    return b"".join((head, *rows, *ends, *names))


def encode_extra(
    target: bytes,
    xattrs: tuple[tuple[bytes, bytes], ...],
    extents: bytes = b"",
    whole: bytes | None = None,
) -> bytes:
    """`extents` as `encode_content` gives it; `whole` is the hash of all of a file's bytes."""
    if not target and not xattrs and whole is None:
        return extents
    parts = []
    if target:
        parts += [EXTRA.pack(EXTRA_TARGET, len(target)), target]
    if xattrs:
        packed = b"".join(XATTR.pack(len(name), len(value)) + name + value for name, value in xattrs)
        parts += [EXTRA.pack(EXTRA_XATTRS, len(packed)), packed]
    if whole is not None:
        parts += [EXTRA.pack(EXTRA_HASH, len(whole)), whole]
    return b"".join(parts) + extents


def encode_owners(users: dict[int, str], groups: dict[int, str]) -> bytes:
    """The names of the owners that a page's entries have, sorted, those without a name left out."""
    parts = []
    for kind, names in ((OWNER_USER, users), (OWNER_GROUP, groups)):
        for number, name in sorted(names.items()):
            encoded = name.encode("utf-8", "surrogateescape")[:255]
            if encoded:
                parts.append(OWNER.pack(kind, number, len(encoded)) + encoded)
    return b"".join(parts)


class Page:
    """A page's plain bytes, checked for shape once, then read in place.

    Raises `Damaged` for bytes that no writer makes: names out of order, empty, `.` or `..`, with
    a slash or a NUL; heaps that do not fit.
    """

    def __init__(self, plain: Buffer, *, root: bool = False) -> None:
        self.plain = memoryview(plain)
        kind, self.count, names, extras, owners = _header(self.plain)
        self._refs = HEADER.size + self.count * STAT.size
        self._ends = self._refs + self.count * REF.size
        self._names = self._ends + self.count * NAME_END.size
        self._extras = self._names + names
        self._owners = self._extras + extras
        if kind != PAGE or self._owners + owners != len(self.plain):
            raise Damaged("a tree's page does not have the sizes that it states")
        self.names = self._read_names(names)
        require_sound_names(self.names, root)
        #: Bytes of all extras.
        self.extra_size = extras

    def _read_names(self, size: int) -> list[bytes]:
        heap = bytes(self.plain[self._names : self._extras])
        ends = struct.unpack(f"<{self.count}I", self.plain[self._ends : self._names])
        if (ends[-1] if ends else 0) != size:
            raise Damaged("a tree's names do not fit")
        return [heap[start:end] for start, end in pairwise((0, *ends))]

    def __len__(self) -> int:
        return self.count

    @property
    def stats(self) -> memoryview:
        """The stat column: `STAT` records."""
        return self.plain[HEADER.size : self._refs]

    @property
    def refs(self) -> memoryview:
        """The ref column: `REF` records."""
        return self.plain[self._refs : self._ends]

    @property
    def has_flags(self) -> bool:
        """Whether any entry has one."""
        refs = self.refs
        return any(any(refs[place :: REF.size]) for place in _FLAGS)

    @property
    def owners(self) -> memoryview:
        return self.plain[self._owners :]

    def find(self, name: bytes) -> int:
        """The position of a name, or -1."""
        position = bisect_left(self.names, name)
        return position if position < self.count and self.names[position] == name else -1

    def stat(self, position: int) -> memoryview:
        start = HEADER.size + position * STAT.size
        return self.plain[start : start + STAT.size]

    def record(self, position: int) -> tuple[int, ...]:
        """The stat record, as `STAT` has it."""
        return STAT.unpack_from(self.plain, HEADER.size + position * STAT.size)

    def ref(self, position: int) -> tuple[ObjectId, int, int, int, int]:
        return REF.unpack_from(self.plain, self._refs + position * REF.size)

    def extra(self, position: int) -> memoryview:
        _, start, length, _, _ = self.ref(position)
        if start + length > self.extra_size:
            raise Damaged("a tree's extra does not fit")
        return self.plain[self._extras + start : self._extras + start + length]

    @cached_property
    def owner_names(self) -> tuple[dict[int, str], dict[int, str]]:
        """Names by uid, names by gid."""
        found: tuple[dict[int, str], dict[int, str]] = ({}, {})
        rest = self.owners
        while rest:
            kind, number, length = _unpack(OWNER, rest)
            if kind > OWNER_GROUP or OWNER.size + length > len(rest):
                raise Damaged("a tree's owners do not fit")
            found[kind][number] = bytes(rest[OWNER.size : OWNER.size + length]).decode(
                "utf-8", "surrogateescape"
            )
            rest = rest[OWNER.size + length :]
        return found

    def row(self, position: int) -> Row:
        """The entry as a new page would take it, still encoded."""
        object_id, _, _, volume, flags = self.ref(position)
        return Row(
            self.names[position],
            bytes(self.stat(position)),
            object_id,
            bytes(self.extra(position)),
            volume,
            flags,
        )


def require_sound_names(names: list[bytes], root: bool = False) -> None:
    """Raises `Damaged` unless the names can be names of one directory, in strict order."""
    if root:
        if names != [ROOT_NAME]:
            raise Damaged("a snapshot's root does not have one entry")
        return
    joined = b"".join(names)
    dots = names and names[0] <= b".." and (b"." in names or b".." in names)
    if (
        not all(map(lt, names, names[1:]))
        or b"/" in joined
        or b"\0" in joined
        or (names and (not names[0] or max(map(len, names)) > MAX_NAME))
        or dots
    ):
        raise Damaged("a tree holds a name that no directory can hold")


class Branch:
    """A branch's plain bytes: the pages of one very large directory."""

    def __init__(self, plain: Buffer) -> None:
        view = memoryview(plain)
        kind, count, names, extras, owners = _header(view)
        ends_at = HEADER.size + count * CHILD.size
        names_at = ends_at + count * NAME_END.size
        if kind != BRANCH or extras or owners or names_at + names != len(view):
            raise Damaged("a tree's branch does not have the sizes that it states")
        children = list(CHILD.iter_unpack(view[HEADER.size : ends_at]))
        heap = bytes(view[names_at:])
        ends = [end for (end,) in NAME_END.iter_unpack(view[ends_at:names_at])]
        self.first_names = [heap[start:end] for start, end in pairwise((0, *ends))]
        self.pages = [ObjectId(page) for page, _ in children]
        #: Number of entries up to and with each page.
        self.totals = [total for _, total in children]
        require_sound_names(self.first_names)
        if not all(map(lt, (0, *self.totals), self.totals)):
            raise Damaged("a tree's branch does not count its entries")


def is_branch(plain: Buffer) -> bool:
    return len(plain) > 4 and plain[4] == BRANCH


def _header(plain: memoryview) -> tuple[int, int, int, int, int]:
    magic, *rest = _unpack(HEADER, plain)
    if magic != MAGIC:
        raise Damaged("an object that should be a tree is none")
    kind, count, names, extras, owners = rest
    return kind, count, names, extras, owners


def _unpack(form: struct.Struct, data: memoryview) -> tuple:  # type: ignore[type-arg]
    if len(data) < form.size:
        raise Damaged("a tree is cut short")
    return form.unpack_from(data)


# Extras


def extra_fields(extra: Buffer) -> Iterator[tuple[int, memoryview]]:
    """Tag and value of each part of an extra."""
    rest = memoryview(extra)
    while rest:
        tag, length = _unpack(EXTRA, rest)
        end = EXTRA.size + length
        if end > len(rest):
            raise Damaged("a tree's extra is cut short")
        yield tag, rest[EXTRA.size : end]
        rest = rest[end:]


def decode_xattrs(value: memoryview) -> tuple[tuple[bytes, bytes], ...]:
    found = []
    while value:
        name_size, size = _unpack(XATTR, value)
        middle, end = XATTR.size + name_size, XATTR.size + name_size + size
        if end > len(value):
            raise Damaged("a tree's extended attribute is cut short")
        found.append((bytes(value[XATTR.size : middle]), bytes(value[middle:end])))
        value = value[end:]
    return tuple(found)
