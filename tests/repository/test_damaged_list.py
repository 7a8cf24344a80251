"""A damaged list of extents harms the one file that it belongs to."""

from pathlib import Path

import pytest

from tests.support.check import DAMAGED, IN_PART
from tests.support.damage import files_of
from tests.support.imbfs import Imbfs

#: More runs than an entry holds itself.
RUNS = 1500
GAP = 16384


@pytest.fixture
def harmed(imbfs: Imbfs, tmp_path: Path) -> Imbfs:
    """A directory with one file whose list is damaged, and one on each side of it. No index."""
    (tmp_path / "source").mkdir()
    with (tmp_path / "source" / "b-holes").open("wb") as file:
        for number in range(RUNS):
            file.seek(number * GAP)
            file.write(b"%04d" % number)
    for name in ("a-before", "c-after"):
        (tmp_path / "source" / name).write_text(name)
    imbfs.run("init", "--compression", "none")
    imbfs.run("backup", tmp_path / "source")
    for path in files_of(imbfs.repository, "index"):
        path.unlink()
    change_a_list(imbfs.repository)
    return imbfs


def change_a_list(repository: Path) -> None:
    """A hole's end, as it stands in a list: `u64`, then 32 zero bytes."""
    hole = GAP.to_bytes(8, "little") + bytes(32)
    (pack,) = (path for path in files_of(repository, "pack") if hole in path.read_bytes())
    data = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(data.replace(hole, (GAP + 1).to_bytes(8, "little") + bytes(32), 1))


def test_check_names_that_file_and_no_other(harmed: Imbfs) -> None:
    result = harmed.run("check", "--read-data", check=False)
    assert result.code == DAMAGED
    assert "b-holes" in result.text + result.errors
    assert "a-before" not in result.text + result.errors
    assert "c-after" not in result.text + result.errors


def test_the_other_files_of_its_directory_are_restored(harmed: Imbfs, tmp_path: Path) -> None:
    result = harmed.run("restore", "latest", "--target", tmp_path / "back", check=False)
    assert result.code in (DAMAGED, IN_PART)
    assert "b-holes" in result.errors
    assert (tmp_path / "back" / "a-before").read_text() == "a-before"
    assert (tmp_path / "back" / "c-after").read_text() == "c-after"


def test_the_other_files_of_its_directory_are_listed_and_read(harmed: Imbfs) -> None:
    assert harmed.run("cat", "latest:c-after").text == "c-after"
    result = harmed.run("ls", "latest", check=False)
    assert {"a-before", "c-after"} <= set(result.text.split())
