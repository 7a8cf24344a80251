"""Disks that cannot be read, repositories that may only be read: told in one line, and the rest goes on."""

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.check import DONE, FAILED, IN_PART, assert_no_traceback
from tests.support.faulty_fs import FaultyFs
from tests.support.imbfs import Imbfs
from tests.support.small import FILES, build_small, bytes_of
from tests.support.steps import Fault


@pytest.fixture
def disk(tmp_path: Path, mark: str) -> Iterator[FaultyFs]:
    with FaultyFs(tmp_path / "backing", tmp_path / "disk", mark) as disk:
        yield disk


@pytest.fixture
def on_disk(disk: FaultyFs, tmp_path: Path, mark: str) -> Imbfs:
    """An imbfs whose repository, with one snapshot, is on the faulty disk."""
    imbfs = Imbfs(tmp_path, mark)
    imbfs.repository = disk.mountpoint / "repository"
    imbfs.run("init")
    imbfs.run("backup", build_small(tmp_path / "source"))
    return imbfs


def packs_fail() -> Fault:
    return Fault(("read", "open"), errno.EIO, path="/packs/")


def test_the_index_is_not_mapped_on_a_file_system_in_user_space(on_disk: Imbfs) -> None:
    status = on_disk.run("--json", "index", "status").json()
    assert Path(status["path"]).is_relative_to(on_disk.home())
    assert not (on_disk.repository / "index.lmdb").exists()


def test_a_mount_gives_eio_while_the_disk_fails_and_the_bytes_when_it_is_well(
    on_disk: Imbfs, disk: FaultyFs
) -> None:
    with on_disk.mounted("latest") as mount:
        disk.fail(packs_fail())
        with pytest.raises(OSError, match="Input/output error"):
            (mount / "large").read_bytes()
        # What the index holds is shown all the same.
        assert "readme" in os.listdir(mount)
        disk.fail()
        assert (mount / "large").read_bytes() == FILES[b"large"]


def test_a_restore_from_a_disk_that_fails_says_so_and_gives_no_wrong_byte(
    on_disk: Imbfs, disk: FaultyFs, tmp_path: Path
) -> None:
    disk.fail(Fault(("read",), errno.EIO, path="/packs/", nth=3))
    result = on_disk.run("restore", "latest", "--target", tmp_path / "back", check=False)
    assert result.code not in (DONE, None)
    assert_no_traceback(result)
    assert "Input/output error" in result.errors
    found = bytes_of(tmp_path / "back")
    assert all(FILES.get(path, FILES[b"readme"]) == data for path, data in found.items())
    disk.fail()
    on_disk.run("restore", "latest", "--target", tmp_path / "back")
    assert FILES.items() <= bytes_of(tmp_path / "back").items()


@pytest.mark.parametrize("command", [["check", "--read-data"], ["cat", "latest:large"], ["ls", "latest"]])
@pytest.mark.parametrize("part", ["/packs/", "/index/", "/snapshots/", "config.json"])
def test_what_cannot_be_read_is_told_without_a_traceback(
    on_disk: Imbfs, disk: FaultyFs, command: list[str], part: str
) -> None:
    disk.fail(Fault(("read", "open", "readdir"), errno.EIO, path=part))
    result = on_disk.run(*command, check=False)
    assert_no_traceback(result)
    assert "unexpected" not in result.errors, result
    if command[0] == "check" or (part == "config.json"):
        assert result.code != DONE, result
    disk.fail()
    assert on_disk.run("check", "--read-data").code == DONE


def test_a_source_that_cannot_be_read_in_part_is_exit_3_and_the_rest_is_kept(
    disk: FaultyFs, tmp_path: Path, mark: str
) -> None:
    source = build_small(disk.backing / "source")
    imbfs = Imbfs(tmp_path, mark)
    imbfs.run("init")
    imbfs.run("backup", disk.mountpoint / "source")
    (source / "large").write_bytes(b"changed")
    (source / "readme").write_bytes(b"changed as well\n")
    disk.fail(Fault(("read",), errno.EIO, path="large$"))
    result = imbfs.run("backup", disk.mountpoint / "source", check=False)
    assert result.code == IN_PART, result
    assert "large: Input/output error" in result.errors
    # It is as it was, not gone; all else is as it is now.
    assert imbfs.run("cat", "latest:large").stdout == FILES[b"large"]
    assert imbfs.run("cat", "latest:readme").stdout == b"changed as well\n"
    disk.fail()
    assert imbfs.run("backup", disk.mountpoint / "source").code == DONE
    assert imbfs.run("cat", "latest:large").stdout == b"changed"


@pytest.mark.parametrize("operation", ["opendir", "readdir"])
def test_a_directory_that_cannot_be_listed_keeps_what_it_held(
    disk: FaultyFs, tmp_path: Path, mark: str, operation: str
) -> None:
    build_small(disk.backing / "source")
    imbfs = Imbfs(tmp_path, mark)
    imbfs.run("init")
    imbfs.run("backup", disk.mountpoint / "source")
    disk.fail(Fault((operation,), errno.EIO, path="source/sub$"))
    result = imbfs.run("backup", disk.mountpoint / "source", check=False)
    assert result.code == IN_PART, result
    disk.fail()
    listed = json.loads(imbfs.run("--json", "ls", "-R", "latest").stdout)
    assert "sub/deeper/two" in [entry["path"] for entry in listed]


@pytest.fixture
def read_only(tmp_path: Path, mark: str) -> Iterator[Imbfs]:
    """A repository on a file system that is mounted read-only."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a directory read-only")
    writable = Imbfs(tmp_path, mark)
    writable.run("init")
    writable.run("backup", build_small(tmp_path / "source"))
    imbfs = Imbfs(tmp_path, mark)
    imbfs.repository = tmp_path / "read-only"
    imbfs.repository.mkdir()
    subprocess.run(["mount", "--bind", writable.repository, imbfs.repository], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", imbfs.repository], check=True)
        yield imbfs
    finally:
        subprocess.run(["umount", "--lazy", imbfs.repository], check=True)


def test_a_repository_mounted_read_only_is_read_checked_restored_and_mounted(
    read_only: Imbfs, tmp_path: Path
) -> None:
    assert len(read_only.snapshots()) == 1
    assert read_only.run("check", "--read-data").code == DONE
    read_only.run("restore", "latest", "--target", tmp_path / "back")
    assert FILES.items() <= bytes_of(tmp_path / "back").items()
    with read_only.mounted("latest") as mount:
        assert (mount / "large").read_bytes() == FILES[b"large"]


def test_a_backup_into_a_repository_mounted_read_only_says_so(read_only: Imbfs, tmp_path: Path) -> None:
    result = read_only.run("backup", tmp_path / "source", check=False)
    assert result.code == FAILED, result
    assert_no_traceback(result)
    assert len(result.errors.splitlines()) == 1
    assert "read-only" in result.errors.lower()
