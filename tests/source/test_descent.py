"""Opening without following, and walking deeper than any path with few descriptors."""

import errno
import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.source.descent import Descent, identity, open_directory, open_file

DEPTH = 2000


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def top(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
    # Deeper than pytest itself could remove.
    subprocess.run(["rm", "-rf", tmp_path], check=True)


def go_down(descent: Descent, levels: int, name: bytes = b"a long name of a level") -> list[tuple[int, int]]:
    """Makes and enters that many levels; returns what each is."""
    found = []
    for _ in range(levels):
        os.mkdir(name, dir_fd=descent.fd)
        found.append(identity(os.fstat(descent.push(name))))
    return found


def test_a_deep_walk_keeps_few_descriptors_and_comes_back_the_same_way(top: int) -> None:
    gc.collect()  # what an earlier test left open is closed now, and not between two counts
    before = descriptors()
    with Descent(os.dup(top), limit=16) as descent:
        down = go_down(descent, DEPTH)
        assert descent.depth == DEPTH
        assert descriptors() - before <= 17
        up = [identity(os.fstat(descent.fd))]
        while descent.depth:
            up.append(identity(os.fstat(descent.pop())))
            assert descriptors() - before <= 17
        assert up[::-1] == [identity(os.fstat(top)), *down]
    assert descriptors() == before


def test_going_down_again_halfway_up_works(top: int) -> None:
    with Descent(os.dup(top), limit=2) as descent:
        down = go_down(descent, 20)
        for _ in range(10):
            descent.pop()
        go_down(descent, 20, b"another")
        for _ in range(20):
            descent.pop()
        assert identity(os.fstat(descent.fd)) == down[9]


def test_the_parent_can_be_opened_before_the_way_back_is_shut(top: int) -> None:
    with Descent(os.dup(top), limit=2) as descent:
        down = go_down(descent, 5)
        descent.pop()
        descent.pop()
        assert identity(os.fstat(descent.open_parent())) == down[1]
        assert identity(os.fstat(descent.fd)) == down[2]
        assert identity(os.fstat(descent.pop())) == down[1]


def test_a_directory_moved_elsewhere_is_an_error_not_another_parent(top: int, tmp_path: Path) -> None:
    with Descent(os.dup(top), limit=2) as descent:
        go_down(descent, 6, b"x")
        (tmp_path / "x/x/x/x/x").rename(tmp_path / "moved")
        descent.pop()
        with pytest.raises(OSError, match="moved elsewhere") as caught:
            descent.pop()
        assert caught.value.errno == errno.ESTALE


def test_a_symlink_cannot_be_entered_and_costs_nothing(top: int, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    with Descent(os.dup(top)) as descent:
        before = descriptors()
        with pytest.raises(OSError) as caught:
            descent.push(b"link")
        assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)
        assert (descent.depth, descriptors()) == (0, before)


def test_the_root_has_no_parent(top: int) -> None:
    with Descent(os.dup(top)) as descent, pytest.raises(ValueError, match="root"):
        descent.pop()


def test_a_directory_by_path_is_opened_but_not_through_a_symlink(tmp_path: Path) -> None:
    os.close(open_directory(None, bytes(tmp_path)))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError):
        open_directory(None, bytes(tmp_path / "link"))


def test_reading_a_file_leaves_its_atime(top: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("data")
    os.utime(tmp_path / "f", (1, 2))
    fd, status = open_file(top, b"f")
    assert os.read(fd, 10) == b"data"
    os.close(fd)
    assert status.st_size == 4
    assert (tmp_path / "f").stat().st_atime == 1


@pytest.mark.parametrize("kind", ["fifo", "directory", "symlink", "another file"])
def test_what_took_a_files_place_is_not_read(top: int, tmp_path: Path, kind: str) -> None:
    (tmp_path / "before").write_text("expected")
    expected = identity((tmp_path / "before").stat())
    if kind == "fifo":
        os.mkfifo(tmp_path / "f")
    elif kind == "directory":
        (tmp_path / "f").mkdir()
    elif kind == "symlink":
        (tmp_path / "f").symlink_to("before")
    else:
        (tmp_path / "f").write_text("another")
    before = descriptors()
    with pytest.raises(OSError) as caught:
        open_file(top, b"f", expected)
    assert caught.value.errno in (errno.ESTALE, errno.ELOOP)
    assert descriptors() == before


def test_without_the_right_to_hide_the_atime_a_file_is_opened_all_the_same(
    top: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_user(path: bytes, flags: int, *, dir_fd: int | None = None) -> int:
        if flags & os.O_NOATIME:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return real(path, flags, dir_fd=dir_fd)

    real = os.open
    (tmp_path / "f").touch()
    monkeypatch.setattr(os, "open", of_another_user)
    fd, _ = open_file(top, b"f")
    os.close(fd)
