"""What a dry run counts as new is what the backup after it stores, whatever has become of the packs."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.model.ids import PackId
from backup.ops.backup import BackupOptions, backup
from backup.ops.check import check
from backup.repository.condemned import condemn
from backup.snapshots.manifest import Statistics
from tests.repository.stored import Opened, Silent, make, noise
from tests.support.small import make_old


@pytest.fixture
def source(tmp_path: Path) -> Path:
    top = tmp_path / "source"
    (top / "sub").mkdir(parents=True)
    (top / "large").write_bytes(noise(1, 300_000))
    (top / "sub" / "small").write_bytes(b"small" * 100)
    make_old(top)
    return top


@pytest.fixture
def saved(tmp_path: Path, source: Path) -> Iterator[Opened]:
    opened = make(tmp_path)
    run(opened, source)
    yield opened
    opened.close()


def run(opened: Opened, source: Path, *, dry_run: bool = False) -> Statistics:
    options = BackupOptions(datetime.now(UTC), "host", "user", workers=0, dry_run=dry_run)
    return backup(opened.repository, [os.fsencode(source)], options, Silent()).statistics


def packs_go(opened: Opened) -> None:
    for path in opened.files("packs"):
        path.unlink()


def data_is_condemned(opened: Opened) -> None:
    largest = max(opened.files("packs"), key=lambda path: path.stat().st_size)
    condemn(opened.repository.storage, [PackId(bytes.fromhex(largest.name))])


def trees_are_damaged(opened: Opened) -> None:
    smallest = min(opened.files("packs"), key=lambda path: path.stat().st_size)
    smallest.chmod(0o600)
    smallest.write_bytes(smallest.read_bytes()[:100] + bytes(smallest.stat().st_size - 100))
    (opened.path / "index.lmdb").unlink()


@pytest.mark.parametrize("harm", [packs_go, data_is_condemned, trees_are_damaged])
def test_a_dry_run_counts_what_is_stored_anew(
    saved: Opened, source: Path, harm: Callable[[Opened], None]
) -> None:
    saved.close()
    saved.open()
    harm(saved)
    saved.reopen()
    foretold = run(saved, source, dry_run=True)
    saved.reopen()
    done = run(saved, source)
    assert foretold.bytes_added == done.bytes_added > 0


def test_a_dry_run_counts_what_a_killed_backup_left_as_stored(saved: Opened, source: Path) -> None:
    for part in ("index", "snapshots"):
        for path in saved.files(part):
            path.unlink()
    saved.close()
    (saved.path / "index.lmdb").unlink()
    saved.open()
    assert run(saved, source, dry_run=True).bytes_added == 0
    assert check(saved.repository, False, Silent()).snapshots == 0
