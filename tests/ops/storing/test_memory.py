"""What waits in memory is bounded, whatever the tree."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.ops.backup import BackupOptions, backup
from backup.ops.storing import batch, walk
from backup.ops.storing.directories import Directories
from backup.ops.storing.frame import Frame
from tests.repository.stored import Silent, make

HELD, AGE = 60, 30


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_wait_for_files_only_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    for number in range(150):
        directory = tmp_path / "source" / f"directory-{number}"
        directory.mkdir(parents=True)
        for name in ("one", "two", "three"):
            (directory / name).write_bytes(f"{number} {name}".encode())
    monkeypatch.setattr(walk, "MAX_HELD", HELD)
    monkeypatch.setattr(batch, "MAX_AGE", AGE)
    held = []
    leave = Directories.leave

    def note(self: Directories, frame: Frame) -> None:
        leave(self, frame)
        held.append(self.held)

    monkeypatch.setattr(Directories, "leave", note)
    opened = make(tmp_path)
    options = BackupOptions(datetime.now(UTC), "host", "user", workers=workers)
    result = backup(opened.repository, [os.fsencode(tmp_path / "source")], options, Silent())
    assert result.statistics.files == 450
    assert AGE < max(held) <= HELD + 151
    opened.close()
