"""`imbfs leases`: who reads and writes, and what a machine that was lost has left."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.check import BUSY, FAILED
from tests.support.imbfs import ORDINARY_USER, Imbfs

HOURS = 3600


def leases(imbfs: Imbfs) -> list[dict[str, Any]]:
    listed = imbfs.run("--json", "leases").json()
    assert isinstance(listed, list)
    return listed


@pytest.fixture
def lost(copied: Imbfs) -> dict[str, Any]:
    """The lease of a backup on a machine that is no more."""
    made: dict[str, Any] = {
        "kind": "writer",
        "command": "backup",
        "process": {"host": "ship", "pid": 7, "start": 1, "boot": "another", "namespace": "pid:[1]"},
        "since": "2026-01-01T00:00:00+00:00",
    }
    directory = copied.repository / "leases"
    directory.mkdir(exist_ok=True)
    (directory / ("ab" * 16)).write_text(json.dumps(made))
    return made


def test_where_nobody_reads_or_writes_it_says_so(copied: Imbfs) -> None:
    result = copied.run("leases")
    assert result.stdout == b""
    assert "nobody" in result.errors
    assert leases(copied) == []


def test_a_mount_is_shown_with_its_snapshot(copied: Imbfs) -> None:
    (snapshot,) = copied.snapshots()
    with copied.mounted("latest"):
        (lease,) = leases(copied)
        assert (lease["kind"], lease["command"], lease["state"]) == ("reader", "mount", "running")
        assert lease["snapshots"] == [snapshot["id"]]
        assert snapshot["id"][:12] in copied.run("leases").text
        refused = copied.run("leases", "--remove", lease["id"], check=False)
        assert refused.code == BUSY
        assert "is running" in refused.errors
        assert leases(copied) == [{**lease, "last_sign": leases(copied)[0]["last_sign"]}]


def test_a_lost_machines_lease_is_shown_and_removed_by_its_beginning(
    copied: Imbfs, lost: dict[str, Any]
) -> None:
    (lease,) = leases(copied)
    assert (lease["host"], lease["process"], lease["state"]) == ("ship", 7, "recent")
    assert lease["since"] == lost["since"]
    assert "another machine" in copied.run("leases").text
    assert copied.run("leases", "--remove", "abab").code == 0
    assert leases(copied) == []


def test_a_lease_that_tells_nothing_counts_for_nothing(copied: Imbfs) -> None:
    directory = copied.repository / "leases"
    directory.mkdir(exist_ok=True)
    (directory / ("cd" * 16)).write_bytes(b"\xff\x00")
    assert leases(copied)[0]["state"] == "ended"
    assert "damaged" in copied.run("leases").text


@pytest.mark.parametrize("text", ["", "zz", "a"])
def test_what_names_no_lease_or_several_removes_nothing(
    copied: Imbfs, lost: dict[str, Any], text: str, tmp_path: Path
) -> None:
    (copied.repository / "leases" / ("ac" * 16)).write_text(json.dumps(lost))
    result = copied.run("leases", "--remove", text, check=False)
    assert result.code == FAILED
    assert len(leases(copied)) == 2


@pytest.fixture
def theirs(open_path: Path, mark: str, ordinary_user: int) -> Imbfs:
    """The repository of an ordinary user, where root has backed up as well."""
    imbfs = Imbfs(open_path, mark)
    source = open_path / "source"
    source.mkdir()
    (source / "one").write_bytes(os.urandom(100_000))
    os.chown(open_path, ORDINARY_USER, ORDINARY_USER)
    imbfs.run("init", user=ORDINARY_USER)
    imbfs.run("backup", source, user=ORDINARY_USER)
    (source / "two").write_bytes(os.urandom(100_000))
    imbfs.run("backup", source)
    return imbfs


def test_what_root_stores_in_a_users_repository_is_the_users(theirs: Imbfs) -> None:
    files = [path for path in theirs.repository.rglob("*") if "index.lmdb" not in path.name]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in files} == {(ORDINARY_USER, ORDINARY_USER)}
    theirs.run("forget", "latest~1", user=ORDINARY_USER)
    theirs.run("prune", "--max-unused", "0", user=ORDINARY_USER)
    theirs.run("check", "--read-data", user=ORDINARY_USER)
    assert len(theirs.run("cat", "latest:two", user=ORDINARY_USER).stdout) == 100_000


def test_prune_takes_nothing_from_a_process_whose_lease_it_may_not_read(theirs: Imbfs) -> None:
    hidden = theirs.repository / "leases" / f"{'ab' * 16}.reader"
    hidden.write_text("{}")
    hidden.chmod(0o400)
    theirs.run("forget", "latest~1", user=ORDINARY_USER)
    waiting = theirs.run("--json", "prune", "--max-unused", "0", user=ORDINARY_USER).json()
    assert (waiting["packs_removed"], waiting["packs_waiting"] > 0) == (0, True)
    assert "another user" in waiting["waiting_for"][0]
    assert "may not be read" in theirs.run("leases", user=ORDINARY_USER).text
    theirs.run("leases", "--remove", "ab", user=ORDINARY_USER)
    assert theirs.run("--json", "prune", user=ORDINARY_USER).json()["packs_removed"] > 0
    theirs.run("check", "--read-data", user=ORDINARY_USER)


def test_a_cache_that_may_not_be_entered_is_not_needed(theirs: Imbfs, tmp_path: Path) -> None:
    """The index lies in the repository."""
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    assert theirs.run("snapshots", user=ORDINARY_USER, env=env).text.count("\n") == 3
