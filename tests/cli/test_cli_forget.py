"""`forget`: snapshots go by a policy or by name, each with its reasons, and nothing else does."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from backup.model.ids import SnapshotId
from backup.repository import Repository
from tests.support.calendar import add_snapshots, manifest
from tests.support.check import DAMAGED, FAILED, WRONG_USE, assert_clear_error
from tests.support.damage import flip_in_the_middle
from tests.support.imbfs import Imbfs, name
from tests.support.small import FILES

DAYS = [f"2027-01-0{day}T12:00:00+01:00" for day in range(1, 6)]


@pytest.fixture
def days(copied: Imbfs) -> list[SnapshotId]:
    """Five snapshots on five days by a host of its own."""
    return add_snapshots(copied, DAYS, host="laptop", paths=[b"/home/caf\xe9"])


def ids(imbfs: Imbfs) -> list[str]:
    return [snapshot["id"] for snapshot in imbfs.snapshots()]


def reasons(summary: dict[str, Any]) -> dict[str, tuple[bool, list[str]]]:
    return {each["id"]: (each["keep"], each["reasons"]) for each in summary["decisions"]}


def test_each_decision_is_printed_with_its_reasons(copied: Imbfs, days: list[SnapshotId]) -> None:
    result = copied.run("forget", "--host", "laptop", "--keep-last", "1", "--keep-daily", "2")
    lines = result.stdout.splitlines()
    assert lines[0] == b"laptop  /home/caf\xe9"
    assert lines[1].decode().split() == [
        "keep", days[4][:12], "2027-01-05", "12:00:00", "last", "1,", "daily", "2027-01-05"
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[1:]] == [b"keep", b"keep", b"forget", b"forget", b"forget"]
    assert result.errors == "forgot 3 snapshots, 2 kept\n"
    assert ids(copied)[1:] == days[3:]


def test_the_summary_holds_every_decision(copied: Imbfs, days: list[SnapshotId]) -> None:
    summary = copied.run("--json", "forget", "--keep-within", "24h", "--keep-tag", "x").json()
    assert summary["forgotten"] == [days[2], days[1], days[0]]
    assert set(summary["kept"]) == set(ids(copied))
    found = reasons(summary)
    assert found[days[3]] == (True, ["within 24h"])
    assert found[days[2]] == (False, ["no rule keeps it"])
    one = next(each for each in summary["decisions"] if each["id"] == days[0])
    assert one["time"] == DAYS[0]
    assert [name(path) for path in one["paths"]] == [b"/home/caf\xe9"]


def test_a_dry_run_tells_the_same_and_does_nothing(copied: Imbfs, days: list[SnapshotId]) -> None:
    before = ids(copied)
    planned = copied.run("--json", "forget", "--keep-last", "2", "--dry-run").json()
    assert ids(copied) == before
    done = copied.run("--json", "forget", "--keep-last", "2").json()
    assert planned == {**done, "dry_run": True}
    assert set(ids(copied)) == set(done["kept"])


def test_a_policy_that_keeps_nothing_leaves_the_last_one_of_each_source(
    copied: Imbfs, days: list[SnapshotId]
) -> None:
    first = ids(copied)[0]
    summary = copied.run("--json", "forget", "--keep-tag", "no-such").json()
    assert set(ids(copied)) == {first, days[4]}
    assert reasons(summary)[days[4]] == (True, ["last snapshot of its source"])
    copied.run("forget", "--keep-last", "0", "--allow-last")
    assert ids(copied) == []


def test_unlimited_keeps_all(copied: Imbfs, days: list[SnapshotId]) -> None:
    assert copied.run("--json", "forget", "--keep-daily", "unlimited").json()["forgotten"] == []
    assert len(ids(copied)) == 6


def test_snapshots_are_forgotten_by_name_as_they_stood_at_the_beginning(
    copied: Imbfs, days: list[SnapshotId]
) -> None:
    """Parity row 30: delete the oldest, the Nth, all but N."""
    result = copied.run("forget", "latest", "latest~1", "latest", days[0][:12])
    assert len(result.stdout.splitlines()) == 4
    assert ids(copied)[1:] == days[1:3]


def test_the_last_snapshot_of_a_source_is_not_forgotten_by_name(
    copied: Imbfs, days: list[SnapshotId]
) -> None:
    before = ids(copied)
    result = copied.run("forget", *days, check=False)
    assert_clear_error(result, FAILED, "--allow-last")
    assert ids(copied) == before
    copied.run("forget", "--allow-last", *days)
    assert ids(copied) == before[:1]


def test_filters_narrow_what_is_decided_on_and_the_rest_counts_as_staying(
    copied: Imbfs, days: list[SnapshotId]
) -> None:
    tagged = add_snapshots(
        copied, ["2027-02-01T00:00:00+00:00"], host="laptop", paths=[b"/home/caf\xe9"], tags=["x"]
    )
    copied.run("forget", "--tag", "x", "--keep-last", "0")
    assert ids(copied)[1:] == days
    assert tagged[0] not in ids(copied)


@pytest.mark.parametrize(
    ("keys", "left"), [("host,paths", 3), ("host", 2), ("", 1), ("tags", 2), ("host,paths,tags", 3)]
)
def test_groups_are_decided_on_apart(copied: Imbfs, keys: str, left: int) -> None:
    time = ["2027-01-01T00:00:00+00:00", "2027-01-02T00:00:00+00:00"]
    add_snapshots(copied, time, host="laptop", paths=[b"/a"], tags=["x"])
    add_snapshots(copied, time, host="laptop", paths=[b"/b"], tags=["x"])
    copied.run("forget", "--group-by", keys, "--keep-last", "1", "--allow-last")
    assert len(ids(copied)) == left


WRONG = [
    [],
    ["--dry-run"],
    ["latest", "--keep-last", "1"],
    ["--keep-last", "-1"],
    ["--keep-daily", "many"],
    ["--keep-within", "5 days"],
    ["--group-by", "user", "--keep-last", "1"],
    ["--keep-tag", ""],
]


@pytest.mark.parametrize("options", WRONG, ids=" ".join)
def test_wrong_use_forgets_nothing(copied: Imbfs, options: list[str]) -> None:
    before = ids(copied)
    result = copied.run("forget", *options, check=False)
    assert_clear_error(result, WRONG_USE)
    assert ids(copied) == before


def test_a_snapshot_that_does_not_exist_is_told_and_nothing_is_forgotten(
    copied: Imbfs, days: list[SnapshotId]
) -> None:
    result = copied.run("forget", "latest", "0000", check=False)
    assert_clear_error(result, FAILED)
    assert len(ids(copied)) == 6


def test_a_forgotten_snapshot_is_no_damage(copied: Imbfs, days: list[SnapshotId]) -> None:
    copied.run("forget", "latest")
    assert copied.run("check").code == 0
    assert copied.run("snapshots").errors == ""


def test_one_that_was_being_forgotten_when_the_program_died_still_stands(
    copied: Imbfs, days: list[SnapshotId]
) -> None:
    """The index forgets first: a manifest that stays behind is a snapshot like any other."""
    with Repository.open(copied.repository, copied.directory / "cache", print) as repository:
        repository.index.drop_snapshots(repository.catalogue.ids())
    assert ids(copied)[1:] == days
    assert copied.run("check").code == 0
    copied.run("forget", "latest")
    assert ids(copied)[1:] == days[:4]


def test_a_damaged_manifest_is_listed_and_left_alone_unless_it_is_named(
    copied: Imbfs, days: list[SnapshotId]
) -> None:
    path = manifest(copied, days[0])
    flip_in_the_middle(path)
    result = copied.run("forget", "--keep-last", "1")
    assert f"keep    {days[0][:12]}  its manifest is damaged".encode() in result.stdout
    assert path.exists()
    copied.run("forget", days[0][:12])
    assert not path.exists()
    assert copied.run("check").code == 0


def test_a_manifest_that_vanished_can_be_forgotten_by_name(copied: Imbfs) -> None:
    [first] = ids(copied)
    manifest(copied, first).unlink()
    assert copied.run("check", check=False).code == 12
    copied.run("forget", first[:12])
    assert copied.run("check").code == 0


def test_forgetting_in_a_repository_that_cannot_be_written_says_so(
    copied: Imbfs, days: list[SnapshotId]
) -> None:
    kept = copied.repository / "snapshots"
    if subprocess.run(["chattr", "+a", kept], capture_output=True).returncode:
        pytest.skip("this user or file system cannot make a directory append-only")
    try:
        result = copied.run("forget", "latest", check=False)
    finally:
        subprocess.run(["chattr", "-a", kept], check=True)
    assert_clear_error(result, FAILED)
    assert len(ids(copied)) == 6


def test_pruning_frees_what_only_the_forgotten_held_as_the_dry_run_said(saved: Imbfs, source: Path) -> None:
    first = saved.snapshots()[0]["id"]
    (source / "large").unlink()
    saved.run("backup", source)
    arguments = ["--json", "forget", "--keep-last", "1", "--prune", "--max-unused", "0"]
    planned = saved.run(*arguments, "--dry-run").json()
    assert len(ids(saved)) == 2
    assert planned["prune"]["bytes_plain"] > len(FILES[b"large"])
    done = saved.run(*arguments).json()
    assert done["forgotten"] == [first]
    for key in ("objects_removed", "bytes_plain", "packs_unused", "packs_repacked"):
        assert done["prune"][key] == planned["prune"][key]
    assert saved.run("check", "--read-data").code == 0
    assert saved.run("--json", "stats").json()["totals"]["unreachable"]["objects"] == 0


def test_what_was_forgotten_is_told_when_pruning_fails(copied: Imbfs, days: list[SnapshotId]) -> None:
    flip_in_the_middle(manifest(copied, days[0]))
    result = copied.run("--json", "forget", "--keep-last", "1", "--prune", check=False)
    assert result.code == DAMAGED
    assert (result.json()["forgotten"], result.json()["prune"]) == ([days[3], days[2], days[1]], None)
