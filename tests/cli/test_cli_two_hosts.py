"""Two hosts, each with an index of its own, and one repository."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backup.ops.forget import forget
from backup.repository import Repository
from backup.repository.forgotten import KEPT_NS
from tests.support.calendar import manifest
from tests.support.check import DAMAGED
from tests.support.imbfs import Imbfs, Result

Run = Callable[..., Result]


def host(imbfs: Imbfs, cache: Path) -> Run:
    """Commands of a host whose index cannot live in the repository, as on a network file system."""
    return lambda *args, check=True: imbfs.run(*args, check=check, env={"XDG_CACHE_HOME": str(cache)})


@pytest.fixture
def hosts(copied: Imbfs, tmp_path: Path) -> tuple[Run, Run]:
    """The other one has made the newest snapshot, and has its id in its index."""
    (copied.repository / "index.lmdb").unlink(missing_ok=True)
    (copied.repository / "index.lmdb").mkdir()
    one, other = host(copied, tmp_path / "one"), host(copied, tmp_path / "other")
    (tmp_path / "source").mkdir()
    other("backup", tmp_path / "source")
    return one, other


def newest(imbfs: Imbfs) -> Path:
    return manifest(imbfs, imbfs.snapshots()[-1]["id"])


def tombstones(imbfs: Imbfs) -> list[Path]:
    return sorted((imbfs.repository / "forgotten").iterdir())


def test_what_one_host_forgot_has_not_vanished_for_another(copied: Imbfs, hosts: tuple[Run, Run]) -> None:
    one, other = hosts
    one("forget", "--allow-last", "latest")
    assert "vanished" not in other("snapshots").errors
    assert other("check").code == 0


def test_an_index_that_has_learnt_it_needs_the_tombstone_no_more(
    copied: Imbfs, hosts: tuple[Run, Run]
) -> None:
    one, other = hosts
    one("forget", "--allow-last", "latest")
    other("snapshots")
    for tombstone in tombstones(copied):
        tombstone.unlink()
    assert other("check").code == 0


def test_a_manifest_that_vanished_is_told_until_it_is_forgotten(
    copied: Imbfs, hosts: tuple[Run, Run]
) -> None:
    _, other = hosts
    gone = newest(copied)
    gone.unlink()
    assert other("check", check=False).code == DAMAGED
    other("forget", gone.name)
    assert other("check").code == 0


def test_a_tombstone_beside_a_manifest_means_nothing(copied: Imbfs, hosts: tuple[Run, Run]) -> None:
    """As after a crash between the two."""
    _, other = hosts
    tombstone = copied.repository / "forgotten" / newest(copied).name
    tombstone.parent.mkdir()
    tombstone.touch()
    assert other("--json", "snapshots").json()[-1]["id"] == tombstone.name
    assert other("check").code == 0


def test_prune_removes_tombstones_after_a_year(copied: Imbfs, hosts: tuple[Run, Run]) -> None:
    one, _ = hosts
    one("forget", "--allow-last", "latest")
    [tombstone] = tombstones(copied)
    one("prune")
    assert tombstones(copied) == [tombstone]
    long_ago = time.time_ns() - KEPT_NS - 1
    os.utime(tombstone, ns=(long_ago, long_ago))
    one("prune")
    assert tombstones(copied) == []


def test_where_there_is_no_space_for_a_tombstone_the_snapshot_goes_all_the_same(
    copied: Imbfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Repository.open(copied.repository, copied.directory / "cache", print) as repository:
        ids = repository.catalogue.ids()
        monkeypatch.setattr(repository.storage, "put", no_space)
        forget(repository, ids)
        assert repository.catalogue.ids() == []
        assert repository.missing_snapshots() == set()


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
