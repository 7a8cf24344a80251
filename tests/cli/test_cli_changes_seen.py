"""What a backup takes for changed, unchanged or not there."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.source.mounts import FileSystems, inodes_last, mount_point
from tests.support.check import IN_PART
from tests.support.imbfs import Imbfs
from tests.support.opens import Opens
from tests.support.small import make_old

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system with a file, inside a directory `tree`. The test may unmount it."""
    point = tmp_path / "tree" / "disk"
    point.mkdir(parents=True)
    (tmp_path / "tree" / "own").write_text("own")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", point], check=True)
    (point / "inner").mkdir()
    (point / "inner" / "file").write_text("on the disk")
    make_old(point)
    yield point
    subprocess.run(["umount", point], check=False, capture_output=True)


def files(imbfs: Imbfs) -> set[bytes]:
    return {path for path, entry in imbfs.ls("latest", "-R").items() if entry["kind"] == "file"}


@as_root
@pytest.mark.parametrize("source", ["tree", "tree/disk", "tree/disk/"])
def test_what_is_not_mounted_is_carried_over_and_told(
    imbfs: Imbfs, tmp_path: Path, disk: Path, source: str
) -> None:
    imbfs.run("init")
    imbfs.run("backup", tmp_path / source)
    before = files(imbfs)
    subprocess.run(["umount", disk], check=True)
    for _ in range(2):
        result = imbfs.run("--json", "backup", tmp_path / source, check=False)
        assert result.code == IN_PART, result
        assert f"{disk}: what was mounted here is not mounted now" in result.errors
        assert result.json()["files_removed"] == 0
        assert files(imbfs) == before
    imbfs.run("backup", tmp_path / source, "--accept-unmounted")
    assert files(imbfs) == {path for path in before if path == b"own"}


@as_root
def test_a_placeholder_in_an_unmounted_directory_is_not_taken_for_its_content(
    imbfs: Imbfs, tmp_path: Path, disk: Path
) -> None:
    imbfs.run("init")
    imbfs.run("backup", tmp_path / "tree")
    subprocess.run(["umount", disk], check=True)
    (disk / "NOT MOUNTED").touch()
    assert imbfs.run("backup", tmp_path / "tree", check=False).code == IN_PART
    assert files(imbfs) == {b"own", b"disk/inner/file"}


@as_root
def test_content_that_moved_to_the_directory_itself_is_taken(
    imbfs: Imbfs, tmp_path: Path, disk: Path
) -> None:
    imbfs.run("init")
    imbfs.run("backup", tmp_path / "tree")
    shutil.copytree(disk, tmp_path / "copy")
    subprocess.run(["umount", disk], check=True)
    shutil.copytree(tmp_path / "copy", disk, dirs_exist_ok=True)
    (disk / "more").touch()
    imbfs.run("backup", tmp_path / "tree")
    assert files(imbfs) == {b"own", b"disk/inner/file", b"disk/more"}


@as_root
def test_what_is_mounted_again_is_unchanged(imbfs: Imbfs, tmp_path: Path, disk: Path) -> None:
    imbfs.run("init")
    imbfs.run("backup", tmp_path / "tree")
    subprocess.run(["umount", disk], check=True)
    imbfs.run("backup", tmp_path / "tree", check=False)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
    (disk / "inner").mkdir()
    (disk / "inner" / "file").write_text("on the disk")
    (disk / "inner" / "new").touch()
    imbfs.run("backup", tmp_path / "tree")
    assert files(imbfs) == {b"own", b"disk/inner/file", b"disk/inner/new"}


def test_a_source_emptied_by_hand_reads_as_deletions(saved: Imbfs, source: Path) -> None:
    shutil.rmtree(source)
    source.mkdir()
    assert saved.backup(source)["files_removed"] > 0


def test_ctime_and_inode_numbers_count_unless_told_otherwise(saved: Imbfs, source: Path) -> None:
    """A copy in a file's place, with its name, size and mtime: what some mirrors make of it."""
    copy = source.parent / "copy"
    shutil.copy2(source / "large", copy)
    os.rename(copy, source / "large")
    os.utime(source, (1_600_000_000, 1_600_000_000))
    for options, opened in (
        (["--ignore-ctime"], True),
        (["--ignore-inode"], True),
        (["--ignore-ctime", "--ignore-inode"], False),
        ([], True),
    ):
        with Opens(source) as opens:
            saved.run("backup", source, "--dry-run", *options)
        assert (os.fsencode(source / "large") in opens.files) == opened, options


def test_an_edit_is_seen_though_ctime_is_ignored(saved: Imbfs, source: Path) -> None:
    (source / "readme").write_bytes(b"HELLO\n")
    saved.run("backup", source, "--ignore-ctime", "--ignore-inode")
    assert saved.run("cat", "latest:readme").stdout == b"HELLO\n"


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        ("ext4", True),
        ("tmpfs", True),
        ("nfs4", True),
        ("vfat", False),
        ("fuse.sshfs", False),
        ("cifs", False),
    ],
)
def test_where_inode_numbers_last(kind: str, last: bool, tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    device = tmp_path.stat().st_dev
    numbers = f"{os.major(device)}:{os.minor(device)}"
    table.write_text(f"1 0 {numbers} / /mnt/a\\040b rw shared:1 - {kind} disk rw\n")
    systems = FileSystems(str(table))
    assert inodes_last(systems.kind(device)) == last
    assert systems.kind_at(b"/mnt/a b") == kind
    assert systems.kind(device + 1) == ""


def test_a_mount_point_is_where_the_file_system_begins(tmp_path: Path) -> None:
    here = os.fsencode(os.path.realpath(tmp_path))
    point = mount_point(here, os.lstat(here))
    assert os.path.ismount(point)
    assert here.startswith(point)


def test_a_rewrite_of_the_same_size_right_after_the_backup_is_seen(imbfs: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    imbfs.run("init")
    for number in range(4):
        (tmp_path / "tree" / "file").write_bytes(b"%d" % number)
        os.utime(tmp_path / "tree" / "file", (1_600_000_000, 1_600_000_000))
        imbfs.run("backup", tmp_path / "tree")
        assert imbfs.run("cat", "latest:file").stdout == b"%d" % number


def test_special_files_neither_hang_a_backup_nor_are_opened(imbfs: Imbfs, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "socket"))
    imbfs.run("init")
    with Opens(tree) as opens:
        imbfs.run("backup", tree)
    assert opens.files == set()
    assert {entry["kind"] for entry in imbfs.ls("latest").values()} == {"fifo", "socket"}


def test_empty_and_nested_directories_that_come_and_go_are_kept_track_of(saved: Imbfs, source: Path) -> None:
    (source / "new" / "empty" / "nest").mkdir(parents=True)
    shutil.rmtree(source / "sub")
    (source / "empty-directory").rmdir()
    saved.run("backup", source)
    now, before = saved.ls("latest", "-R"), saved.ls("latest~1", "-R")
    assert {b"new", b"new/empty", b"new/empty/nest"} == set(now) - set(before)
    assert {b"empty-directory", b"sub", b"sub/deeper"} <= set(before) - set(now)
