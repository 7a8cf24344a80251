"""A tree that holds every kind of thing a backup must bring back.

Each builder fills one fresh directory and can be called by itself. What needs root is left out for an
ordinary user; what this file system refuses (a large xattr, say) is replaced by what it takes. Nothing
is opened that is not a regular file or a directory.
"""

import contextlib
import os
import random
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

#: Seconds since 1970 of times that a careless format loses.
BEFORE_1970 = -86_400 * 365 * 3
AFTER_2106 = 4_300_000_000
YEAR_2300 = 10_413_792_000

MANY_NAMES = 5_000
DEEP_LEVELS = 40
DEEP_NAME = b"d" * 200


class Everything(NamedTuple):
    """Where the tree lies. `plain` and `apart` are directories directly in `root`."""

    root: Path
    #: All that rsync can compare.
    plain: Path
    #: What rsync cannot: paths longer than PATH_MAX, and a file of 1 TiB (it would read the holes).
    apart: Path


def build_everything(root: bytes | Path) -> Everything:
    """Build the whole tree in `root`, which is made when missing. Takes about a second."""
    top = os.fsencode(root)
    os.makedirs(top, exist_ok=True)
    for part, builders in (("plain", PLAIN), ("apart", APART)):
        os.mkdir(_in(top, part))
        for name, build in builders.items():
            directory = _in(top, part, name)
            os.mkdir(directory)
            build(directory)
        _set_time(_in(top, part), 1_000_000_000, 1)
    _set_time(top, 1_234_567_890, 123_456_789)
    path = Path(os.fsdecode(top))
    return Everything(path, path / "plain", path / "apart")


def remove_tree(root: bytes | Path) -> None:
    """Remove `root` and all below, however long its paths; directories without permissions too."""
    parent, name = os.path.split(os.path.abspath(os.fsencode(root)))
    parent_fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _remove_directory(parent_fd, name)
    finally:
        os.close(parent_fd)


def _remove_directory(parent_fd: int, name: bytes) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        fd = os.open(name, flags, dir_fd=parent_fd)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent_fd)
        fd = os.open(name, flags, dir_fd=parent_fd)
    try:
        os.fchmod(fd, 0o700)
        for child in map(os.fsencode, os.listdir(fd)):
            if stat.S_ISDIR(os.lstat(child, dir_fd=fd).st_mode):
                _remove_directory(fd, child)
            else:
                os.unlink(child, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent_fd)


# Small tools.


def _in(directory: bytes, *names: bytes | str) -> bytes:
    return os.path.join(directory, *map(os.fsencode, names))


def write(path: bytes, data: bytes = b"") -> bytes:
    with open(path, "wb") as file:
        file.write(data)
    return path


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress; the same ones each time."""
    return random.Random(seed).randbytes(size)


def text(size: int) -> bytes:
    """Bytes that compress well and are not periodic."""
    lines = b"".join(b"line %d of a file that compresses\n" % number for number in range(size // 30 + 1))
    return lines[:size]


def _set_time(path: bytes, seconds: int, nanoseconds: int = 0) -> None:
    ns = seconds * 1_000_000_000 + nanoseconds
    os.utime(path, ns=(ns, ns), follow_symlinks=False)


def _is_root() -> bool:
    return os.geteuid() == 0


@contextlib.contextmanager
def _if_taken() -> Iterator[None]:
    """Leave out what this user may not do or this file system does not take."""
    try:
        yield
    except PermissionError:
        if _is_root():
            raise
    except OSError:
        pass


# Builders, one a kind.


def regular_files(top: bytes) -> None:
    sizes = [0, 1, 2, 4095, 4096, 4097]
    for limit in (256 * KIB, MIB, 2 * MIB):
        sizes += [limit - 1, limit, limit + 1]
    for size in sizes:
        write(_in(top, f"text-{size}"), text(size))
        write(_in(top, f"noise-{size}"), noise(size, size))
    write(_in(top, "text-7M"), text(7 * MIB + 123))
    write(_in(top, "noise-9M"), noise(9 * MIB + 4567, 9))
    write(_in(top, "zeros-3M"), bytes(3 * MIB))
    write(_in(top, "duplicate-of-noise-9M"), noise(9 * MIB + 4567, 9))
    write(_in(top, "noise-9M-with-a-byte-inserted"), b"!" + noise(9 * MIB + 4567, 9))
    for number in range(3):
        write(_in(top, f"duplicate-{number}"), b"the same bytes\n")


def directories(top: bytes) -> None:
    modes = {"empty": 0o755, "read-only": 0o555, "closed": 0o000, "sticky": 0o1777, "setgid": 0o2775}
    for name, mode in modes.items():
        os.mkdir(_in(top, name))
        os.chmod(_in(top, name), mode)
    for name, mode in {"read-only-with-a-file": 0o555, "closed-with-a-file": 0o000}.items():
        os.mkdir(_in(top, name))
        write(_in(top, name, "file"), b"inside\n")
        if _is_root() or mode:
            os.chmod(_in(top, name), mode)
    os.makedirs(_in(top, "nested", "empty", "directories", "only"))
    _set_time(_in(top, "nested", "empty"), BEFORE_1970, 999_999_999)
    _set_time(_in(top, "empty"), AFTER_2106, 1)


def symlinks(top: bytes) -> None:
    write(_in(top, "file"), b"pointed at\n")
    os.mkdir(_in(top, "directory"))
    targets: dict[str, bytes] = {
        "relative": b"file",
        "absolute": _in(top, "file"),
        "broken": b"nowhere/at/all",
        "broken-absolute": b"/nonexistent/imbfs/nowhere",
        "loop-a": b"loop-b",
        "loop-b": b"loop-a",
        "itself": b"itself",
        "to-directory": b"directory",
        "to-parent": b"..",
        "to-dot": b".",
        "longest": b"x/" * 2047 + b"y",
        "not-utf-8": b"caf\xe9/\xff\xfe",
        "newline": b"two\nlines",
    }
    for name, target in targets.items():
        os.symlink(target, _in(top, name))
    _set_time(_in(top, "relative"), 1_111_111_111, 222_222_222)
    _set_time(_in(top, "broken"), BEFORE_1970, 5)
    if _is_root():
        os.chown(_in(top, "absolute"), 1234, 5678, follow_symlinks=False)


def hard_links(top: bytes) -> None:
    os.makedirs(_in(top, "a", "deeper"))
    os.mkdir(_in(top, "z"))
    write(_in(top, "m-file"), b"linked\n" * 100)
    os.symlink(b"m-file", _in(top, "m-symlink"))
    os.mkfifo(_in(top, "m-fifo"))
    linked = ["m-file", "m-symlink", "m-fifo"]
    if _is_root():
        os.mknod(_in(top, "m-device"), stat.S_IFCHR | 0o600, os.makedev(240, 17))
        linked.append("m-device")
    for name in linked:
        for other in (f"a/{name}", f"a/deeper/{name}", f"same-directory-{name}", f"z/{name}"):
            os.link(_in(top, name), _in(top, other), follow_symlinks=False)
    write(_in(top, "large"), noise(2 * MIB, 77))
    os.link(_in(top, "large"), _in(top, "z", "large"))
    write(_in(top, "empty"))
    os.link(_in(top, "empty"), _in(top, "a", "empty"))


def special_files(top: bytes) -> None:
    os.mkfifo(_in(top, "fifo"))
    os.chmod(_in(top, "fifo"), 0o640)
    _set_time(_in(top, "fifo"), 1_000_000_001, 7)
    _socket(top, b"socket")
    if not _is_root():
        return
    devices = {"null-like": (1, 3), "zero-numbers": (0, 0), "large-numbers": (4000, 1_000_000)}
    for name, (major, minor) in devices.items():
        for kind, bits in (("char", stat.S_IFCHR), ("block", stat.S_IFBLK)):
            os.mknod(_in(top, f"{kind}-{name}"), bits | 0o600, os.makedev(major, minor))
    os.chmod(_in(top, "block-null-like"), 0o660)
    os.chown(_in(top, "char-null-like"), 0, 6)


def _socket(top: bytes, name: bytes) -> None:
    """Bound through the directory's descriptor: a socket's address is at most 107 bytes."""
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(os.fsencode(f"/proc/self/fd/{fd}/") + name)
    finally:
        os.close(fd)


def sparse_file(path: bytes, size: int, runs: list[tuple[int, bytes]]) -> None:
    """A file of `size` bytes with data only at the offsets given."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.truncate(fd, size)
        for offset, data in runs:
            assert os.pwrite(fd, data, offset) == len(data)
    finally:
        os.close(fd)


def sparse_files(top: bytes) -> None:
    data = noise(128 * KIB, 5)
    sparse_file(_in(top, "hole-at-the-start"), 4 * MIB, [(3 * MIB, data)])
    sparse_file(_in(top, "hole-in-the-middle"), 4 * MIB, [(0, data), (4 * MIB - len(data), data)])
    sparse_file(_in(top, "hole-at-the-end"), 4 * MIB, [(0, data)])
    sparse_file(_in(top, "all-hole"), 16 * MIB, [])
    sparse_file(_in(top, "all-hole-odd-size"), 1_000_003, [])
    sparse_file(_in(top, "small-hole"), 64 * KIB, [(0, b"a" * 4096), (60 * KIB, b"z" * 4096)])
    sparse_file(_in(top, "many-holes"), 8 * MIB, [(n * 256 * KIB, data[: 8 * KIB]) for n in range(32)])
    sparse_file(_in(top, "odd-end"), 5 * MIB + 321, [(2 * MIB + 17, data), (5 * MIB + 320, b"!")])


def huge_sparse_file(top: bytes) -> None:
    data = noise(MIB, 6)
    runs = [
        (0, data),
        (300 * GIB + 123, data),
        (700 * GIB, text(2 * MIB)),
        (TIB - 64 * KIB, data[: 64 * KIB]),
    ]
    sparse_file(_in(top, "one-tebibyte"), TIB, runs)
    sparse_file(_in(top, "one-tebibyte-all-hole"), TIB, [])


def modes(top: bytes) -> None:
    wanted = [0o4755, 0o2755, 0o6755, 0o1644, 0o7777, 0o644, 0o600, 0o444, 0o111, 0o2644]
    for mode in [*wanted, 0o000] if _is_root() else wanted:
        os.chmod(write(_in(top, f"mode-{mode:04o}"), b"#!/bin/sh\n"), mode)


def owners(top: bytes) -> None:
    if not _is_root():
        return
    numbers = [(1, 1), (65534, 65534), (1_234_567, 7_654_321), (0, 4_294_967_294), (4_294_967_294, 0)]
    for uid, gid in numbers:
        path = write(_in(top, f"{uid}-{gid}"), b"owned\n")
        os.chown(path, uid, gid)
        directory = _in(top, f"directory-{uid}-{gid}")
        os.mkdir(directory)
        os.chown(directory, uid, gid)
    path = write(_in(top, "setuid-of-another"), b"owned\n")
    os.chown(path, 1, 2)
    os.chmod(path, 0o6711)


def times(top: bytes) -> None:
    wanted = {
        "nanoseconds": (1_700_000_000, 123_456_789),
        "last-nanosecond": (1_700_000_000, 999_999_999),
        "epoch": (0, 0),
        "before-1970": (BEFORE_1970, 0),
        "before-1970-ns": (BEFORE_1970, 123_456_789),
        "last-ns-before-1970": (-1, 999_999_999),
        "after-2038": (2_147_483_648, 1),
        "after-2106": (AFTER_2106, 987_654_321),
        "year-2300": (YEAR_2300, 5),
    }
    for name, (seconds, nanoseconds) in wanted.items():
        with _if_taken():
            _set_time(write(_in(top, name), b"timed\n"), seconds, nanoseconds)
            os.mkdir(_in(top, f"directory-{name}"))
            write(_in(top, f"directory-{name}", "file"))
            _set_time(_in(top, f"directory-{name}"), seconds, nanoseconds)
    os.symlink(b"nanoseconds", _in(top, "symlink"))
    _set_time(_in(top, "symlink"), YEAR_2300, 17)


def xattrs(top: bytes) -> None:
    spaces = ["user.", "trusted.", "security.imbfs."] if _is_root() else ["user."]
    write(_in(top, "file"), b"with xattrs\n")
    write(_in(top, "empty-file"))
    os.mkdir(_in(top, "directory"))
    for name in ("file", "empty-file", "directory"):
        for space in spaces:
            _few_xattrs(_in(top, name), space)
    os.symlink(b"file", _in(top, "symlink"))
    os.mkfifo(_in(top, "fifo"))
    if _is_root():
        for name in ("symlink", "fifo"):
            os.setxattr(_in(top, name), "trusted.of-itself", b"mine", follow_symlinks=False)
    many = write(_in(top, "many"), b"many xattrs\n")
    for number in range(40):
        os.setxattr(many, f"user.number-{number:02}", b"%d" % number)
    _large_xattr(write(_in(top, "large"), b"a large xattr\n"))


def _few_xattrs(path: bytes, space: str) -> None:
    os.setxattr(path, space + "text", b"value")
    os.setxattr(path, space + "empty", b"")
    os.setxattr(path, space + "binary", bytes(range(256)))
    os.setxattr(path, os.fsencode(space) + b"caf\xe9\xff", b"a name that is not UTF-8")


def _large_xattr(path: bytes) -> None:
    """The largest of these that the file system takes; ext4 without ea_inode takes about 4,000 bytes."""
    for size in (60_000, 16_000, 3_900, 2_000):
        with contextlib.suppress(OSError):
            os.setxattr(path, "user.large", noise(size, size))
            return


def acls(top: bytes) -> None:
    write(_in(top, "file"), b"with an ACL\n")
    write(_in(top, "masked"), b"with a mask\n")
    os.mkdir(_in(top, "directory"))
    os.mkdir(_in(top, "access-and-default"))
    _setfacl("u:1:rw,g:2:r,u:1234567:---", _in(top, "file"))
    _setfacl("u:1:rwx,m::r", _in(top, "masked"))
    _setfacl("d:u:1:rwx,d:g:2:rx", _in(top, "directory"))
    _setfacl("u:1:rwx,d:u:65534:rx", _in(top, "access-and-default"))
    write(_in(top, "directory", "inherits"), b"inherited\n")
    os.mkdir(_in(top, "directory", "inherits-too"))


def _setfacl(rules: str, path: bytes) -> None:
    # -n: the mask is what the rules say, so that one narrower than its entries stands.
    fixed_mask = ["-n"] if "m::" in rules else []
    subprocess.run(["setfacl", *fixed_mask, "-m", rules, "--", path], check=True, capture_output=True)


def capabilities(top: bytes) -> None:
    if not _is_root():
        return
    for name, wanted in {"bind": "cap_net_bind_service=+ep", "two": "cap_net_raw,cap_chown=+eip"}.items():
        path = write(_in(top, name), b"#!/bin/true\n")
        os.chmod(path, 0o755)
        subprocess.run(["setcap", wanted, path], check=True, capture_output=True)


AWKWARD_NAMES = [
    b"new\nline",
    b"\n",
    b"two words",
    b" ",
    b" leading space",
    b"trailing spaces  ",
    b"-dash",
    b"--delete",
    b"-",
    b'quotes\'"`$(x)"q',
    b"back\\slash",
    b"star*?[x]",
    b"tab\tescape\x1b[31m",
    b"\x01\x7f",
    b"invalid-\xff\xfe-utf-8",
    b"\xc3",
    b"caf\xe9",
    "caf\u00e9-nfc".encode(),
    "cafe\u0301-nfc".encode(),
    "\U0001f40e and \u65e5\u672c".encode(),
    b"A",
    b"a",
    b"...",
    b"..leading dots",
    b".hidden",
    b"%s%n",
    b"@latest",
    b"a:b",
    b"n" * 255,
    b"\xff" * 255,
]


def names(top: bytes) -> None:
    os.mkdir(_in(top, "files"))
    os.mkdir(_in(top, "directories"))
    for name in AWKWARD_NAMES:
        write(_in(top, "files", name), b"content of " + name)
        os.mkdir(_in(top, "directories", name))
        write(_in(top, "directories", name, name), b"inside " + name)


def many_names(top: bytes) -> None:
    for number in range(MANY_NAMES):
        path = _in(top, f"name-{number * 7919 % MANY_NAMES:05}")
        write(path, b"%d\n" % number if number % 3 else b"")


def deep_path(top: bytes) -> None:
    """A path twice as long as PATH_MAX, made and reachable through directory descriptors only."""
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for level in range(DEEP_LEVELS):
            name = DEEP_NAME + b"-%d" % level
            os.mkdir(name, dir_fd=fd)
            deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = deeper
            _leaf(fd, level)
    finally:
        os.close(fd)


def _leaf(fd: int, level: int) -> None:
    file = os.open(b"file", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640, dir_fd=fd)
    try:
        os.write(file, b"at level %d\n" % level)
        os.setxattr(file, "user.level", b"%d" % level)
    finally:
        os.close(file)
    os.symlink(b"file", b"symlink", dir_fd=fd)
    os.link(b"file", b"hard link", src_dir_fd=fd, dst_dir_fd=fd)


Builder = Callable[[bytes], None]

PLAIN: dict[str, Builder] = {
    "files": regular_files,
    "directories": directories,
    "symlinks": symlinks,
    "hard-links": hard_links,
    "special": special_files,
    "sparse": sparse_files,
    "modes": modes,
    "owners": owners,
    "times": times,
    "xattrs": xattrs,
    "acls": acls,
    "capabilities": capabilities,
    "names": names,
    "many": many_names,
}
APART: dict[str, Builder] = {"deep": deep_path, "huge": huge_sparse_file}
