"""What a mount shows of snapshots that are forgotten or labelled while it stands."""

import os
from pathlib import Path

import pytest

from tests.support.calendar import add_snapshots
from tests.support.imbfs import Imbfs, wait_until
from tests.support.small import FILES, build_small

#: A second is promised, and a loaded machine takes longer.
SOON = 5.0


@pytest.fixture
def two(imbfs: Imbfs, tmp_path: Path) -> list[str]:
    imbfs.run("init")
    first = imbfs.backup(build_small(tmp_path / "source"))["snapshot"]
    return [first, *add_snapshots(imbfs, ["2027-01-01T12:00:00+00:00"])]


def test_a_forgotten_snapshot_is_gone_within_a_second_and_what_is_open_goes_on(
    imbfs: Imbfs, two: list[str]
) -> None:
    with imbfs.mounted() as all_of_them, imbfs.mounted("latest") as alone:
        with (all_of_them / "snapshots" / two[1] / "large").open("rb") as file:
            imbfs.run("forget", "latest")
            wait_until(lambda: os.listdir(all_of_them / "snapshots") == two[:1], "it is gone", SOON)
            wait_until(lambda: not (all_of_them / "snapshots" / two[1]).exists(), "its name is gone", SOON)
            newest = f"snapshots/{two[0]}"
            wait_until(lambda: os.readlink(all_of_them / "latest") == newest, "another is latest", SOON)
            assert file.read() == FILES[b"large"]
        assert (alone / "large").read_bytes() == FILES[b"large"]
        assert (alone / "sub/deeper/two").read_bytes() == FILES[b"sub/deeper/two"]


def test_by_tag_follows_a_change_of_tags(imbfs: Imbfs, two: list[str]) -> None:
    with imbfs.mounted() as mount:
        imbfs.run("tag", "latest", "--add", "kept")
        wait_until(lambda: os.listdir(mount / "by-tag") == ["kept"], "the tag is there", SOON)
        [shown] = (mount / "by-tag" / "kept").iterdir()
        assert (shown / "readme").read_bytes() == FILES[b"readme"]
        imbfs.run("tag", "latest", "--set", "other")
        wait_until(lambda: os.listdir(mount / "by-tag") == ["other"], "the tag has changed", SOON)
