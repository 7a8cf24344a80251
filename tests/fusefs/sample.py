"""A small file system in memory with one of everything, and files that misbehave."""

import math
import os
import stat
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from fusefs.view import Attributes, Content, Statistics, Value

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND + 123_456_789
BEFORE_1970 = -2_000_000_000 * SECOND + 1
AFTER_2106 = 7_258_118_400 * SECOND + 999_999_999
MANY = 100_000
MEBIBYTE = 1 << 20
#: From one run of data to the next, in the file with holes.
STRIDE = 100 << 30
#: Larger than any request, and no multiple of a page.
LARGE = bytes(range(251)) * 20_000
#: Bytes of a chunk of the file that has some.
CHUNK = 1_000_003
MEMBER = 65534
#: user::rw-, user:65534:---, group::r--, mask::r--, other::r--, as the kernel stores it.
ACL = bytes.fromhex(
    "02000000 01000600ffffffff 02000000feff0000 04000400ffffffff 10000400ffffffff 20000400ffffffff"
)


class Bytes:
    """A file's content. `at_hand` decides between an answer at once and a worker thread."""

    cost = 1

    def __init__(self, data: bytes, at_hand: bool = True) -> None:
        self.data = data
        self.size = len(data)
        self.at_hand = at_hand

    def read_now(self, offset: int, size: int) -> bytes | memoryview | None:
        return memoryview(self.data)[offset : offset + size] if self.at_hand else None

    def read(self, offset: int, size: int) -> bytes | memoryview:
        return self.data[offset : offset + size]

    def decoded_around(self, offset: int) -> tuple[int, bytes | memoryview] | None:
        return None

    def data_extent(self, offset: int) -> tuple[int, int]:
        return min(offset, self.size), self.size


class Chunked(Bytes):
    """Is decoded a chunk at a time, as a large file is; no chunk begins on a page but the first."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, at_hand=False)

    def decoded_around(self, offset: int) -> tuple[int, bytes | memoryview] | None:
        start = offset // CHUNK * CHUNK
        return start, self.data[start : start + CHUNK]


class Holes(Bytes):
    """A TiB with a mebibyte of data at each 100 GiB. Costs more than the driver has room for."""

    cost = 1 << 30

    def __init__(self) -> None:
        super().__init__(b"")
        self.size = 1 << 40

    def read_now(self, offset: int, size: int) -> bytes | memoryview | None:
        size = max(0, min(size, self.size - offset))
        data = max(0, min(size, MEBIBYTE - offset % STRIDE))
        return b"x" * data + bytes(size - data)

    def data_extent(self, offset: int) -> tuple[int, int]:
        if offset % STRIDE >= MEBIBYTE:
            offset = (offset // STRIDE + 1) * STRIDE
        if offset >= self.size:
            return self.size, self.size
        return offset, offset // STRIDE * STRIDE + MEBIBYTE


class Slow(Bytes):
    """Takes a tenth of a second for each request."""

    def read(self, offset: int, size: int) -> bytes | memoryview:
        time.sleep(0.1)
        return super().read(offset, size)


class Stuck(Bytes):
    """Never comes back, like a disk that hangs."""

    def read(self, offset: int, size: int) -> bytes | memoryview:
        threading.Event().wait()
        raise AssertionError


class Raising(Bytes):
    def __init__(self, error: BaseException, at_hand: bool) -> None:
        super().__init__(bytes(4096), at_hand)
        self.error = error

    def read_now(self, offset: int, size: int) -> bytes | memoryview | None:
        if self.at_hand:
            raise self.error
        return None

    def read(self, offset: int, size: int) -> bytes | memoryview:
        raise self.error


class Cut(Bytes):
    """Ends after ten bytes, whatever its size says."""

    def read_now(self, offset: int, size: int) -> bytes | memoryview | None:
        return self.data[:10][offset : offset + size]


class Odd(Bytes):
    """Replies that cannot be sent as they are: every second byte of a buffer, and too many."""

    def read_now(self, offset: int, size: int) -> bytes | memoryview | None:
        doubled = bytes(byte for byte in self.data for _ in range(2))
        return memoryview(doubled)[offset * 2 :: 2]


class Node(NamedTuple):
    attributes: Attributes
    children: dict[bytes, int] | None = None
    content: Content | None = None
    target: bytes | BaseException = b""
    xattrs: dict[bytes, Value] | BaseException = {}  # noqa: RUF012  # never changed


class Sample:
    """The View. Inode 1 is the root; `add` makes the rest."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self.parents: dict[int, int] = {1: 1}
        self.seconds = math.inf
        #: In place of `seconds`, by inode.
        self.timeouts: dict[int, float] = {}
        self.nodes[1] = Node(self._attributes(1, stat.S_IFDIR | 0o755), {})

    def _attributes(self, ino: int, mode: int, length: int = 0, **changes: int) -> Attributes:
        made = Attributes(ino, mode, 1, 0, 0, 0, length, -(-length // 512), NOW, NOW + 1)
        return made._replace(**changes)

    def add(
        self,
        parent: int,
        name: bytes,
        mode: int,
        content: Bytes | None = None,
        target: bytes | BaseException = b"",
        xattrs: dict[bytes, Value] | BaseException | None = None,
        **changes: int,
    ) -> int:
        ino = len(self.nodes) + 1
        size = len(content.data) if content else 0
        children: dict[bytes, int] | None = {} if stat.S_ISDIR(mode) else None
        attributes = self._attributes(ino, mode, size, **changes)
        self.nodes[ino] = Node(attributes, children, content, target, {} if xattrs is None else xattrs)
        siblings = self.nodes[parent].children
        assert siblings is not None
        siblings[name] = ino
        self.parents[ino] = parent
        return ino

    def timeout(self, ino: int) -> float:
        return self.timeouts.get(ino, self.seconds)

    def attributes(self, ino: int) -> Attributes:
        return self.nodes[ino].attributes

    def lookup(self, parent: int, name: bytes) -> Attributes:
        if name == b".":
            return self.attributes(parent)
        if name == b"..":
            return self.attributes(self.parents[parent])
        children = self.nodes[parent].children
        assert children is not None
        if name not in children:
            _raise_as(name)
            raise FileNotFoundError(name)
        return self.attributes(children[name])

    def parent(self, ino: int) -> int:
        return self.parents[ino]

    def entries(self, ino: int, start: int) -> Iterator[tuple[bytes, Attributes, int]]:
        children = list((self.nodes[ino].children or {}).items())
        for number in range(start, len(children)):
            name, child = children[number]
            if name == b"unlistable":
                raise ValueError("this entry cannot be listed")
            yield name, self.attributes(child), number + 1

    def target(self, ino: int) -> bytes:
        target = self.nodes[ino].target
        if isinstance(target, BaseException):
            raise target
        return target

    def xattr_names(self, ino: int) -> list[bytes]:
        return list(self._xattrs(ino))

    def _xattrs(self, ino: int) -> dict[bytes, Value]:
        xattrs = self.nodes[ino].xattrs
        if isinstance(xattrs, BaseException):
            raise xattrs
        return xattrs

    def xattr(self, ino: int, name: bytes) -> Value:
        return self._xattrs(ino).get(name)

    def open(self, ino: int) -> Content:
        content = self.nodes[ino].content
        assert content is not None
        return content

    def statistics(self) -> Statistics:
        return Statistics(10_000, len(self.nodes))


#: Names whose lookup raises.
RAISING = {
    b"raises-nothing-known": RuntimeError("a bug in the view"),
    b"raises-exit": SystemExit(7),
    b"raises-interrupt": KeyboardInterrupt(),
    b"raises-denied": PermissionError("no"),
    b"raises-stale": OSError(116, "stale"),
    b"raises-memory": MemoryError(),
    b"raises-no-system-call": OSError(38, "not implemented"),
}


def _raise_as(name: bytes) -> None:
    if name in RAISING:
        raise RAISING[name]


FILE = stat.S_IFREG | 0o644
DIRECTORY = stat.S_IFDIR | 0o755


def sample(many: int = 0) -> Sample:
    """The tree that the tests know; with `many` entries in one of its directories."""
    view = Sample()
    view.add(1, b"small", FILE, Bytes(b"small content\n"))
    view.add(1, b"empty", FILE, Bytes(b""))
    view.add(1, b"large", FILE, Bytes(LARGE, at_hand=False))
    view.add(1, b"large at hand", FILE, Bytes(LARGE))
    view.add(1, b"holes", FILE, Holes(), size=1 << 40, blocks=11 * 2048)
    view.add(1, b"link", stat.S_IFLNK | 0o777, target=b"no\xffwhere/\n")
    _add_metadata(view)
    _add_misbehaving(view)
    names = view.add(1, b"names", DIRECTORY)
    for name in (b"new\nline", b"not \xff\xfe utf-8", b" ", b"-rf", b"x" * 255, b"$(x)\"q'\\"):
        view.add(names, name, FILE, Bytes(name))
    directory = view.add(1, b"many", DIRECTORY)
    for number in range(many):
        view.add(directory, b"entry-%06d" % number, FILE)
    return view


def _add_metadata(view: Sample) -> None:
    view.add(1, b"old", FILE, Bytes(b""), mtime_ns=BEFORE_1970, ctime_ns=-1)
    view.add(1, b"future", FILE, Bytes(b""), mtime_ns=AFTER_2106, ctime_ns=AFTER_2106)
    view.add(1, b"owned", stat.S_IFREG | 0o6751, Bytes(b""), uid=4_000_000_000, gid=77, nlink=3, blocks=5)
    view.add(1, b"huge", FILE, Bytes(b""), size=2**62, blocks=8)
    view.add(1, b"sticky", stat.S_IFDIR | 0o1777)
    view.add(1, b"fifo", stat.S_IFIFO | 0o600)
    view.add(1, b"socket", stat.S_IFSOCK | 0o600)
    view.add(1, b"character", stat.S_IFCHR | 0o600, rdev=os.makedev(4, 0x12345))
    view.add(1, b"block", stat.S_IFBLK | 0o600, rdev=os.makedev(259, 3))
    view.add(1, b"xattrs", FILE, Bytes(b""), xattrs={b"user.one": b"\0\xff", b"user.none": b""})
    view.add(1, b"acl", FILE, Bytes(b"secret"), xattrs={b"system.posix_acl_access": ACL})
    view.add(1, b"closed", stat.S_IFREG | 0o600, Bytes(b"secret"))


def _add_misbehaving(view: Sample) -> None:
    view.add(1, b"chunked", FILE, Chunked(LARGE))
    view.add(1, b"slow", FILE, Slow(LARGE, at_hand=False))
    view.add(1, b"stuck", FILE, Stuck(bytes(4096), at_hand=False))
    view.add(1, b"damaged", FILE, Raising(ValueError("an object does not hash to its name"), True))
    view.add(1, b"damaged in thread", FILE, Raising(ValueError("another object"), False))
    view.add(1, b"exits in thread", FILE, Raising(SystemExit(7), False))
    view.add(1, b"cut", FILE, Cut(bytes(5000)))
    view.add(1, b"odd", FILE, Odd(b"0123456789"))
    view.add(1, b"bad link", stat.S_IFLNK | 0o777, target=KeyError("no target"))
    view.add(1, b"bad xattrs", FILE, Bytes(b""), xattrs=KeyError("no xattrs"))
    halfway = view.add(1, b"halfway", DIRECTORY)
    for number in range(500):
        view.add(halfway, b"%03d" % number, FILE)
    view.add(halfway, b"unlistable", FILE)
    view.add(halfway, b"after", FILE)
