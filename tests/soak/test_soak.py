"""A short soak: what `scripts/soak` does for half an hour, for so many actions."""

import itertools
from pathlib import Path

import pytest

from tests.soak.soak import Soak


@pytest.mark.parametrize("seed", [1])
def test_nothing_is_lost_when_everything_happens_at_once(tmp_path: Path, mark: str, seed: int) -> None:
    actions = itertools.count()
    soak = Soak(tmp_path, seed, mark)
    # A backup may be done before its kill.
    soak.run(lambda: next(actions) < 40 or not soak.counts["backups killed"])
    assert soak.failures == [], soak.failures[0]
    assert soak.counts["backups killed"] > 0
    assert soak.counts["files compared in the mount"] > 0
