"""`export --tar`: what tar(1) and Python read, in one file or in volumes."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.check import FAILED, WRONG_USE, assert_clear_error
from tests.support.compare import differences
from tests.support.everything import Everything, remove_tree
from tests.support.imbfs import Imbfs, name
from tests.support.small import FILES, bytes_of


def extract(archive: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    options = [
        "--xattrs",
        "--xattrs-include=*",
        "--same-owner",
        "--same-permissions",
        "--delay-directory-restore",
    ]
    subprocess.run(["tar", "-x", *options, "-f", archive, "-C", target], check=True, capture_output=True)


def test_a_tar_is_whole_for_tar(
    imbfs: Imbfs, everything: Everything, real_disk: Path, tmp_path: Path
) -> None:
    """Holes, hard links, ACLs, times to the nanosecond and names of any bytes; all but sockets. Row 34."""
    if os.geteuid() != 0:
        pytest.skip("only root can extract with owners and devices")
    imbfs.run("init")
    imbfs.run("backup", everything.plain)
    imbfs.run("export", "latest", "--tar", tmp_path / "all.tar")
    target = real_disk / "extracted"
    extract(tmp_path / "all.tar", target)
    try:
        found = [str(line) for line in differences(everything.plain, target, holes=True)]
        # GNU tar itself reads a time of less than a second before 1970 as one after.
        assert [line for line in found if "socket" not in line and "last-ns-before-1970" not in line] == []
    finally:
        remove_tree(target)


def test_a_tar_goes_to_stdout(copied: Imbfs) -> None:
    data = copied.run("export", "latest:sub", "--tar", "-").stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.extractfile("one").read() == FILES[b"sub/one"]  # type: ignore[union-attr]
        assert set(archive.getnames()) >= {"one", "deeper/two", "link to readme"}


def test_volumes_are_whole_tar_files_of_at_most_that_size(copied: Imbfs, tmp_path: Path) -> None:
    """Parity row 34: volumes of fixed size with an index of members."""
    copied.run("export", "latest", "--tar", tmp_path / "v.tar", "--volume-size", "400k")
    volumes = sorted(tmp_path.glob("v.*.tar"))
    assert [volume.name for volume in volumes][:2] == ["v.001.tar", "v.002.tar"]
    sizes = [volume.stat().st_size for volume in volumes]
    # One file alone is longer.
    assert sum(size > 400 * 1024 for size in sizes) == 1
    for volume in volumes:
        extract(volume, tmp_path / "back")
    assert bytes_of(tmp_path / "back").items() >= FILES.items()


def test_one_file_is_read_from_one_volume_by_the_index(copied: Imbfs, tmp_path: Path) -> None:
    """Without touching the others. Row 34."""
    copied.run("export", "latest", "--tar", tmp_path / "v.tar", "--volume-size", "400k")
    lines = [json.loads(line) for line in (tmp_path / "v.index.jsonl").read_bytes().splitlines()]
    wanted = next(line for line in lines if name(line["path"]) == b"sub/deeper/two")
    with open(tmp_path / wanted["volume"], "rb") as volume:
        volume.seek(wanted["offset"])
        with tarfile.open(fileobj=volume, mode="r|") as archive:
            member = archive.next()
            assert member is not None
            assert archive.extractfile(member).read() == FILES[b"sub/deeper/two"]  # type: ignore[union-attr]
    assert {name(line["path"]) for line in lines} >= set(FILES)


def test_a_tar_replaces_nothing(copied: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "mine.tar").write_text("mine")
    result = copied.run("export", "latest", "--tar", tmp_path / "mine.tar", check=False)
    assert_clear_error(result, FAILED, "exists")
    assert (tmp_path / "mine.tar").read_text() == "mine"
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    "args",
    [
        ("latest",),
        ("latest", "dir", "--tar", "x.tar"),
        ("latest", "dir", "--volume-size", "1M"),
        ("latest", "--tar", "-", "--volume-size", "1M"),
        ("latest", "--tar", "x.tar", "--volume-size", "1k"),
        ("latest", "--tar", "x.tar", "--increment"),
    ],
    ids=" ".join,
)
def test_what_cannot_go_together_is_wrong_use(copied: Imbfs, args: tuple[str, ...]) -> None:
    assert_clear_error(copied.run("export", *args, check=False), WRONG_USE)
