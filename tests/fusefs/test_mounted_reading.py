"""What a program sees in a mount, through the real kernel."""

import concurrent.futures
import ctypes
import errno
import json
import mmap
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fusefs.protocol import Opcode
from tests.fusefs.conftest import Driver, Mounter, wait_until
from tests.fusefs.sample import AFTER_2106, BEFORE_1970, CHUNK, LARGE, MANY, MEBIBYTE, MEMBER, NOW, STRIDE


def test_a_file_has_all_its_attributes(driver: Driver) -> None:
    status = (driver.at / "owned").stat()
    assert status.st_mode == stat.S_IFREG | 0o6751
    assert (status.st_uid, status.st_gid, status.st_nlink) == (4_000_000_000, 77, 3)
    assert (status.st_blocks, status.st_mtime_ns, status.st_ctime_ns) == (5, NOW, NOW + 1)
    assert (driver.at / "huge").stat().st_size == 2**62


def test_times_before_1970_and_after_2106_are_exact(driver: Driver) -> None:
    assert (driver.at / "old").stat().st_mtime_ns == BEFORE_1970
    assert (driver.at / "old").stat().st_ctime_ns == -1
    assert (driver.at / "future").stat().st_mtime_ns == AFTER_2106


@pytest.mark.parametrize(
    ("name", "kind", "device"),
    [
        ("fifo", stat.S_IFIFO, (0, 0)),
        ("socket", stat.S_IFSOCK, (0, 0)),
        ("character", stat.S_IFCHR, (4, 0x12345)),
        ("block", stat.S_IFBLK, (259, 3)),
    ],
)
def test_special_files_keep_kind_and_device(
    driver: Driver, name: str, kind: int, device: tuple[int, int]
) -> None:
    status = (driver.at / name).lstat()
    assert stat.S_IFMT(status.st_mode) == kind
    assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == device


def test_a_link_tells_its_target_byte_for_byte(driver: Driver) -> None:
    assert os.readlink(bytes(driver.at / "link")) == b"no\xffwhere/\n"


def test_xattrs_are_listed_and_read(driver: Driver) -> None:
    path = driver.at / "xattrs"
    assert sorted(os.listxattr(path)) == ["user.none", "user.one"]
    assert os.getxattr(path, "user.one") == b"\0\xff"
    assert os.getxattr(path, "user.none") == b""
    assert os.listxattr(driver.at / "small") == []


def test_a_missing_xattr_is_no_data(driver: Driver) -> None:
    with pytest.raises(OSError) as raised:
        os.getxattr(driver.at / "small", "user.none")
    assert raised.value.errno == errno.ENODATA


@pytest.mark.parametrize(("name", "allowed"), [("small", True), ("closed", False), ("acl", False)])
def test_the_kernel_enforces_modes_and_acls_on_others(driver: Driver, name: str, allowed: bool) -> None:
    done = subprocess.run(
        ["cat", driver.at / name], user=MEMBER, group=MEMBER, extra_groups=[], capture_output=True
    )
    assert (done.returncode == 0) == allowed
    assert allowed or b"Permission denied" in done.stderr


def test_names_are_bytes(driver: Driver) -> None:
    root = bytes(driver.at / "names")
    names = {b"new\nline", b"not \xff\xfe utf-8", b" ", b"-rf", b"x" * 255, b"$(x)\"q'\\"}
    assert set(os.listdir(root)) == names
    for name in names:
        with open(os.path.join(root, name), "rb") as file:
            assert file.read() == name


def test_an_absent_name_is_absent_each_time(driver: Driver) -> None:
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            (driver.at / "absent").stat()


def test_a_file_is_no_directory(driver: Driver) -> None:
    with pytest.raises(NotADirectoryError):
        (driver.at / "small" / "below").stat()


def test_dots_are_listed_first_with_their_inodes(driver: Driver) -> None:
    listed = subprocess.run(["ls", "-aif", driver.at / "names"], capture_output=True, check=True).stdout
    numbers = [line.split()[0] for line in listed.splitlines()[:2]]
    names = driver.at / "names"
    assert [int(number) for number in numbers] == [names.stat().st_ino, driver.at.stat().st_ino]
    assert os.stat(names / "..").st_ino == 1


def test_a_hundred_thousand_entries_are_each_listed_once(driver: Driver) -> None:
    assert sorted(os.listdir(driver.at / "many")) == [f"entry-{number:06}" for number in range(MANY)]


class Dirent(ctypes.Structure):
    _fields_ = (
        ("ino", ctypes.c_uint64),
        ("position", ctypes.c_int64),
        ("length", ctypes.c_ushort),
        ("kind", ctypes.c_ubyte),
        ("name", ctypes.c_char * 256),
    )


class Directory:
    """opendir(3) and what belongs to it: Python offers no telldir."""

    def __init__(self, path: Path) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.opendir.restype = ctypes.c_void_p
        self.libc.readdir64.restype = ctypes.POINTER(Dirent)
        self.libc.telldir.restype = ctypes.c_long
        self.stream = ctypes.c_void_p(self.libc.opendir(bytes(path)))
        assert self.stream.value

    def read(self) -> bytes | None:
        ctypes.set_errno(0)
        entry = self.libc.readdir64(self.stream)
        if not entry:
            number = ctypes.get_errno()
            if number:
                raise OSError(number, os.strerror(number))
            return None
        name: bytes = entry.contents.name
        return name

    def tell(self) -> int:
        return int(self.libc.telldir(self.stream))

    def seek(self, position: int) -> None:
        self.libc.seekdir(self.stream, ctypes.c_long(position))

    def close(self) -> None:
        self.libc.closedir(self.stream)


def test_seekdir_goes_back_to_any_position(driver: Driver) -> None:
    directory = Directory(driver.at / "many")
    positions: list[tuple[int, bytes | None]] = []
    for _ in range(5000):
        position = directory.tell()
        positions.append((position, directory.read()))
    for position, name in [*positions[::-617], positions[0], positions[1], positions[2]]:
        directory.seek(position)
        assert directory.read() == name
    directory.close()


def test_rewinding_at_the_end_lists_all_again(driver: Driver) -> None:
    directory = Directory(driver.at / "names")
    first = list(iter(directory.read, None))
    directory.seek(0)
    assert list(iter(directory.read, None)) == first
    assert len(first) == 8
    directory.close()


def test_a_listing_that_fails_halfway_gives_the_first_half_and_the_error(driver: Driver) -> None:
    directory = Directory(driver.at / "halfway")
    for _ in range(2):
        names: list[bytes] = []
        with pytest.raises(OSError) as raised:
            names.extend(iter(directory.read, None))
        assert raised.value.errno == errno.EIO
        assert names == [b".", b"..", *(b"%03d" % number for number in range(500))]
        directory.seek(0)
    directory.close()


def test_statfs_shows_a_full_disk(driver: Driver) -> None:
    status = os.statvfs(driver.at)
    assert (status.f_bsize, status.f_frsize, status.f_blocks) == (4096, 4096, 3)
    assert (status.f_bfree, status.f_bavail, status.f_ffree, status.f_namemax) == (0, 0, 0, 255)
    assert status.f_files > MANY


@pytest.mark.parametrize("name", ["large", "large at hand"])
def test_a_large_file_reads_whole_and_in_pieces(driver: Driver, name: str) -> None:
    path = driver.at / name
    assert path.read_bytes() == LARGE
    with path.open("rb", buffering=0) as file:
        for offset in (1, 4095, 1 << 20, len(LARGE) - 3, len(LARGE), len(LARGE) + 10):
            assert os.pread(file.fileno(), 5000, offset) == LARGE[offset : offset + 5000]


def test_a_file_can_be_mapped(driver: Driver) -> None:
    with (driver.at / "large").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[123_456:234_567] == LARGE[123_456:234_567]


def test_an_empty_file_is_empty(driver: Driver) -> None:
    assert (driver.at / "empty").read_bytes() == b""


def test_many_readers_at_once_get_what_they_asked_for(mount: Mounter) -> None:
    root = mount().at

    def read(number: int) -> bool:
        descriptor = os.open(root / ("slow" if number % 3 else "large at hand"), os.O_RDONLY)
        try:
            offset = number * 37_777 % len(LARGE)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
            return os.pread(descriptor, 10_000, offset) == LARGE[offset : offset + 10_000]
        finally:
            os.close(descriptor)

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        assert all(pool.map(read, range(96)))


def test_random_readings_of_a_chunk_cost_one_request(mount: Mounter) -> None:
    driver = mount(how="counting")
    descriptor = os.open(driver.at / "chunked", os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        offset = 3 * CHUNK + 2 * 4096
        assert os.pread(descriptor, 100, offset) == LARGE[offset : offset + 100]
        pages = range(-(-3 * CHUNK // 4096), 4 * CHUNK // 4096)
        wait_until(lambda: kept(descriptor)[pages.start : pages.stop] == [1] * len(pages), "the pages")
        for page in pages:
            assert os.pread(descriptor, 4096, page * 4096) == LARGE[page * 4096 : (page + 1) * 4096]
        assert sum(kept(descriptor)) == len(pages)
    finally:
        os.close(descriptor)
    driver.process.terminate()
    assert driver.ended() == 0
    counts = json.loads(driver.log.read_text().splitlines()[-1])
    assert counts[str(int(Opcode.READ))] == 1


def kept(descriptor: int) -> list[int]:
    """Of each page of a file, whether the kernel has it: see mincore(2)."""
    with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_PRIVATE) as view:
        pages = (ctypes.c_ubyte * -(-len(view) // mmap.PAGESIZE))()
        start = ctypes.addressof(ctypes.c_char.from_buffer(view))
        assert (
            ctypes.CDLL(None, use_errno=True).mincore(
                ctypes.c_void_p(start), ctypes.c_size_t(len(view)), pages
            )
            == 0
        )
        return [page & 1 for page in pages]


def test_a_file_opened_again_costs_no_request(mount: Mounter) -> None:
    """The first OPEN tells the kernel to do without; READ follows where it has not kept the content."""
    driver = mount(how="counting")
    for _ in range(5):
        for name in ("small", "large", "large at hand"):
            with (driver.at / name).open("rb") as file:
                file.read()
    driver.process.terminate()
    assert driver.ended() == 0
    counts = json.loads(driver.log.read_text().splitlines()[-1])
    assert counts[str(Opcode.OPEN)] == 1
    assert counts[str(Opcode.READ)] < 3 * len(LARGE) / 131_072
    assert "18" not in counts  # RELEASE


def test_listing_again_costs_no_request(mount: Mounter) -> None:
    driver = mount(how="counting")
    for _ in range(5):
        assert len(os.listdir(driver.at / "halfway" / ".." / "names")) == 6
    driver.process.terminate()
    assert driver.ended() == 0
    counts = json.loads(driver.log.read_text().splitlines()[-1])
    assert counts[str(Opcode.OPENDIR)] == 1
    assert str(int(Opcode.RELEASEDIR)) not in counts
    assert counts[str(Opcode.READDIRPLUS)] == 2


def test_holes_cost_no_reading(driver: Driver, tmp_path: Path) -> None:
    with (driver.at / "holes").open("rb") as file:
        found = []
        end = 0
        for _ in range(11):
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, end))
        with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
            os.lseek(file.fileno(), end, os.SEEK_DATA)
    assert found == [(number * STRIDE, number * STRIDE + MEBIBYTE) for number in range(11)]
    subprocess.run(["cp", "--sparse=auto", driver.at / "holes", tmp_path / "copy"], check=True, timeout=20)
    assert (tmp_path / "copy").stat().st_blocks <= 12 * 2048
    with (tmp_path / "copy").open("rb") as file:
        assert os.pread(file.fileno(), 10, 3 * STRIDE + MEBIBYTE - 5) == b"xxxxx" + bytes(5)


def test_a_file_is_read_on_after_its_content_was_let_go(driver: Driver) -> None:
    """The file with holes takes all the room that there is for contents."""
    path = driver.at / "large"
    with path.open("rb", buffering=0) as file, (driver.at / "holes").open("rb", buffering=0) as other:
        for offset in range(0, len(LARGE), 1 << 20):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(file.fileno(), 5000, offset) == LARGE[offset : offset + 5000]
            assert os.pread(other.fileno(), 10, (offset >> 20) * STRIDE) == b"x" * 10


def test_eight_readers_of_one_file_all_get_its_bytes(mount: Mounter) -> None:
    path = mount().at / "large"
    readers = [subprocess.Popen(["cat", path], stdout=subprocess.PIPE) for _ in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(data == LARGE for data, _ in pool.map(subprocess.Popen.communicate, readers))


def test_a_slow_read_does_not_hold_up_others(mount: Mounter) -> None:
    """The stuck reader is given up at the end, when the mount goes."""
    driver = mount()
    stuck = subprocess.Popen(["cat", driver.at / "stuck"], stderr=subprocess.DEVNULL)
    assert (driver.at / "large").read_bytes() == LARGE
    assert stuck.poll() is None
    driver.process.terminate()
    assert driver.ended() == 0
    assert stuck.wait(5) == 1


ERRORS = {
    "raises-nothing-known": errno.EIO,
    "raises-exit": errno.EIO,
    "raises-interrupt": errno.EIO,
    "raises-memory": errno.EIO,
    "raises-no-system-call": errno.EIO,
    "raises-denied": errno.EACCES,
    "raises-stale": errno.ESTALE,
}


@pytest.mark.parametrize(("name", "number"), ERRORS.items())
def test_what_a_view_raises_becomes_an_errno(driver: Driver, name: str, number: int) -> None:
    with pytest.raises(OSError) as raised:
        (driver.at / name).stat()
    assert raised.value.errno == number
    assert (driver.at / "small").read_bytes() == b"small content\n"


@pytest.mark.parametrize("name", ["damaged", "damaged in thread", "exits in thread", "cut"])
def test_damage_is_an_error_and_never_a_shorter_file(driver: Driver, name: str) -> None:
    size = (driver.at / name).stat().st_size
    with pytest.raises(OSError) as raised:
        (driver.at / name).read_bytes()
    assert raised.value.errno == errno.EIO
    assert (driver.at / name).stat().st_size == size
    assert (driver.at / "small").read_bytes() == b"small content\n"


def test_a_reply_that_could_not_be_sent_is_made_one(driver: Driver) -> None:
    assert (driver.at / "odd").read_bytes() == b"0123456789"


def test_other_handlers_turn_faults_into_errors_too(driver: Driver) -> None:
    for call in (
        lambda: os.readlink(driver.at / "bad link"),
        lambda: os.listxattr(driver.at / "bad xattrs"),
        lambda: os.getxattr(driver.at / "bad xattrs", "user.x"),
    ):
        with pytest.raises(OSError) as raised:
            call()
        assert raised.value.errno == errno.EIO


def test_a_fault_is_logged_once_with_its_reason(mount: Mounter) -> None:
    driver = mount()
    for _ in range(3):
        with pytest.raises(OSError):
            (driver.at / "raises-nothing-known").stat()
        with pytest.raises(OSError):
            (driver.at / "damaged").read_bytes()
    lines = driver.log.read_text().splitlines()
    assert lines == [
        "ERROR:fusefs:lookup: RuntimeError: a bug in the view",
        "ERROR:fusefs:read: ValueError: an object does not hash to its name",
    ]


def test_readers_killed_midway_do_no_harm(mount: Mounter) -> None:
    driver = mount()
    program = "import sys\nwhile 1: open(sys.argv[1], 'rb').read()"
    for _ in range(3):
        readers = [
            subprocess.Popen([sys.executable, "-S", "-c", program, str(driver.at / name)])
            for name in ("slow", "large at hand", "small", "large")
        ]
        assert (driver.at / "large").read_bytes() == LARGE
        for reader in readers:
            reader.kill()
            reader.wait()
    assert (driver.at / "small").read_bytes() == b"small content\n"
    assert driver.process.poll() is None
    driver.process.terminate()
    assert driver.ended() == 0
    assert driver.log.read_text() == "INFO:fusefs:SIGTERM: unmounting\n"
