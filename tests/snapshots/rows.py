"""Rows of directories for the property tests, and a store of objects in a dict."""

import stat

from hypothesis import strategies as st

from backup.model.errors import Damaged
from backup.model.ids import NO_OBJECT, ObjectId
from backup.snapshots.tree import STAT, Row, encode_extra
from tests.objects.samples import name

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
ns = st.integers(0, 10**9 - 1)
kinds = st.sampled_from(
    [stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK, stat.S_IFCHR]
)
modes = st.builds(int.__or__, kinds, st.integers(0, 0o7777))

file_names = st.binary(min_size=1, max_size=20).filter(
    lambda name: name not in (b".", b"..") and b"/" not in name and b"\0" not in name
)
xattrs = st.dictionaries(st.binary(min_size=1, max_size=20), st.binary(max_size=40), max_size=3).map(
    lambda found: tuple(sorted(found.items()))
)


@st.composite
def stats(draw: st.DrawFn) -> bytes:
    mode = draw(modes)
    size = 0 if stat.S_ISREG(mode) else draw(st.integers(0, 2**63 - 1))
    owner = draw(u32), draw(u32), draw(u32)
    times = draw(i64), draw(i64), draw(ns), draw(ns)
    return STAT.pack(mode, *owner, size, *times, draw(u64), draw(u64))


@st.composite
def directories(draw: st.DrawFn, max_size: int = 8) -> list[Row]:
    """Rows as a writer makes them: sorted, empty files, anything else with any metadata."""
    found = []
    for row_name in sorted(draw(st.sets(file_names, max_size=max_size))):
        record = draw(stats())
        mode = int.from_bytes(record[:4], "little")
        object_id = name(row_name) if stat.S_ISDIR(mode) else NO_OBJECT
        target = draw(st.binary(min_size=1, max_size=30)) if stat.S_ISLNK(mode) else b""
        extra = encode_extra(target, draw(xattrs))
        found.append(Row(row_name, record, object_id, extra, draw(u32), draw(st.integers(0, 7))))
    return found


def plain_row(row_name: bytes, mode: int = stat.S_IFREG | 0o644, ino: int = 1, **fields: object) -> Row:
    record = STAT.pack(mode, 0, 0, 1, 0, 1, 1, 0, 0, ino, 0)
    return Row(row_name, record, NO_OBJECT, b"", 0, 0)._replace(**fields)  # type: ignore[arg-type]


class Objects(dict[ObjectId, bytes]):
    """Stores what a tree is made of, and reads it back."""

    def store(self, data: bytes) -> ObjectId:
        self[name(data)] = data
        return name(data)

    def read(self, object_id: ObjectId) -> bytes:
        if object_id not in self:
            raise Damaged("missing")
        return self[object_id]


def no_name(_: int) -> str:
    return ""


def of_number(number: int) -> str:
    return f"owner-{number}" if number % 3 else ""
