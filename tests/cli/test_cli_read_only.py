"""A repository that cannot be written: an ordinary user's, with all write permissions taken away."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.check import assert_no_traceback
from tests.support.imbfs import ORDINARY_USER, Imbfs, Result
from tests.support.small import FILES, build_small, bytes_of


@pytest.fixture
def read_only(open_path: Path, ordinary_user: int, mark: str) -> Imbfs:
    os.chown(open_path, ordinary_user, ordinary_user)
    imbfs = Imbfs(open_path, mark)
    build_small(open_path / "source")
    imbfs.run("init", user=ordinary_user)
    imbfs.run("backup", open_path / "source", user=ordinary_user)
    for path in [imbfs.repository, *imbfs.repository.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    return imbfs


@pytest.fixture
def nothing_written(read_only: Imbfs) -> Iterator[None]:
    """Fails when a test of this file changed the repository, as root could."""

    def times() -> dict[Path, int]:
        """Root can write, so its mount comes and goes with a lease."""
        passing = {read_only.repository / name for name in ("leases", "tmp")}
        return {path: path.stat().st_mtime_ns for path in {*read_only.repository.rglob("*")} - passing}

    before = times()
    yield
    assert times() == before, "the repository was written"


def as_user(imbfs: Imbfs, *args: str | bytes | Path, check: bool = True) -> Result:
    return imbfs.run(*args, user=ORDINARY_USER, check=check)


@pytest.mark.usefixtures("nothing_written")
def test_queries_and_check_work(read_only: Imbfs) -> None:
    assert len(as_user(read_only, "--json", "snapshots").json()) == 1
    assert len(as_user(read_only, "--json", "ls", "-R", "latest").json()) > len(FILES)
    assert as_user(read_only, "cat", "latest:large").stdout == FILES[b"large"]
    assert as_user(read_only, "check", "--read-data").code == 0


def test_queries_work_without_the_index_too(read_only: Imbfs) -> None:
    for path in read_only.repository.glob("index.lmdb*"):
        path.unlink()
    assert as_user(read_only, "cat", "latest:large").stdout == FILES[b"large"]


@pytest.mark.usefixtures("nothing_written")
def test_restore_works(read_only: Imbfs) -> None:
    as_user(read_only, "restore", "latest", "--target", read_only.directory / "back")
    found = bytes_of(read_only.directory / "back")
    assert {path: found[path] for path in FILES} == FILES


@pytest.mark.usefixtures("nothing_written")
def test_root_can_mount_it_and_nothing_is_written(read_only: Imbfs) -> None:
    with read_only.mounted("latest") as mount:
        assert (mount / "large").read_bytes() == FILES[b"large"]


@pytest.mark.usefixtures("nothing_written")
def test_a_backup_into_it_fails_in_one_line(read_only: Imbfs) -> None:
    result = as_user(read_only, "backup", read_only.directory / "source", check=False)
    assert result.code == 1, result
    assert_no_traceback(result)
    assert len(result.errors.splitlines()) == 1, result
