"""Large files: a small change stores little, wherever it is, and holes cost nothing."""

import os
from pathlib import Path

import pytest

from tests.support.compare import differences
from tests.support.everything import GIB, MIB, noise, sparse_file
from tests.support.imbfs import Imbfs

SIZE = 32 * MIB


@pytest.fixture
def image(imbfs: Imbfs, tmp_path: Path) -> Path:
    """A backed-up image that neither compresses nor repeats: the hardest case."""
    path = tmp_path / "source" / "image"
    path.parent.mkdir()
    path.write_bytes(noise(SIZE, 1))
    imbfs.run("init")
    imbfs.run("backup", path.parent)
    return path


def assert_it_comes_back(imbfs: Imbfs, image: Path) -> None:
    back = image.parent.parent / "back"
    imbfs.run("restore", "latest", "--target", back)
    assert differences(image.parent, back) == []


def test_a_mebibyte_overwritten_adds_no_more_than_four(imbfs: Imbfs, image: Path) -> None:
    for number, offset in enumerate((0, 7 * MIB, 13 * MIB + 4711, 22 * MIB + 1, SIZE - MIB)):
        with image.open("r+b") as file:
            file.seek(offset)
            file.write(noise(MIB, 2 + number))
        assert MIB <= imbfs.backup(image.parent)["bytes_stored"] <= 4 * MIB, offset
    assert_it_comes_back(imbfs, image)


def test_ten_bytes_inserted_add_no_more_than_four_mebibytes(imbfs: Imbfs, image: Path) -> None:
    for offset in (0, 15 * MIB):
        data = image.read_bytes()
        image.write_bytes(data[:offset] + b"0123456789" + data[offset:])
        assert 0 < imbfs.backup(image.parent)["bytes_stored"] <= 4 * MIB, offset
    assert_it_comes_back(imbfs, image)


def test_of_a_sparse_image_of_100_gib_only_the_data_is_read_and_it_comes_back_sparse(
    imbfs: Imbfs, tmp_path: Path
) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    runs = [(at, noise(MIB, number)) for number, at in enumerate((0, 17 * GIB + 4096, 100 * GIB - MIB))]
    sparse_file(os.fsencode(source / "image"), 100 * GIB, runs)
    imbfs.run("init")
    summary = imbfs.backup(source)
    assert (summary["bytes_source"], summary["bytes_read"]) == (100 * GIB, 3 * MIB)
    imbfs.run("restore", "latest", "--target", back)
    assert (back / "image").stat().st_blocks * 512 < 4 * MIB
    assert differences(source, back) == []
