"""`backup --immutable`: changes of what must not change are alarms, and the stored version stays."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.test_cli_metrics import read
from tests.cli.test_cli_profiles import Profiles
from tests.support.check import WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs, Result

ALARM = 6


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos that are never to change, beside notes that may."""
    photos = tmp_path / "home/photos"
    for name in ("2024/a.jpg", "2024/b.jpg", "2025/c.jpg", "../notes/n.txt"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_text(name * 100)
    return photos


@pytest.fixture
def kept(imbfs: Imbfs, photos: Path) -> Imbfs:
    imbfs.run("init")
    imbfs.run("backup", photos.parent, "--immutable", photos)
    return imbfs


def backup(imbfs: Imbfs, photos: Path, *args: str | Path) -> Result:
    return imbfs.run("--json", "backup", photos.parent, "--immutable", photos, *args, check=False)


def alarms(result: Result) -> dict[str, str]:
    return {alarm["path"]: alarm["change"] for alarm in result.json()["alarms"]}


def stored(imbfs: Imbfs) -> set[str]:
    found = imbfs.run("--json", "ls", "-R", "latest").json()
    return {entry["path"] for entry in found if entry["kind"] == "file"}


def test_what_changed_or_went_is_an_alarm_and_stays_as_it_was(kept: Imbfs, photos: Path) -> None:
    """Parity rows 10, 23: of what must not change, a modification is an alarm, not an update."""
    (photos / "2024/a.jpg").write_text("encrypted")
    (photos / "2024/b.jpg").unlink()
    (photos / "2025/d.jpg").write_text("new")
    (photos / "../notes/n.txt").write_text("other")
    result = backup(kept, photos)
    assert result.code == ALARM
    assert alarms(result) == {"photos/2024/a.jpg": "changed", "photos/2024/b.jpg": "removed"}
    assert f"alarm: {photos}/2024/a.jpg is immutable, and has other content: kept" in result.errors
    assert kept.run("cat", "latest:photos/2024/a.jpg").text == "2024/a.jpg" * 100
    assert kept.run("cat", "latest:photos/2024/b.jpg").text == "2024/b.jpg" * 100
    assert kept.run("cat", "latest:photos/2025/d.jpg").text == "new"
    assert kept.run("cat", "latest:notes/n.txt").text == "other"
    assert kept.run("--json", "show", "latest").json()["statistics"]["alarms"] == 2
    kept.run("check", "--read-data")


def test_the_alarm_is_raised_again_until_the_change_is_accepted_or_undone(kept: Imbfs, photos: Path) -> None:
    (photos / "2024/a.jpg").write_text("other")
    (photos / "2024/b.jpg").unlink()
    assert backup(kept, photos).code == ALARM
    again = backup(kept, photos, "--skip-unchanged")
    assert (again.code, again.json()["snapshot"]) == (ALARM, None)
    accepted = backup(kept, photos, "--accept-changes", photos / "2024/a.jpg")
    assert alarms(accepted) == {"photos/2024/b.jpg": "removed"}
    assert kept.run("cat", "latest:photos/2024/a.jpg").text == "other"
    kept.run("restore", "latest:photos/2024/b.jpg", "--in-place")
    assert backup(kept, photos).code == 0


def test_additions_renames_and_metadata_are_no_alarms(kept: Imbfs, photos: Path) -> None:
    """Metadata is an update; a removed directory of which all was moved is a rename."""
    (photos / "2024").rename(photos / "year 2024")
    (photos / "2025/c.jpg").rename(photos / "year 2024/c.jpg")
    (photos / "2025").rmdir()
    (photos / "year 2024/a.jpg").chmod(0o600)
    os.utime(photos / "year 2024/a.jpg", (1, 1))
    os.link(photos / "year 2024/b.jpg", photos / "same as b.jpg")
    result = backup(kept, photos)
    assert (result.code, alarms(result)) == (0, {})
    names = {"same as b.jpg", "year 2024/a.jpg", "year 2024/b.jpg", "year 2024/c.jpg"}
    assert stored(kept) == {f"photos/{name}" for name in names} | {"notes/n.txt"}


def test_a_directory_that_goes_is_one_alarm_with_all_in_it(kept: Imbfs, photos: Path) -> None:
    before = stored(kept)
    shutil.rmtree(photos / "2024")
    result = backup(kept, photos)
    assert alarms(result) == {"photos/2024": "removed"}
    assert f"{photos}/2024 is immutable, and is gone, with 2 files: kept" in result.errors
    assert stored(kept) == before


def test_a_directory_in_the_place_of_a_file_and_a_file_in_that_of_a_directory(
    kept: Imbfs, photos: Path
) -> None:
    shutil.rmtree(photos / "2024")
    (photos / "2024").write_text("a file")
    (photos / "2025/c.jpg").unlink()
    (photos / "2025/c.jpg").mkdir()
    (photos / "2025/c.jpg/new").write_text("new")
    before = stored(kept)
    result = backup(kept, photos)
    assert alarms(result) == {"photos/2024": "replaced", "photos/2025/c.jpg": "replaced"}
    assert stored(kept) == before


def test_what_is_moved_out_or_over_something_else_is_in_the_snapshot_still(kept: Imbfs, photos: Path) -> None:
    (photos / "2025/c.jpg").rename(photos.parent / "c.jpg")
    (photos / "2024/a.jpg").rename(photos / "2024/b.jpg")
    result = backup(kept, photos)
    moved = {"photos/2025/c.jpg": "moved", "photos/2024/a.jpg": "moved"}
    assert alarms(result) == {**moved, "photos/2024/b.jpg": "replaced"}
    assert f"{photos}/2025/c.jpg is immutable, and was moved to {photos.parent}/c.jpg" in result.errors
    for name in ("2024/a.jpg", "2024/b.jpg", "2025/c.jpg"):
        assert kept.run("cat", f"latest:photos/{name}").text == name * 100
    assert kept.run("cat", "latest:c.jpg").text == "2025/c.jpg" * 100


def test_an_edit_through_a_hard_link_from_outside_is_an_alarm(imbfs: Imbfs, photos: Path) -> None:
    """What they got wrong: editing the source edits the backup through a hard link."""
    os.link(photos / "2024/a.jpg", photos.parent / "a.jpg")
    imbfs.run("init")
    imbfs.run("backup", photos.parent, "--immutable", photos)
    with (photos.parent / "a.jpg").open("a") as file:
        file.write("more")
    result = backup(imbfs, photos)
    assert alarms(result) == {"photos/2024/a.jpg": "changed"}
    assert imbfs.run("cat", "latest:photos/2024/a.jpg").text == "2024/a.jpg" * 100
    assert imbfs.run("cat", "latest:a.jpg").text == "2024/a.jpg" * 100 + "more"
    imbfs.run("restore", "latest", "--target", imbfs.directory / "back")
    assert (imbfs.directory / "back/photos/2024/a.jpg").read_text() == "2024/a.jpg" * 100


def test_an_edit_of_the_same_size_and_time_is_an_alarm_where_all_is_read(kept: Imbfs, photos: Path) -> None:
    """What they got wrong: an edit of the same size goes unseen."""
    path = photos / "2024/a.jpg"
    status = path.stat()
    path.write_text("X" + path.read_text()[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert alarms(backup(kept, photos, "--read-all")) == {"photos/2024/a.jpg": "changed"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_no_alarm(kept: Imbfs, photos: Path) -> None:
    (photos / "2024").chmod(0)
    try:
        assert backup(kept, photos).code == 3
    finally:
        (photos / "2024").chmod(0o700)


def test_the_first_backup_of_these_paths_says_that_nothing_is_compared(kept: Imbfs, photos: Path) -> None:
    (photos / "2024/a.jpg").write_text("other")
    result = kept.run("backup", photos, "--immutable", photos)
    assert "no snapshot is of exactly these paths: what is immutable is stored as it is now" in result.errors


def test_a_dry_run_raises_the_alarm_and_stores_nothing(kept: Imbfs, photos: Path) -> None:
    (photos / "2024/a.jpg").write_text("other")
    result = backup(kept, photos, "--dry-run")
    assert (result.code, len(kept.snapshots())) == (ALARM, 1)
    assert alarms(result) == {"photos/2024/a.jpg": "changed"}


def test_what_is_expected_does_not_mean_alarms(kept: Imbfs, photos: Path) -> None:
    (photos / "2024/a.jpg").write_text("other")
    (photos / "2024/d.jpg").write_text("new")
    result = backup(kept, photos, "--expect", "only-additions")
    assert (result.code, result.json()["files_new"]) == (ALARM, 1)
    (photos.parent / "notes/n.txt").write_text("other")
    assert backup(kept, photos, "--expect", "only-additions").code == 4


def test_wildcards_choose_and_a_bang_takes_out_again(imbfs: Imbfs, photos: Path) -> None:
    guards = ("--immutable", photos / "**/*.jpg", "--immutable", f"!{photos}/2025")
    (photos / "2024/[x].txt").write_text("may change")
    imbfs.run("init")
    imbfs.run("backup", photos.parent, *guards)
    for path in photos.rglob("*.*"):
        path.write_text("other")
    result = imbfs.run("--json", "backup", photos.parent, *guards, check=False)
    assert alarms(result).keys() == {f"photos/{name}" for name in ("2024/a.jpg", "2024/b.jpg", "2025/c.jpg")}


def test_a_name_with_wildcards_in_it_is_taken_as_it_is_too(imbfs: Imbfs, photos: Path) -> None:
    place = photos / "trip [2024]"
    place.mkdir()
    (place / b"caf\xe9\n".decode(errors="surrogateescape")).write_text("x")
    imbfs.run("init")
    imbfs.run("backup", photos, "--immutable", place)
    shutil.rmtree(place)
    result = imbfs.run("--json", "backup", photos, "--immutable", place, check=False)
    assert alarms(result) == {"trip [2024]": "removed"}


def test_rules_that_guard_nothing_are_told(kept: Imbfs, photos: Path) -> None:
    typo = kept.run("backup", photos.parent, "--immutable", photos / "20224")
    assert "20224 is to be immutable, and nothing is there" in typo.errors
    outside = kept.run("backup", photos.parent, "--immutable", "/etc", check=False)
    assert_clear_error(outside, WRONG_USE, "/etc")
    nothing = kept.run("backup", photos.parent, "--accept-changes", photos, check=False)
    assert_clear_error(nothing, WRONG_USE, "--immutable")


def test_a_profile_guards_a_tree_and_its_hooks_and_metrics_know(imbfs: Imbfs, photos: Path) -> None:
    """After an alarm, a run forgets nothing."""
    imbfs.run("init")
    told = imbfs.directory / "told"
    hook = json.dumps(["sh", "-c", f'echo "$IMBFS_EXIT_CODE $IMBFS_ALARMS" > {told}'])
    profiles = Profiles(imbfs)
    rules = f"[[rule]]\npath = {json.dumps(str(photos))}\nimmutable = true\n"
    rules += f"[[rule]]\npath = {json.dumps(str(photos / '2025'))}\nimmutable = false\n"
    profiles.sound("home", [photos.parent], f"{rules}[forget]\nkeep-last = 1\n[hooks]\non-failure = {hook}\n")
    profiles.run("run", "home")
    (photos / "2024/a.jpg").write_text("other")
    (photos / "2025/c.jpg").write_text("other")
    metrics = imbfs.directory / "metrics"
    result = profiles.run("--json", "run", "home", "--metrics", metrics, check=False)
    assert result.code == ALARM
    assert [alarm["path"] for alarm in result.json()["backup"]["alarms"]] == ["photos/2024/a.jpg"]
    assert result.json()["forget"] is None
    assert told.read_text() == "6 1\n"
    assert read(metrics)["imbfs_backup_alarms", "run", "home"] == 1
    status = profiles.run("--profile", "home", "status", check=False)
    assert f"alarm: {photos}/2024/a.jpg is immutable" in status.errors
    assert status.code == 4
    accepted = ("--profile", "home", "backup", "--accept-changes", photos)
    assert profiles.run(*accepted).code == 0
