"""Where the data of sparse files lies."""

import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.source.extents import data_extents, looks_sparse
from tests.support.everything import KIB, MIB, TIB

BLOCK = 64 * KIB


@pytest.fixture
def fd(real_disk: Path, tmp_path: Path) -> Iterator[int]:
    path = real_disk / f"sparse-{tmp_path.name}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    yield fd
    os.close(fd)
    path.unlink()


def test_an_ordinary_file_does_not_look_sparse_and_is_one_run(fd: int) -> None:
    os.write(fd, b"x" * 10_000)
    os.fsync(fd)
    assert not looks_sparse(os.fstat(fd))
    assert list(data_extents(fd, 10_000)) == [(0, 10_000)]


def test_an_empty_file_has_no_run(fd: int) -> None:
    assert list(data_extents(fd, 0)) == []


def test_a_tebibyte_of_nothing_has_no_run(fd: int) -> None:
    os.ftruncate(fd, TIB)
    assert looks_sparse(os.fstat(fd))
    assert list(data_extents(fd, TIB)) == []


def test_runs_begin_and_end_where_asked(fd: int) -> None:
    os.ftruncate(fd, 10 * MIB)
    os.pwrite(fd, b"x" * MIB, 2 * MIB)
    os.pwrite(fd, b"x" * MIB, 6 * MIB)
    assert list(data_extents(fd, 10 * MIB)) == [(2 * MIB, 3 * MIB), (6 * MIB, 7 * MIB)]
    assert list(data_extents(fd, 6 * MIB + 5, 2 * MIB + 9)) == [
        (2 * MIB + 9, 3 * MIB),
        (6 * MIB, 6 * MIB + 5),
    ]


def test_a_file_that_shrank_gives_fewer_runs(fd: int) -> None:
    os.ftruncate(fd, 10 * MIB)
    os.pwrite(fd, b"x" * MIB, 0)
    os.pwrite(fd, b"x" * MIB, 6 * MIB)
    runs = data_extents(fd, 10 * MIB)
    assert next(runs) == (0, MIB)
    os.ftruncate(fd, 2 * MIB)
    assert list(runs) == []


def test_a_file_that_grew_is_not_read_beyond_its_size(fd: int) -> None:
    os.write(fd, b"x" * 3 * MIB)
    assert list(data_extents(fd, MIB)) == [(0, MIB)]


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_does_not_tell_gives_one_run(
    fd: int, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(error, "not here")

    monkeypatch.setattr(os, "lseek", refuse)
    assert list(data_extents(fd, 12345)) == [(0, 12345)]


def test_other_errors_are_not_hidden(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    with pytest.raises(OSError):
        list(data_extents(fd, 5))
    os.close(fd)


@given(st.lists(st.booleans(), max_size=24), st.integers(0, BLOCK - 1))
def test_all_data_lies_in_the_runs(real_disk: Path, blocks: list[bool], odd: int) -> None:
    size = len(blocks) * BLOCK + odd
    fd = os.open(real_disk, os.O_RDWR | os.O_TMPFILE)
    try:
        os.ftruncate(fd, size)
        for number, data in enumerate(blocks):
            if data:
                os.pwrite(fd, b"x" * BLOCK, number * BLOCK)
        runs = list(data_extents(fd, size))
    finally:
        os.close(fd)
    assert all(start < end <= size for start, end in runs)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(runs))
    for number, data in enumerate(blocks):
        offset = number * BLOCK
        assert not data or any(start <= offset and offset + BLOCK <= end for start, end in runs)
