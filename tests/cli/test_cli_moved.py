"""Files that moved are recognised without reading them; `backup --xattr-hash`."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.check import WRONG_USE, assert_clear_error
from tests.support.imbfs import ORDINARY_USER, Imbfs
from tests.support.opens import Opens

OLD = 1_600_000_000_123_456_789
LARGE = os.urandom(3 << 20)


@pytest.fixture
def photos(real_disk: Path, tmp_path: Path) -> Path:
    """Files that were written long ago: small ones, and one of several chunks."""
    root = real_disk / tmp_path.name
    (root / "2020/may").mkdir(parents=True)
    for name, data in (("a", b"a" * 100), ("may/b", b"b" * 5000), ("may/large", LARGE)):
        path = root / "2020" / name
        path.write_bytes(data)
        os.utime(path, ns=(OLD, OLD))
    return root


@pytest.fixture
def sealed(imbfs: Imbfs, photos: Path) -> Imbfs:
    imbfs.run("init")
    imbfs.run("backup", "--xattr-hash", photos)
    return imbfs


def content(imbfs: Imbfs, path: Path) -> bytes:
    return imbfs.run("cat", f"latest:{path}").stdout


def test_a_moved_directory_is_not_read_even_without_hashes_on_files(imbfs: Imbfs, photos: Path) -> None:
    """Parity row 11: moving a directory changes nothing about the files in it."""
    imbfs.run("init")
    imbfs.run("backup", photos)
    imbfs.run("backup", "--read-all", photos)  # what is racy once is not so twice
    (photos / "2020").rename(photos / "renamed")
    with Opens(photos) as opens:
        summary = imbfs.backup(photos)
    assert opens.files == set()
    assert (summary["bytes_read"], summary["files_removed"]) == (0, 3)
    assert content(imbfs, photos / "renamed/may/large") == LARGE


def test_directories_that_were_swapped_are_not_read(imbfs: Imbfs, photos: Path) -> None:
    """Parity row 11: each name now leads to the other's files, some of them of the same name."""
    shutil.copytree(photos / "2020", photos / "2021")
    (photos / "2021/a").write_bytes(b"other")
    imbfs.run("init")
    imbfs.run("backup", photos)
    imbfs.run("backup", "--read-all", photos)
    for old, new in (("2020", "x"), ("2021", "2020"), ("x", "2021")):
        (photos / old).rename(photos / new)
    assert imbfs.backup(photos)["bytes_read"] == 0
    assert content(imbfs, photos / "2020/a") == b"other"
    assert content(imbfs, photos / "2021/a") == b"a" * 100


def test_a_file_that_changed_in_a_moved_directory_is_read(imbfs: Imbfs, photos: Path) -> None:
    imbfs.run("init")
    imbfs.run("backup", photos)
    imbfs.run("backup", "--read-all", photos)
    (photos / "2020").rename(photos / "renamed")
    (photos / "renamed/a").write_bytes(b"A" * 100)
    os.utime(photos / "renamed/a", ns=(OLD, OLD))
    assert imbfs.backup(photos)["bytes_read"] == 100
    assert content(imbfs, photos / "renamed/a") == b"A" * 100


def test_moved_files_are_recognised_by_the_hash_on_them(sealed: Imbfs, photos: Path) -> None:
    """Parity row 10: renamed, in another directory, in a chain; of one chunk and of several."""
    (photos / "2020/a").rename(photos / "first")
    (photos / "2020/may/b").rename(photos / "2020/a")
    (photos / "2020/may/large").rename(photos / "2020/may/b")
    with Opens(photos) as opens:
        summary = sealed.backup("--xattr-hash", photos)
    assert opens.files == set()
    assert summary["bytes_read"] == 0
    assert content(sealed, photos / "first") == b"a" * 100
    assert content(sealed, photos / "2020/a") == b"b" * 5000
    assert content(sealed, photos / "2020/may/b") == LARGE
    assert sealed.backup("--xattr-hash", photos)["files_unchanged"] == 3
    sealed.run("check", "--read-data")


def test_keeping_hashes_on_files_changes_neither_their_times_nor_what_is_backed_up(
    sealed: Imbfs, photos: Path
) -> None:
    path = photos / "2020/may/large"
    assert os.listxattr(path) == ["user.imbfs.hash"]
    assert path.stat().st_mtime_ns == OLD
    with Opens(photos) as opens:
        summary = sealed.backup("--xattr-hash", photos)
    assert opens.files == set()
    assert summary["unchanged"]
    assert sealed.backup(photos)["bytes_read"] == 0, "nor without the option"
    assert sealed.run("status", photos).stdout == b"no change\n"
    sealed.run("restore", "latest", "--target", sealed.directory / "target")
    assert os.listxattr(next((sealed.directory / "target").rglob("large"))) == []


def test_a_change_in_place_is_seen_though_size_and_time_are_as_before(sealed: Imbfs, photos: Path) -> None:
    """The hash on the file still fits; its ctime does not."""
    path = photos / "2020/a"
    path.write_bytes(b"A" * 100)
    os.utime(path, ns=(OLD, OLD))
    sealed.run("backup", "--xattr-hash", photos)
    assert content(sealed, path) == b"A" * 100


def test_a_written_file_that_moved_is_read(sealed: Imbfs, photos: Path) -> None:
    (photos / "2020/a").write_bytes(b"A" * 100)
    (photos / "2020/a").rename(photos / "moved")
    assert sealed.backup("--xattr-hash", photos)["bytes_read"] == 100
    assert content(sealed, photos / "moved") == b"A" * 100


def test_another_files_hash_lends_no_access_to_its_content(sealed: Imbfs, photos: Path) -> None:
    """Who plants it on his own file would find the other's content in the backup."""
    own = photos / "own"
    own.write_bytes(b"x" * 100)
    stolen = os.getxattr(photos / "2020/a", "user.imbfs.hash")
    os.utime(own, ns=(OLD, OLD))
    fields = stolen.split(b" ")
    forged = b" ".join([*fields[:4], b"%d" % own.stat().st_ino, *fields[5:]])
    values = (stolen, forged, b"", b"blake3", b"\xff" * 200, b" ".join(fields[:-1]))
    for number, value in enumerate(values):
        own = own.rename(photos / f"own {number}")
        os.setxattr(own, "user.imbfs.hash", value)
        sealed.run("backup", "--xattr-hash", photos)
        assert content(sealed, own) == b"x" * 100


def test_a_second_set_of_hashes_is_independent(sealed: Imbfs, photos: Path) -> None:
    """Parity row 10: for a full re-verification."""
    path = photos / "2020/a"
    first = os.getxattr(path, "user.imbfs.hash")
    summary = sealed.backup("--xattr-hash", "--namespace", "2", "--read-all", photos)
    assert summary["bytes_read"] == 5100 + len(LARGE)
    assert os.getxattr(path, "user.imbfs.hash") == first
    os.removexattr(path, "user.imbfs.hash")
    path.rename(photos / "moved")
    assert sealed.backup("--xattr-hash", "--namespace", "2", photos)["bytes_read"] == 0
    assert_clear_error(sealed.run("backup", "--namespace", "2", photos, check=False), WRONG_USE, "xattr-hash")


def test_many_files_are_sealed_by_workers_too(imbfs: Imbfs, photos: Path) -> None:
    for number in range(600):
        (photos / f"{number}").write_bytes(b"%d" % number)
        os.utime(photos / f"{number}", ns=(OLD, OLD))
    imbfs.run("init")
    imbfs.run("backup", "--xattr-hash", "--workers", "2", photos)
    for number in range(600):
        (photos / f"{number}").rename(photos / f"moved {number}")
    assert imbfs.backup("--xattr-hash", photos)["bytes_read"] == 0
    assert content(imbfs, photos / "moved 599") == b"599"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can back up as another user")
def test_what_cannot_be_written_is_backed_up_with_one_notice(imbfs: Imbfs, open_path: Path) -> None:
    source = open_path / "source"
    source.mkdir()
    for name in ("one", "two"):
        (source / name).write_bytes(name.encode())
        os.utime(source / name, ns=(OLD, OLD))
    shared = Imbfs(open_path, imbfs.mark)
    os.chown(open_path, ORDINARY_USER, ORDINARY_USER)
    shared.run("init", user=ORDINARY_USER)
    done = shared.run("backup", "--xattr-hash", source, user=ORDINARY_USER)
    assert done.errors.count("cannot be kept") == 1
    assert "2 files" in done.errors
    assert os.listxattr(source / "one") == []


def test_a_dry_run_keeps_no_hashes(imbfs: Imbfs, photos: Path) -> None:
    imbfs.run("init")
    imbfs.run("backup", "--xattr-hash", "--dry-run", photos)
    assert os.listxattr(photos / "2020/a") == []


def test_without_the_secret_files_are_read(sealed: Imbfs, photos: Path) -> None:
    """Whoever has another secret believes nothing, and seals anew."""
    key = sealed.home() / ".local/state/imbfs/key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.write_bytes(b"short")
    (photos / "2020/a").rename(photos / "moved")
    assert sealed.backup("--xattr-hash", photos)["bytes_read"] >= 100
    (photos / "moved").rename(photos / "moved again")
    assert sealed.backup("--xattr-hash", photos)["bytes_read"] == 0
