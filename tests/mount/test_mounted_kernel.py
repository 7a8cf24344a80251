"""What programs do through a mount: permissions, ACLs, running, mapping, seeking, large directories."""

import ctypes
import errno
import mmap
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.compare import data_runs
from tests.support.everything import KIB, MIB, acls, capabilities, noise, sparse_file
from tests.support.imbfs import Imbfs
from tests.support.small import build_small

STRANGER = 65534
MANY = 100_000


def backed_up(imbfs: Imbfs, source: Path) -> Imbfs:
    imbfs.run("init")
    imbfs.run("backup", source)
    return imbfs


def as_stranger(*command: str | Path, groups: str = "--clear-groups") -> subprocess.CompletedProcess[bytes]:
    user = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", groups]
    return subprocess.run([*user, *command], capture_output=True, cwd="/", timeout=60)


@pytest.fixture
def guarded(open_path: Path, mark: str) -> Imbfs:
    """A snapshot of files that some may read and some not, where a stranger can reach it."""
    source = open_path / "source"
    source.mkdir(mode=0o755)
    for name, mode in {"open": 0o644, "closed": 0o600, "of the stranger": 0o400, "for one": 0o600}.items():
        (source / name).write_text(name)
        (source / name).chmod(mode)
    (source / "locked").mkdir()
    (source / "locked" / "open").write_text("behind a closed door")
    (source / "locked").chmod(0o700)
    os.chown(source / "of the stranger", STRANGER, STRANGER)
    subprocess.run(["setfacl", "-m", f"u:{STRANGER}:r", source / "for one"], check=True)
    (source / "not for one").write_text("x")
    (source / "not for one").chmod(0o644)
    subprocess.run(["setfacl", "-m", f"u:{STRANGER}:-", source / "not for one"], check=True)
    return backed_up(Imbfs(open_path, mark), source)


def test_permissions_and_acls_are_enforced_for_an_ordinary_user(guarded: Imbfs) -> None:
    with guarded.mounted("latest", "-o", "allow_other") as mount:
        paths = ["open", "closed", "of the stranger", "for one", "not for one", "locked/open"]
        readable = [path for path in paths if as_stranger("cat", mount / path).returncode == 0]
        of_source = [p for p in paths if as_stranger("cat", guarded.directory / "source" / p).returncode == 0]
        assert readable == of_source == ["open", "of the stranger", "for one"]
        assert b"Permission denied" in as_stranger("ls", mount / "locked").stderr
        assert b"Permission denied" in as_stranger("cat", mount / "closed").stderr


def test_without_allow_other_the_mount_is_closed_to_others(guarded: Imbfs) -> None:
    with guarded.mounted("latest") as mount:
        assert (mount / "open").read_text() == "open"
        assert as_stranger("cat", mount / "open").returncode != 0


def test_an_umask_opens_what_the_modes_close_to_others(guarded: Imbfs) -> None:
    with guarded.mounted("latest", "-o", "allow_other,umask=022") as mount:
        for path in ("closed", "not for one", "locked/open"):
            assert as_stranger("cat", mount / path).returncode == 0


def test_acls_and_capabilities_are_those_of_the_source(imbfs: Imbfs, disk: Path) -> None:
    source = disk / "source"
    for name, build in (("acls", acls), ("capabilities", capabilities)):
        (source / name).mkdir(parents=True)
        build(os.fsencode(source / name))
    commands = [
        ["getfacl", "--recursive", "--numeric", "--physical", "acls"],
        ["getcap", "-r", "capabilities"],
    ]
    with backed_up(imbfs, source).mounted("latest") as mount:
        for command in commands:
            told = [
                sorted(
                    subprocess.run(command, cwd=place, capture_output=True, check=True).stdout.splitlines()
                )
                for place in (source, mount)
            ]
            assert told[0] == told[1]
            assert len(told[0]) >= 2
            assert any(b"default:" in line or b"cap_" in line for line in told[0])


@pytest.fixture
def small(imbfs: Imbfs, tmp_path: Path) -> Imbfs:
    """With a program, a sparse file and a large one."""
    source = build_small(tmp_path / "source")
    shutil.copy2("/bin/true", source / "program")
    (source / "script").write_text("#!/bin/sh\necho ran $1\n")
    (source / "script").chmod(0o755)
    data = b"d" * (64 * KIB)
    sparse_file(os.fsencode(source / "sparse"), 8 * MIB, [(0, data), (4 * MIB, data)])
    (source / "very large").write_bytes(noise(24 * MIB, 5))
    return backed_up(imbfs, source)


def test_programs_are_run_mapped_and_sought_in_from_a_mount(small: Imbfs, tmp_path: Path) -> None:
    """One mount for what each takes a moment."""
    with small.mounted("latest") as mount:
        assert subprocess.run([mount / "program"]).returncode == 0
        ran = subprocess.run([mount / "script", "it"], capture_output=True, text=True, check=True)
        assert ran.stdout == "ran it\n"
        check_maps(mount / "very large", tmp_path / "source" / "very large")
        check_holes(mount / "sparse", tmp_path / "source" / "sparse")
        check_readers(mount / "very large", tmp_path / "source" / "very large")
        check_links(mount)


def check_maps(path: Path, original: Path) -> None:
    data = original.read_bytes()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        for offset in (23 * MIB, 0, 5 * MIB + 1, len(data) - 10):
            assert mapped[offset : offset + 4096] == data[offset : offset + 4096]
        assert mapped[:] == data


def check_holes(path: Path, original: Path) -> None:
    """What is said to be a hole must be one; that all is said to be data is true as well."""
    data = original.read_bytes()
    with path.open("rb") as file:
        runs = data_runs(file.fileno(), len(data))
        assert runs
        outside = bytearray(data)
        for start, end in runs:
            assert 0 <= start < end <= len(data)
            outside[start:end] = bytes(end - start)
        assert not any(outside), "data lies where the mount says that there is none"
        with pytest.raises(OSError) as refusal:
            os.lseek(file.fileno(), len(data), os.SEEK_DATA)
        assert refusal.value.errno == errno.ENXIO
        assert os.lseek(file.fileno(), -1, os.SEEK_END) == len(data) - 1
        assert file.read() == data[-1:]


def check_readers(path: Path, original: Path) -> None:
    readers = [subprocess.Popen(["cmp", path, original]) for _ in range(8)]
    assert [reader.wait(60) for reader in readers] == [0] * 8


def check_links(mount: Path) -> None:
    assert (mount / "symlink").read_bytes() == (mount / "sub" / "one").read_bytes()
    one, other = (mount / "readme").stat(), (mount / "sub" / "link to readme").stat()
    assert (one.st_ino, one.st_nlink) == (other.st_ino, 2)


# Directories.


class Dirent(ctypes.Structure):
    _fields_ = (
        ("ino", ctypes.c_uint64),
        ("off", ctypes.c_int64),
        ("length", ctypes.c_ushort),
        ("kind", ctypes.c_ubyte),
        ("name", ctypes.c_char * 256),
    )


class Directory:
    """A directory stream: readdir(3), telldir(3), seekdir(3)."""

    def __init__(self, path: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.opendir.restype = self._libc.readdir.restype = ctypes.c_void_p
        self._libc.telldir.restype = ctypes.c_long
        self._stream = ctypes.c_void_p(self._libc.opendir(bytes(path)))
        assert self._stream.value

    def next(self) -> bytes | None:
        found = self._libc.readdir(self._stream)
        if not found:
            return None
        name: bytes = Dirent.from_address(found).name
        return name

    def rest(self) -> list[bytes]:
        return list(iter(self.next, None))

    def tell(self) -> int:
        position: int = self._libc.telldir(self._stream)
        return position

    def seek(self, position: int) -> None:
        self._libc.seekdir(self._stream, ctypes.c_long(position))

    def close(self) -> None:
        self._libc.closedir(self._stream)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, mark: str) -> Imbfs:
    """A snapshot of a directory with very many names."""
    directory = tmp_path_factory.mktemp("wide")
    source = directory / "source"
    source.mkdir()
    fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    os.close(os.open("name 000000", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
    for number in range(1, MANY):
        # A file may have some 65,000 names on ext4.
        first = f"name {number - number % 50_000:06}"
        if number % 50_000:
            os.link(first, f"name {number:06}", src_dir_fd=fd, dst_dir_fd=fd)
        else:
            os.close(os.open(first, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
    os.close(fd)
    imbfs = Imbfs(directory, mark)
    return backed_up(imbfs, source)


def test_a_directory_of_very_many_names_is_listed_whole_quickly_and_from_any_place(wide: Imbfs) -> None:
    names = {b"name %06d" % number for number in range(MANY)}
    with wide.mounted("latest") as mount:
        start = time.monotonic()
        listed = os.listdir(os.fsencode(mount))
        first = time.monotonic() - start
        assert len(listed) == MANY
        assert set(listed) == names
        assert first < 10, "seconds for a listing"
        numbers = {entry.inode() for entry in os.scandir(mount)}
        assert len(numbers) == 2, "all are names of two files"
        found = subprocess.run(["find", mount, "-printf", "%n\\n"], capture_output=True, check=True)
        assert found.stdout.count(b"50000\n") == MANY
        assert (mount / "name 099999").exists()
        assert not (mount / "name 100000").exists()
        check_positions(mount, names)


def check_positions(mount: Path, names: set[bytes]) -> None:
    stream = Directory(mount)
    try:
        seen, marks = [], {}
        for number in range(MANY // 2):
            if number % 9_999 == 0:
                marks[number] = stream.tell()
            seen.append(stream.next())
        assert None not in seen
        middle = stream.tell()
        rest = stream.rest()
        assert {*seen, *rest} == names | {b".", b".."}
        assert len(seen) + len(rest) == MANY + 2
        for number, position in reversed(marks.items()):
            stream.seek(position)
            assert [stream.next() for _ in range(50)] == [*seen, *rest][number : number + 50]
        stream.seek(middle)
        assert stream.rest() == rest
    finally:
        stream.close()


def test_a_stream_goes_on_where_it_was_while_another_starts_anew(wide: Imbfs) -> None:
    with wide.mounted("latest") as mount:
        one, other = Directory(mount), Directory(mount)
        try:
            begun = [one.next() for _ in range(5_000)]
            assert [other.next() for _ in range(5_000)] == begun
            assert [one.next() for _ in range(5_000)] == [other.next() for _ in range(5_000)]
        finally:
            one.close()
            other.close()


def test_modules_are_imported_from_a_mount(imbfs: Imbfs, tmp_path: Path) -> None:
    """Many small files, opened and closed by a real program."""
    package = tmp_path / "source" / "package"
    package.mkdir(parents=True)
    modules = 200
    for number in range(modules):
        (package / f"m{number}.py").write_text(f"VALUE = {number}\n")
    (package / "__init__.py").write_text("")
    values = f"importlib.import_module(f'package.m{{n}}').VALUE for n in range({modules})"
    script = f"import importlib; print(sum({values}))"
    with backed_up(imbfs, tmp_path / "source").mounted("latest") as mount:
        command = [sys.executable, "-B", "-c", script]
        ran = subprocess.run(
            command, env={"PYTHONPATH": str(mount)}, capture_output=True, text=True, check=True
        )
    assert int(ran.stdout) == sum(range(modules))
