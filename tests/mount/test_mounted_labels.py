"""What a mount shows of snapshots that are forgotten or labelled while it stands."""

import os
from pathlib import Path

import pytest

from tests.support.calendar import add_snapshots
from tests.support.imbfs import Imbfs, wait_until
from tests.support.small import FILES, build_small

#: Seconds in which what changed in the repository is to be seen.
SOON = 1.0


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
            assert not (all_of_them / "snapshots" / two[1]).exists()
            assert os.readlink(all_of_them / "latest") == f"snapshots/{two[0]}"
            assert file.read() == FILES[b"large"]
        assert (alone / "large").read_bytes() == FILES[b"large"]
        assert (alone / "sub/deeper/two").read_bytes() == FILES[b"sub/deeper/two"]
