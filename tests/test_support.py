"""The tools of the tests find what they are there to find."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.compare import differences, rsync_differences
from tests.support.everything import (
    DEEP_LEVELS,
    TIB,
    Everything,
    build_everything,
    names,
    noise,
    remove_tree,
    sparse_file,
    write,
    xattrs,
)
from tests.support.imbfs import mounts_below, name
from tests.support.opens import Opens

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices and change owners")


def kinds_below(top: Path) -> set[int]:
    found = set()
    for directory, subdirectories, files in os.walk(top):
        for entry in subdirectories + files:
            found.add(stat.S_IFMT(os.lstat(os.path.join(directory, entry)).st_mode))
    return found


@root_only
def test_the_tree_holds_every_kind_of_file(everything: Everything) -> None:
    devices = {stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK}
    assert kinds_below(everything.plain) == devices | {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}


@root_only
def test_the_tree_holds_acls_capabilities_and_all_spaces_of_xattrs(everything: Everything) -> None:
    found: set[str] = set()
    for directory, subdirectories, files in os.walk(everything.plain):
        for entry in subdirectories + files:
            found |= set(os.listxattr(os.path.join(directory, entry), follow_symlinks=False))
    assert {"system.posix_acl_access", "system.posix_acl_default", "security.capability"} <= found
    assert {"user.empty", "trusted.of-itself", "security.imbfs.text"} <= found


def test_the_tree_holds_holes_that_take_no_space(everything: Everything) -> None:
    huge = os.stat(everything.apart / "huge" / "one-tebibyte")
    assert huge.st_size == TIB
    assert huge.st_blocks * 512 < 8 * 1024 * 1024


def test_the_tree_holds_paths_beyond_path_max(everything: Everything) -> None:
    fd = os.open(everything.apart / "deep", os.O_RDONLY)
    for _ in range(DEEP_LEVELS):
        (deeper,) = (child for child in os.listdir(fd) if child.startswith("ddd"))
        inner = os.open(deeper, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    assert sorted(os.listdir(fd)) == ["file", "hard link", "symlink"]
    os.close(fd)


def test_a_tree_equals_itself_to_both_comparers(everything: Everything) -> None:
    assert differences(everything.root, everything.root, holes=True) == []
    assert rsync_differences(everything.plain, everything.plain) == ""


def test_two_trees_built_alike_differ_in_no_bytes_but_in_times(tmp_path: Path) -> None:
    for which in ("a", "b"):
        (tmp_path / which).mkdir()
        names(os.fsencode(tmp_path / which))
    found = differences(tmp_path / "a", tmp_path / "b")
    assert {line.split(": ")[1].split()[0] for line in found} == {"mtime"}


def test_an_everything_tree_is_removed_whole(tmp_path: Path) -> None:
    build_everything(tmp_path / "tree")
    remove_tree(tmp_path / "tree")
    assert os.listdir(tmp_path) == []


def _new_byte(tree: Path) -> None:
    os.pwrite(fd := os.open(tree / "file", os.O_WRONLY), b"X", 70_000)
    os.close(fd)


def _untied(tree: Path) -> None:
    data = (tree / "link").read_bytes()
    os.unlink(tree / "link")
    write(os.fsencode(tree / "link"), data)


def _filled(tree: Path) -> None:
    os.pwrite(fd := os.open(tree / "sparse", os.O_WRONLY), bytes(1 << 20), 0)
    os.close(fd)


def _retargeted(tree: Path) -> None:
    os.unlink(tree / "symlink")
    os.symlink("elsewhere", tree / "symlink")


def _other_kind(tree: Path) -> None:
    os.rmdir(tree / "sub")
    os.mkfifo(tree / "sub")


CHANGES: dict[str, Callable[[Path], object]] = {
    "bytes differ, first at 70000": _new_byte,
    "mode": lambda tree: os.chmod(tree / "file", 0o4644),
    "mtime": lambda tree: os.utime(tree / "sub", ns=(0, 1)),
    "xattr": lambda tree: os.setxattr(tree / "file", "user.new", b""),
    "is missing": lambda tree: os.unlink(tree / "link"),
    "second tree only": lambda tree: os.mkfifo(tree / "new"),
    "link count": _untied,
    "not linked": _untied,
    "allocated": _filled,
    "target": _retargeted,
    "size": lambda tree: os.truncate(tree / "file", 99),
    "kind": _other_kind,
}


@pytest.mark.parametrize("found", CHANGES)
def test_the_comparer_names_each_kind_of_difference(tmp_path: Path, found: str) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    (a / "sub").mkdir(parents=True)
    write(os.fsencode(a / "file"), noise(100_000, 1))
    os.link(a / "file", a / "link")
    os.symlink("target", a / "symlink")
    sparse_file(os.fsencode(a / "sparse"), 4 << 20, [(3 << 20, b"end")])
    subprocess.run(["cp", "-a", "--sparse=always", a, b], check=True)
    assert differences(a, b, holes=True) == []
    CHANGES[found](b)
    assert any(found in line for line in differences(a, b, holes=True))


def test_opens_notes_files_and_not_directories(tmp_path: Path) -> None:
    write(os.fsencode(tmp_path / "read"))
    write(os.fsencode(tmp_path / "only-looked-at"))
    with Opens(tmp_path) as opens:
        os.listdir(tmp_path)
        os.stat(tmp_path / "only-looked-at")
        (tmp_path / "read").read_bytes()
    assert opens.files == {os.fsencode(tmp_path / "read")}


def test_names_in_json_are_strings_or_base64() -> None:
    assert name("café") == "café".encode()
    assert name({"b64": "/w=="}) == b"\xff"


def test_no_mount_is_found_where_there_is_none(tmp_path: Path) -> None:
    assert mounts_below(tmp_path) == []


def test_xattrs_are_built_on_links_and_directories(real_disk: Path) -> None:
    tree = os.fsencode(real_disk / "xattrs")
    os.mkdir(tree)
    xattrs(tree)
    assert "user.empty" in os.listxattr(os.path.join(tree, b"directory"))
    assert os.getxattr(os.path.join(tree, b"file"), "user.binary") == bytes(range(256))
