"""An exact comparer of two trees, and rsync as a second opinion.

Ours reads everything through directory descriptors, so paths may be longer than PATH_MAX, opens nothing
but regular files and directories, and skips what both sides report as holes.
"""

import contextlib
import errno
import os
import random
import stat
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.support.everything import GIB, KIB, MIB

#: Above this a hole that only one side reports is sampled: reading it whole would take minutes.
READ_WHOLE = 4 * GIB
#: What a copy may have allocated beyond the original and still keep its holes.
ALLOCATION_SLACK = 64 * KIB

TreePath = bytes | str | Path


def differences(a: TreePath, b: TreePath, *, holes: bool = False, root: bool = True) -> list[str]:
    """What differs between the trees `a` and `b`, one line each; an empty list when nothing does.

    Compares kinds, bytes, modes, owners, mtimes in ns, symlink targets, device numbers, all xattrs and
    the hard-link structure with its counts. `holes` compares the allocated size of files too; without
    `root`, the attributes of the two directories themselves are not compared.
    """
    comparison = _Comparison(holes)
    with _directory(os.fsencode(a)) as fd_a, _directory(os.fsencode(b)) as fd_b:
        if root:
            comparison.attributes(b".", os.fstat(fd_a), os.fstat(fd_b))
            comparison.xattrs(b".", fd_a, fd_b, b".")
        comparison.directory(b"", fd_a, fd_b)
    comparison.hard_links()
    return comparison.found


def rsync_differences(a: TreePath, b: TreePath) -> str:
    """What `rsync` would do to make `b` equal to `a`, as it prints it; empty when nothing."""
    command = [b"rsync", b"-aHAXn", b"--delete", b"--checksum", b"-i"]
    trees = [os.path.join(os.fsencode(tree), b"") for tree in (a, b)]
    result = subprocess.run([*command, *trees], capture_output=True, timeout=300)
    failed = f"rsync ended with {result.returncode}\n" if result.returncode else ""
    return failed + (result.stdout + result.stderr).decode(errors="backslashreplace")


@contextlib.contextmanager
def _directory(name: bytes, parent: int | None = None) -> Iterator[int]:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _file(name: bytes, parent: int) -> Iterator[int]:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


def _show(path: bytes) -> str:
    text = repr(path)[1:]
    return text if len(text) < 200 else f"{text[:80]}…{text[-80:]} ({len(path)} bytes)"


def _time(ns: int) -> str:
    return f"{ns // 1_000_000_000}.{ns % 1_000_000_000:09}"


def _attributes(status: os.stat_result) -> dict[str, str]:
    """What is compared of every kind of entry, as it is shown."""
    return {
        "mode": f"{status.st_mode:07o}",
        "owner": f"{status.st_uid}:{status.st_gid}",
        "mtime": _time(status.st_mtime_ns),
    }


#: All paths of each inode.
_Links = dict[tuple[int, int], set[bytes]]


class _Comparison:
    def __init__(self, holes: bool) -> None:
        self.found: list[str] = []
        self._holes = holes
        self._links: tuple[_Links, _Links] = (defaultdict(set), defaultdict(set))

    def _report(self, path: bytes, what: str) -> None:
        self.found.append(f"{_show(path)}: {what}")

    def directory(self, path: bytes, a: int, b: int) -> None:
        names_a, names_b = ({os.fsencode(name) for name in os.listdir(fd)} for fd in (a, b))
        for name in sorted(names_a - names_b):
            self._report(os.path.join(path, name), "is missing from the second tree")
        for name in sorted(names_b - names_a):
            self._report(os.path.join(path, name), "is in the second tree only")
        for name in sorted(names_a & names_b):
            try:
                self._entry(os.path.join(path, name), name, a, b)
            except OSError as error:
                self._report(os.path.join(path, name), f"cannot be compared: {error.strerror}")

    def _entry(self, path: bytes, name: bytes, a: int, b: int) -> None:
        stat_a, stat_b = os.lstat(name, dir_fd=a), os.lstat(name, dir_fd=b)
        if stat.S_IFMT(stat_a.st_mode) != stat.S_IFMT(stat_b.st_mode):
            self._report(path, f"kind {stat_a.st_mode:07o} ≠ {stat_b.st_mode:07o}")
            return
        self.attributes(path, stat_a, stat_b)
        self.xattrs(path, a, b, name)
        if stat.S_ISDIR(stat_a.st_mode):
            with _directory(name, a) as inner_a, _directory(name, b) as inner_b:
                self.directory(path, inner_a, inner_b)
            return
        self._note_links(path, stat_a, stat_b)
        self._content(path, name, a, b, stat_a, stat_b)

    def attributes(self, path: bytes, a: os.stat_result, b: os.stat_result) -> None:
        shown_a, shown_b = _attributes(a), _attributes(b)
        for field, value in shown_a.items():
            if value != shown_b[field]:
                self._report(path, f"{field} {value} ≠ {shown_b[field]}")

    def xattrs(self, path: bytes, a: int, b: int, name: bytes) -> None:
        of_a, of_b = (_xattrs(fd, name) for fd in (a, b))
        for key in sorted(of_a.keys() | of_b.keys()):
            if of_a.get(key) != of_b.get(key):
                self._report(path, f"xattr {_show(key)}: {_value(of_a.get(key))} ≠ {_value(of_b.get(key))}")

    def _note_links(self, path: bytes, a: os.stat_result, b: os.stat_result) -> None:
        if a.st_nlink != b.st_nlink:
            self._report(path, f"link count {a.st_nlink} ≠ {b.st_nlink}")
        for links, status in zip(self._links, (a, b), strict=True):
            links[status.st_dev, status.st_ino].add(path)

    def hard_links(self) -> None:
        groups_a, groups_b = ({frozenset(group) for group in links.values()} for links in self._links)
        for group in groups_a - groups_b:
            if len(group) > 1:
                self._report(min(group), f"not linked in the second tree to all of {sorted(group)!r}")
        for group in groups_b - groups_a:
            if len(group) > 1:
                self._report(min(group), f"linked in the second tree only to all of {sorted(group)!r}")

    def _content(
        self, path: bytes, name: bytes, a: int, b: int, stat_a: os.stat_result, stat_b: os.stat_result
    ) -> None:
        if stat.S_ISLNK(stat_a.st_mode):
            target_a, target_b = os.readlink(name, dir_fd=a), os.readlink(name, dir_fd=b)
            if target_a != target_b:
                self._report(path, f"target {_show(target_a)} ≠ {_show(target_b)}")
            if stat_b.st_size != len(target_b):
                self._report(path, f"size {stat_b.st_size} of a target of {len(target_b)} bytes")
        elif stat.S_ISREG(stat_a.st_mode):
            self._file(path, name, a, b, stat_a, stat_b)
        elif stat_a.st_rdev != stat_b.st_rdev:
            self._report(path, f"device {stat_a.st_rdev:#x} ≠ {stat_b.st_rdev:#x}")

    def _file(
        self, path: bytes, name: bytes, a: int, b: int, stat_a: os.stat_result, stat_b: os.stat_result
    ) -> None:
        if stat_a.st_size != stat_b.st_size:
            self._report(path, f"size {stat_a.st_size} ≠ {stat_b.st_size}")
            return
        allocated_a, allocated_b = stat_a.st_blocks * 512, stat_b.st_blocks * 512
        if self._holes and allocated_b > allocated_a + ALLOCATION_SLACK:
            self._report(path, f"allocated {allocated_a} bytes ≠ {allocated_b}")
        with _file(name, a) as file_a, _file(name, b) as file_b:
            offset = _first_difference(file_a, file_b, stat_a.st_size)
        if offset is not None:
            self._report(path, f"bytes differ, first at {offset}")


def _xattrs(directory: int, name: bytes) -> dict[bytes, bytes]:
    path = os.fsencode(f"/proc/self/fd/{directory}/") + name
    try:
        keys = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        # A mount of what has none takes none.
        if error.errno != errno.ENOTSUP:
            raise
        return {}
    return {os.fsencode(key): os.getxattr(path, key, follow_symlinks=False) for key in keys}


def _value(value: bytes | None) -> str:
    return "absent" if value is None else _show(value)


def _first_difference(a: int, b: int, size: int) -> int | None:
    for start, end in _ranges_to_read(a, b, size):
        for offset in range(start, end, MIB):
            length = min(MIB, end - offset)
            data_a, data_b = _read(a, length, offset), _read(b, length, offset)
            if data_a != data_b:
                return offset + _common_prefix(data_a, data_b)
    return None


def _read(fd: int, length: int, offset: int) -> bytes:
    """All of the range: a read may return less than asked without being at the end."""
    parts = []
    while length and (part := os.pread(fd, length, offset)):
        parts.append(part)
        length -= len(part)
        offset += len(part)
    return b"".join(parts)


def _common_prefix(a: bytes, b: bytes) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((at for at, (byte_a, byte_b) in pairs if byte_a != byte_b), min(len(a), len(b)))


def data_runs(fd: int, size: int) -> list[tuple[int, int]]:
    """Start and end of each run of data that the kernel reports for an open file."""
    runs: list[tuple[int, int]] = []
    offset = 0
    while offset < size:
        try:
            start = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole from here on
            break
        offset = os.lseek(fd, start, os.SEEK_HOLE)
        runs.append((start, offset))
    return runs


def _ranges_to_read(a: int, b: int, size: int) -> list[tuple[int, int]]:
    runs_a, runs_b = data_runs(a, size), data_runs(b, size)
    covered_a, covered_b = (sum(end - start for start, end in runs) for runs in (runs_a, runs_b))
    if max(covered_a, covered_b) <= READ_WHOLE:
        return _union(runs_a + runs_b)
    fewer = runs_a if covered_a <= covered_b else runs_b
    return _union(fewer + _samples(fewer, size))


def _samples(runs: list[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Ranges beside each run, and 64 places in the rest, where the other side might hide data."""
    chance = random.Random(size)
    starts = [max(0, start - MIB) for start, _ in runs] + [end for _, end in runs]
    starts += [chance.randrange(size) for _ in range(64)]
    return [(start, min(size, start + MIB)) for start in starts if start < size]


def _union(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    union: list[tuple[int, int]] = []
    for start, end in sorted(runs):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        else:
            union.append((start, end))
    return union
