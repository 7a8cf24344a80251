"""`import`: a plain copy becomes a snapshot with a time of its own."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.check import FAILED, WRONG_USE, assert_clear_error
from tests.support.compare import differences
from tests.support.imbfs import Imbfs

THEN = "2024-05-06T07:08:09+00:00"


def test_a_copy_has_its_place_among_the_snapshots_of_what_it_is_a_copy_of(
    saved: Imbfs, source: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(source, copy, symlinks=True)
    (copy / "sub/one").write_text("as it was then")
    summary = saved.run("--json", "import", copy, "--time", THEN, "--as", source).json()
    old, new = saved.snapshots()
    assert (old["id"], old["time"][:19]) == (summary["snapshot"], THEN[:19])
    assert old["paths"] == new["paths"] == [str(source)]
    sizes = [row["size"] for row in saved.run("--json", "versions", source / "sub/one").json()]
    assert sizes == [14, (source / "sub/one").stat().st_size]
    # The newest stays what is compared with.
    assert saved.run("--json", "status", source).json() == []
    assert saved.backup(source)["parent"] == new["id"]


def test_an_imported_copy_is_whole(imbfs: Imbfs, source: Path, tmp_path: Path) -> None:
    imbfs.run("init")
    imbfs.run("import", source, "--time", "2024-05-06", "--tag", "old", "--host", "elsewhere")
    imbfs.run("restore", "latest", "--target", tmp_path / "back", "--host", "elsewhere", "--tag", "old")
    assert differences(source, tmp_path / "back", holes=True) == []


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("source",), WRONG_USE),
        (("source", "--time", "someday"), WRONG_USE),
        (("source", "--time", "2999-01-01"), WRONG_USE),
        (("source", "--time", "2024-01-01", "--as", "relative"), WRONG_USE),
        (("source/readme", "--time", "2024-01-01"), FAILED),
        (("nothing", "--time", "2024-01-01"), FAILED),
    ],
    ids=str,
)
def test_what_cannot_be_imported_makes_no_snapshot(
    imbfs: Imbfs, source: Path, args: tuple[str, ...], code: int
) -> None:
    imbfs.run("init")
    assert os.path.isdir(source)
    assert_clear_error(imbfs.run("import", *args, check=False), code)
    assert imbfs.snapshots() == []
