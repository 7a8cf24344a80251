"""The dispatcher without a kernel: requests as bytes in, replies as bytes out."""

import errno
import mmap
import os
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusefs import protocol
from fusefs.device import Device
from fusefs.files import Files
from fusefs.pages import Pages
from fusefs.protocol import Opcode
from fusefs.requests import Requests
from fusefs.workers import Workers
from tests.fusefs.conftest import wait_until
from tests.fusefs.sample import CHUNK, LARGE, NOW, RAISING, SECOND, Bytes, Sample, sample

ROOT = 1


class Recorder(Device):
    """Takes replies in the kernel's place."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, int, bytes]] = []
        self.stored: list[tuple[int, int, bytes]] = []
        #: Pages that are locked: giving them waits.
        self.unlocked = threading.Event()
        self.unlocked.set()

    def reply(self, unique: int, payload: bytes | memoryview) -> None:
        self.replies.append((unique, 0, bytes(payload)))

    def store(self, ino: int, offset: int, data: bytes | memoryview) -> None:
        self.unlocked.wait()
        self.stored.append((ino, offset, bytes(data)))

    def refuse(self, unique: int, number: int) -> None:
        self.replies.append((unique, number, b""))


class Mount:
    """A mount of the sample without its kernel."""

    def __init__(self, view: Sample) -> None:
        self.view = view
        self.device = Recorder()
        self.workers = Workers()
        self.aborts = 0
        self.pages = Pages(self.device, self.abort)
        self.requests = Requests(view, self.device, self.workers, self.pages)

    def abort(self) -> None:
        self.aborts += 1
        self.device.unlocked.set()

    def send(
        self, opcode: int, body: bytes = b"", ino: int = ROOT, unique: int = 2
    ) -> list[tuple[int, int, bytes]]:
        header = struct.pack("=IIQQIIII", 40 + len(body), opcode, unique, ino, 0, 0, 0, 0)
        return self.raw(header + body)

    def raw(self, request: bytes) -> list[tuple[int, int, bytes]]:
        self.device.replies.clear()
        self.requests.answer(memoryview(request))
        self.workers.wait(10)
        return self.device.replies

    def ask(self, opcode: int, body: bytes = b"", ino: int = ROOT) -> bytes:
        ((unique, number, payload),) = self.send(opcode, body, ino)
        assert (unique, number) == (2, 0), os.strerror(number)
        return payload

    def refused(self, opcode: int, body: bytes = b"", ino: int = ROOT) -> int:
        ((unique, number, payload),) = self.send(opcode, body, ino)
        assert unique == 2
        assert not payload
        return number

    def ino(self, name: bytes) -> int:
        return self.view.lookup(ROOT, name).ino


@pytest.fixture
def mount() -> Mount:
    return Mount(sample())


def test_structs_have_the_sizes_of_the_header() -> None:
    """As sizeof() gives them for the structs of <linux/fuse.h>."""
    sizes = {
        protocol.IN_HEADER: 40, protocol.OUT_HEADER: 16, protocol.OPEN_IN: 8, protocol.READ_IN: 40,
        protocol.RELEASE_IN: 24, protocol.GETXATTR_IN: 8, protocol.LSEEK_IN: 24, protocol.ENTRY_OUT: 128,
        protocol.ATTR_OUT: 104, protocol.OPEN_OUT: 16, protocol.STATFS_OUT: 80, protocol.GETXATTR_OUT: 8,
        protocol.LSEEK_OUT: 8, protocol.INIT_IN: 16, protocol.INIT_OUT: 64,
    }  # fmt: skip
    assert {form.format: form.size for form in sizes} == {form.format: size for form, size in sizes.items()}
    assert [protocol.DIRENT[length].size for length in (0, 1, 8, 9, 255)] == [24, 32, 32, 40, 280]
    assert [protocol.DIRENTPLUS[length].size for length in (0, 1, 8, 9, 255)] == [152, 160, 160, 168, 408]


S, NS = divmod(NOW, SECOND)
FOREVER = struct.pack("=Q", 10**9)


def attr(ino: int, mode: int, size: int, blocks: int) -> bytes:
    times = struct.pack("=QQQIII", S, S, S, NS, NS, NS + 1)
    return struct.pack("=QQQ", ino, size, blocks) + times + struct.pack("=7I", mode, 1, 0, 0, 0, 4096, 0)


SMALL = attr(2, 0o100644, 14, 1)


def test_the_first_request_to_the_byte(mount: Mount) -> None:
    """Nothing is asked for that the kernel does not offer."""
    for offered in (0, (1 << 32) - 1):
        reply = mount.ask(26, struct.pack("=IIII", 7, 45, 131_072, offered))
        assert reply[:12] == struct.pack("=III", 7, 38, 131_072)
        wanted = 1 | 1 << 4 | 1 << 12 | 1 << 13 | 1 << 15 | 1 << 18 | 1 << 20 | 1 << 22
        assert reply[12:16] == struct.pack("=I", wanted & offered)
        assert reply[16:] == struct.pack("=HHIIH34x", 64, 48, 1 << 20, 1, (1 << 20) // mmap.PAGESIZE)


def test_a_lookup_to_the_byte(mount: Mount) -> None:
    expected = struct.pack("=QQ", 2, 0) + FOREVER + FOREVER + struct.pack("=II", 0, 0) + SMALL
    assert mount.ask(Opcode.LOOKUP, b"small\0") == expected


def test_attributes_to_the_byte(mount: Mount) -> None:
    assert mount.ask(Opcode.GETATTR, bytes(16), ino=2) == FOREVER + bytes(8) + SMALL


def test_a_listing_with_attributes_to_the_byte(mount: Mount) -> None:
    handle = bytes(8)  # the kernel opened it by itself
    # Room for three: the fourth is kept for the next portion.
    reply = mount.ask(Opcode.READDIRPLUS, handle + struct.pack("=QI20x", 2, 3 * 160 + 150))
    empty, large = attr(3, 0o100644, 0, 0), attr(4, 0o100644, len(LARGE), -(-len(LARGE) // 512))
    assert reply == b"".join(
        struct.pack("=QQ", ino, 0) + FOREVER + FOREVER + bytes(8) + attributes
        + struct.pack("=QQII", ino, position, 5, 8) + name + bytes(3)
        for ino, attributes, position, name in (
            (2, SMALL, 3, b"small"), (3, empty, 4, b"empty"), (4, large, 5, b"large"),
        )
    )  # fmt: skip
    following = mount.ask(Opcode.READDIRPLUS, handle + struct.pack("=QI20x", 5, 4096))
    assert following[152:165] == b"large at hand"


def test_a_listing_without_attributes_to_the_byte(mount: Mount) -> None:
    mount.view.seconds = 1
    handle = mount.ask(Opcode.OPENDIR, bytes(8))[:8]
    assert handle == struct.pack("=Q", 1)
    reply = mount.ask(Opcode.READDIR, handle + struct.pack("=QI20x", 0, 3 * 32))
    rows = ((1, 1, b"." + bytes(7), 1, 4), (1, 2, b".." + bytes(6), 2, 4), (2, 3, b"small" + bytes(3), 5, 8))
    assert reply == b"".join(
        struct.pack("=QQII", ino, position, length, kind) + name for ino, position, name, length, kind in rows
    )


def test_too_little_room_for_an_entry_is_not_the_end(mount: Mount) -> None:
    assert mount.refused(Opcode.READDIRPLUS, struct.pack("=QQI20x", 0, 0, 100)) == errno.EINVAL
    assert mount.ask(Opcode.READDIRPLUS, struct.pack("=QQI20x", 0, 0, 200))[152:153] == b"."


def test_a_closed_directory_is_no_directory(mount: Mount) -> None:
    mount.view.seconds = 1
    handle = mount.ask(Opcode.OPENDIR, bytes(8))[:8]
    assert mount.ask(Opcode.RELEASEDIR, handle + bytes(16)) == b""
    assert mount.refused(Opcode.READDIR, handle + bytes(32)) == errno.EBADF


@pytest.mark.parametrize(("seconds", "flags"), [(1e9, 0b1010), (0.4, 0)])
def test_the_kernel_keeps_listings_of_what_never_changes(mount: Mount, seconds: float, flags: int) -> None:
    mount.view.seconds, mount.view.timeouts = 0.4, {mount.ino(b"names"): seconds}
    reply = mount.ask(Opcode.OPENDIR, bytes(8), ino=mount.ino(b"names"))
    assert reply == struct.pack("=QII", 1, flags, 0)


def test_where_nothing_changes_the_kernel_is_told_not_to_ask_for_directories_either() -> None:
    mount = Mount(sample(1000))
    assert mount.refused(Opcode.OPENDIR, bytes(8)) == errno.ENOSYS
    many = mount.ino(b"many")
    at, names = 0, []
    # Two who list it at once, in portions.
    while True:
        reply, again = (
            mount.ask(Opcode.READDIR, struct.pack("=QQI20x", 0, at, 4096), ino=many) for _ in range(2)
        )
        assert reply == again
        if not reply:
            break
        start = 0
        while start < len(reply):
            _, at, length = struct.unpack_from("=QQI", reply, start)
            names.append(reply[start + 24 : start + 24 + length])
            start += 24 + -(-length // 8) * 8
    assert names == [b".", b"..", *(b"entry-%06d" % number for number in range(1000))]


def test_an_absent_name_is_kept_as_long_as_its_directory_says(mount: Mount) -> None:
    mount.view.seconds = 2.5
    nodeid, _, valid, _, valid_ns = struct.unpack_from("=QQQQI", mount.ask(Opcode.LOOKUP, b"absent\0"))
    assert (nodeid, valid, valid_ns) == (0, 2, 500_000_000)


@pytest.mark.parametrize("name", RAISING, ids=repr)
def test_what_a_view_raises_becomes_an_errno(mount: Mount, name: bytes) -> None:
    assert mount.refused(Opcode.LOOKUP, name + b"\0") in (errno.EIO, errno.EACCES, errno.ESTALE)


def test_an_xattr_that_takes_time_is_made_by_a_worker(mount: Mount) -> None:
    going = threading.Event()

    def make() -> bytes:
        assert going.wait(60)
        return b"value"

    view = mount.view
    ino = view.add(ROOT, b"takes time", 0o100644, Bytes(b""), xattrs={b"user.x": make})
    body = struct.pack("=II", 100, 0) + b"user.x\0"
    header = struct.pack("=IIQQIIII", 40 + len(body), Opcode.GETXATTR, 7, ino, 0, 0, 0, 0)
    mount.requests.answer(memoryview(header + body))
    assert mount.device.replies == []
    going.set()
    mount.workers.wait(60)
    assert mount.device.replies == [(7, 0, b"value")]


def test_of_a_chunk_that_was_read_in_part_the_kernel_is_given_all_whole_pages(mount: Mount) -> None:
    ino = mount.ino(b"chunked")
    for offset in (0, 2 * CHUNK + 5000, len(LARGE) - 10):
        assert mount.ask(Opcode.READ, read_in(offset, 4096), ino) == LARGE[offset : offset + 4096]
        wait_until(lambda: mount.device.stored, "the pages")
        ((stored, start, data),) = mount.device.stored
        mount.device.stored.clear()
        first, last = offset // CHUNK * CHUNK, min((offset // CHUNK + 1) * CHUNK, len(LARGE))
        assert stored == ino
        assert start == -(-first // 4096) * 4096
        assert start + len(data) == (last if last == len(LARGE) else last // 4096 * 4096)
        assert data == LARGE[start : start + len(data)]


def test_a_reader_in_order_is_given_what_it_asks_for(mount: Mount) -> None:
    ino = mount.ino(b"chunked")
    assert mount.ask(Opcode.READ, read_in(0, 131_072), ino) == LARGE[:131_072]
    assert mount.ask(Opcode.READ, read_in(0, 4096), mount.ino(b"large")) == LARGE[:4096]
    mount.pages.close()
    assert mount.device.stored == []
    assert mount.aborts == 0


def test_a_page_that_nobody_will_unlock_is_not_waited_for_at_the_end(mount: Mount) -> None:
    mount.device.unlocked.clear()
    mount.ask(Opcode.READ, read_in(0, 4096), mount.ino(b"chunked"))
    mount.ask(Opcode.READ, read_in(2 * CHUNK, 4096), mount.ino(b"chunked"))
    wait_until(lambda: mount.pages.busy, "the waiting for a page")
    mount.pages.close()
    assert mount.aborts == 1
    wait_until(lambda: not mount.pages.busy, "the end of the waiting")
    assert len(mount.device.stored) == 1, "nothing is given after the end"


def test_the_kernel_is_told_not_to_ask_for_opens(mount: Mount) -> None:
    assert mount.refused(Opcode.OPEN, struct.pack("=II", os.O_RDONLY, 0), ino=2) == errno.ENOSYS
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_TRUNC):
        assert mount.refused(Opcode.OPEN, struct.pack("=II", flags, 0), ino=2) == errno.EROFS


def read_in(offset: int, size: int) -> bytes:
    return struct.pack("=QQI20x", 0, offset, size)


@pytest.mark.parametrize("name", [b"large", b"large at hand"])
def test_reads_need_no_open(mount: Mount, name: bytes) -> None:
    ino = mount.ino(name)
    for offset in (0, 4096, len(LARGE) - 10, len(LARGE), len(LARGE) + 10):
        assert mount.ask(Opcode.READ, read_in(offset, 5000), ino) == LARGE[offset : offset + 5000]


def test_a_directory_cannot_be_read(mount: Mount) -> None:
    assert mount.refused(Opcode.READ, read_in(0, 10), mount.ino(b"names")) == errno.EIO


def test_data_and_holes_are_found(mount: Mount) -> None:
    ino, stride = mount.ino(b"holes"), 100 << 30

    def seek(offset: int, whence: int) -> int:
        ((_, number, payload),) = mount.send(46, struct.pack("=QQII", 0, offset, whence, 0), ino)
        return -number if number else int(struct.unpack("=Q", payload)[0])

    assert [seek(offset, os.SEEK_DATA) for offset in (0, 5, 1 << 20, stride)] == [0, 5, stride, stride]
    assert [seek(offset, os.SEEK_HOLE) for offset in (0, 5, 1 << 20)] == [1 << 20, 1 << 20, 1 << 20]
    for offset, whence in ((1 << 40, os.SEEK_DATA), (1 << 40, os.SEEK_HOLE), ((1 << 40) - 1, os.SEEK_DATA)):
        assert seek(offset, whence) == -errno.ENXIO
    assert seek(0, os.SEEK_CUR) == -errno.EINVAL


def test_extended_attributes_are_asked_for_their_size_first(mount: Mount) -> None:
    ino = mount.ino(b"xattrs")
    assert mount.ask(Opcode.GETXATTR, struct.pack("=II", 0, 0) + b"user.one\0", ino) == struct.pack(
        "=II", 2, 0
    )
    assert mount.ask(Opcode.GETXATTR, struct.pack("=II", 2, 0) + b"user.one\0", ino) == b"\0\xff"
    assert mount.refused(Opcode.GETXATTR, struct.pack("=II", 1, 0) + b"user.one\0", ino) == errno.ERANGE
    assert mount.refused(Opcode.GETXATTR, struct.pack("=II", 9, 0) + b"user.x\0", ino) == errno.ENODATA
    assert mount.ask(Opcode.LISTXATTR, bytes(8), ino) == struct.pack("=II", 19, 0)
    assert mount.ask(Opcode.LISTXATTR, struct.pack("=II", 19, 0), ino) == b"user.one\0user.none\0"
    assert mount.refused(Opcode.LISTXATTR, struct.pack("=II", 18, 0), ino) == errno.ERANGE


def test_what_is_forgotten_is_not_answered(mount: Mount) -> None:
    assert mount.send(Opcode.FORGET, bytes(8)) == []
    assert mount.send(Opcode.BATCH_FORGET, struct.pack("=IIQQ", 1, 0, 2, 1)) == []


@pytest.mark.parametrize("opcode", sorted(protocol.WRITING))
def test_what_would_write_is_refused(mount: Mount, opcode: int) -> None:
    assert mount.refused(opcode, bytes(200)) == errno.EROFS


@pytest.mark.parametrize("opcode", [0, 7, 20, 25, 34, 36, 39, 40, 47, 52, 4096, 1 << 31])
def test_what_is_unknown_is_not_asked_for_again(mount: Mount, opcode: int) -> None:
    assert mount.refused(opcode, bytes(100)) == errno.ENOSYS


class Opened(Sample):
    """Counts what it opens."""

    opened = 0

    def open(self, ino: int) -> Bytes:
        self.opened += 1
        content = super().open(ino)
        assert isinstance(content, Bytes)
        return content


@pytest.fixture
def opened() -> Opened:
    view = Opened()
    for number in range(5):
        view.add(ROOT, b"%d" % number, 0o100644, Bytes(b"%d" % number * 100))
    return view


def read_all(files: Files) -> Iterator[bytes]:
    for ino in range(2, 7):
        data = files.read(1, ino, 0, 50)
        assert data is not None
        yield bytes(data)


@pytest.mark.parametrize(("room", "opens"), [(100, 5), (3, 10), (0, 10)])
def test_contents_are_kept_as_far_as_there_is_room(opened: Opened, room: int, opens: int) -> None:
    files = Files(opened, Recorder(), Workers(), Pages(Recorder(), lambda: None), room)
    expected = [b"%d" % number * 50 for number in range(5)]
    assert list(read_all(files)) == expected
    assert list(read_all(files)) == expected
    assert opened.opened == opens


def test_what_one_request_reads_whole_is_not_kept(opened: Opened) -> None:
    files = Files(opened, Recorder(), Workers(), Pages(Recorder(), lambda: None))
    for _ in range(2):
        assert files.read(1, 2, 0, 100) == b"0" * 100
    assert opened.opened == 2


NUMBERS = [number.to_bytes(8, "little") for number in (*range(4), 2**63, 2**64 - 1)]
REQUESTS = st.builds(
    lambda opcode, unique, ino, body, cut: struct.pack(
        "=IIQQIIII", 40 + len(body), opcode, unique, ino, 0, 0, 0, 0
    )[: 40 - cut] + (b"" if cut else body),
    st.integers(0, 60),
    st.integers(0, 2**64 - 1),
    st.one_of(st.integers(0, 30), st.integers(0, 2**64 - 1)),
    st.one_of(st.binary(max_size=100), st.lists(st.sampled_from(NUMBERS)).map(b"".join)),
    st.one_of(st.just(0), st.integers(0, 40)),
)  # fmt: skip


def sound() -> Sample:
    """A view in which nothing hangs."""
    view = Sample()
    view.add(ROOT, b"at hand", 0o100644, Bytes(LARGE))
    view.add(ROOT, b"by a worker", 0o100644, Bytes(LARGE, at_hand=False), xattrs={b"user.x": b"1"})
    view.add(view.add(ROOT, b"directory", 0o40755), b"link", 0o120777, target=b"x")
    return view


FUZZED = Mount(sound())


@given(st.lists(REQUESTS, max_size=10))
def test_no_request_does_harm(requests: list[bytes]) -> None:
    """Each is answered at most once, and whoever asks next is answered rightly."""
    for request in requests:
        assert len(FUZZED.raw(request)) <= 1
    assert FUZZED.refused(Opcode.OPEN, bytes(8)) == errno.ENOSYS
    assert len(FUZZED.ask(Opcode.GETATTR, bytes(16))) == 104
