"""Names for places in a profile: a card or a disk keeps its history wherever it is mounted."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_cli_profiles import Profiles
from tests.support.check import assert_clear_error
from tests.support.imbfs import Imbfs

PARTLY, ALARM = 3, 6


@pytest.fixture
def profiles(imbfs: Imbfs) -> Profiles:
    imbfs.run("init")
    return Profiles(imbfs)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A directory as it lies on a card, old enough that no file may be changing."""
    card = tmp_path / "media/CARD/DCIM"
    (card / "2025/trip").mkdir(parents=True)
    for name in ("a.jpg", "2025/b.jpg", "2025/trip/c.jpg"):
        (card / name).write_text(name * 100)
        os.utime(card / name, (1_600_000_000, 1_600_000_000))
    return card


def write(profiles: Profiles, place: Path, backup: str = 'paths = "photos:"', more: str = "") -> None:
    names = f'repository = "{profiles.imbfs.repository}"\n[names]\nphotos = "{place}"\n'
    profiles.write("home", f"{names}[backup]\n{backup}\n{more}")


def back_up(profiles: Profiles, *options: str) -> dict[str, object]:
    found: dict[str, object] = profiles.run("--json", "--profile", "home", "backup", *options).json()
    return found


def moved(card: Path, tmp_path: Path) -> Path:
    """The card, mounted elsewhere: its files keep their inodes and times."""
    there = tmp_path / "mnt/card"
    there.parent.mkdir()
    card.rename(there)
    return there


def test_a_name_stands_for_its_place_wherever_the_profile_takes_a_path(
    profiles: Profiles, card: Path, tmp_path: Path
) -> None:
    """Parity row 12: virtual names mapped to physical ones."""
    rule = '[[rule]]\npath = "photos:2025"\nexclude = "c.jpg"\n'
    more = f'immutable = "photos:a.jpg"\nlocked = "photos:2025/trip"\n{rule}'
    write(profiles, card, f'paths = ["photos:", "{tmp_path}/more"]', more)
    (tmp_path / "more").mkdir()
    profiles.run("--profile", "home", "backup", check=False)
    [snapshot] = profiles.imbfs.snapshots()
    assert snapshot["paths"] == sorted([str(card), f"{tmp_path}/more"])
    (card / "a.jpg").write_text("another")
    result = profiles.run("--profile", "home", "backup", check=False)
    assert result.code == ALARM
    assert f"{card}/2025/trip: locked" in result.errors
    why = profiles.run("--profile", "home", "why", "photos:2025/trip/c.jpg", "photos:2025/b.jpg").text
    assert [line.split()[:2] for line in why.splitlines()] == [
        ["out", f"{card}/2025/trip/c.jpg:"],
        ["in", f"{card}/2025/b.jpg:"],
    ]


def test_a_name_stands_for_its_place_on_the_command_line(profiles: Profiles, card: Path) -> None:
    """Parity row 12: virtual names mapped to physical ones."""
    write(profiles, card)
    profiles.run("--profile", "home", "backup", "photos:2025")
    assert profiles.imbfs.snapshots()[0]["paths"] == [str(card / "2025")]
    assert profiles.run("--profile", "home", "status", "photos:2025/trip").code == 0
    profiles.run("--profile", "home", "source", "lock", "photos:2025/trip")
    assert list(map(str, profiles.run("source", "list").text.split("\n")))[1].startswith(f"{card}/2025/trip ")
    assert "a.jpg" in profiles.run("--profile", "home", "versions", "photos:2025/b.jpg").text.replace(
        "b.jpg", "a.jpg"
    )


def test_a_source_that_was_moved_with_its_name_is_not_read_again(
    profiles: Profiles, card: Path, tmp_path: Path
) -> None:
    """Parity row 12: virtual names mapped to physical ones."""
    write(profiles, card)
    first = back_up(profiles)
    there = moved(card, tmp_path)
    write(profiles, there)
    second = back_up(profiles)
    assert second["parent"] == first["snapshot"]
    assert (second["files_unchanged"], second["files_new"], second["files_removed"]) == (3, 0, 0)
    assert second["bytes_read"] == 0
    older, newer = profiles.imbfs.snapshots()
    assert (older["paths"], newer["paths"]) == ([str(card)], [str(there)])
    assert profiles.run("--profile", "home", "diff", "latest~1", "latest").text == "no change\n"


def test_versions_and_policies_go_on_where_a_source_was_moved(
    profiles: Profiles, card: Path, tmp_path: Path
) -> None:
    write(profiles, card)
    back_up(profiles)
    there = moved(card, tmp_path)
    write(profiles, there, more="[forget]\nkeep-last = 1")
    back_up(profiles)
    (there / "a.jpg").write_text("changed")
    back_up(profiles)
    found = json.loads(profiles.run("--json", "--profile", "home", "versions", "photos:a.jpg").stdout)
    assert [(each["source"], len(each["snapshots"])) for each in found] == [
        (f"{there}/a.jpg", 2),
        (f"{there}/a.jpg", 1),
    ]
    assert len(profiles.run("--json", "--profile", "home", "forget").json()["forgotten"]) == 2


def test_what_is_immutable_stays_so_where_the_source_was_moved(
    profiles: Profiles, card: Path, tmp_path: Path
) -> None:
    rule = '[[rule]]\npath = "photos:"\nimmutable = true\n'
    write(profiles, card, more=rule)
    back_up(profiles)
    there = moved(card, tmp_path)
    write(profiles, there, more=rule)
    (there / "a.jpg").unlink()
    result = profiles.run("--profile", "home", "backup", check=False)
    assert (result.code, f"{there}/a.jpg is immutable" in result.errors) == (ALARM, True)
    assert b"a.jpg" in profiles.imbfs.ls("latest")


def test_a_name_of_another_profile_is_another_name(profiles: Profiles, card: Path, tmp_path: Path) -> None:
    write(profiles, card)
    back_up(profiles)
    other = tmp_path / "other"
    other.mkdir()
    (other / "x").write_text("x")
    home = profiles.directory / "home.toml"
    home.rename(profiles.directory / "away.toml")
    write(profiles, other, more="[forget]\nkeep-last = 1")
    home.rename(profiles.directory / "home2.toml")
    result = profiles.run("--json", "--profile", "home2", "backup").json()
    assert (result["parent"], result["files_new"]) == (None, 1)
    assert profiles.run("--json", "--profile", "home2", "forget").json()["forgotten"] == []


def test_a_named_source_that_is_not_mounted_deletes_nothing(
    profiles: Profiles, card: Path, tmp_path: Path
) -> None:
    """Parity row 18: what is not mounted deletes nothing, also where it is mounted at another place."""
    if os.geteuid():
        pytest.skip("mounts need root")
    write(profiles, card)
    back_up(profiles)
    there = tmp_path / "mnt"
    there.mkdir()
    write(profiles, there)
    # The new place is a mount point, and nothing of the card is on it.
    subprocess.run(["mount", "-t", "tmpfs", "none", there], check=True)
    try:
        result = profiles.run("--profile", "home", "backup", check=False)
        assert (result.code, "not mounted now" in result.errors) == (PARTLY, True)
        assert b"a.jpg" in profiles.imbfs.ls("latest")
    finally:
        subprocess.run(["umount", there], check=True)
    write(profiles, tmp_path / "nowhere")
    assert_clear_error(
        profiles.run("--profile", "home", "backup", check=False), 1, "nowhere", "nothing was backed up"
    )


def test_a_disk_inside_a_named_source_is_missed_where_both_were_moved(
    profiles: Profiles, card: Path, tmp_path: Path
) -> None:
    if os.geteuid():
        pytest.skip("mounts need root")
    (card / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", card / "disk"], check=True)
    try:
        (card / "disk/inside").write_text("inside")
        write(profiles, card)
        back_up(profiles)
    finally:
        subprocess.run(["umount", card / "disk"], check=True)
    write(profiles, moved(card, tmp_path))
    for _ in range(2):
        result = profiles.run("--profile", "home", "backup", check=False)
        assert (result.code, "disk: what was mounted here is not mounted now" in result.errors) == (
            PARTLY,
            True,
        )
        assert b"disk/inside" in profiles.imbfs.ls("latest", "-R")


def test_a_profile_with_names_is_exported_and_imported(
    profiles: Profiles, card: Path, tmp_path: Path
) -> None:
    write(profiles, card)
    copy = tmp_path / "copy.json"
    copy.write_bytes(profiles.run("--json", "profile", "export", "home").stdout)
    profiles.run("profile", "import", copy, "copy")
    profiles.run("--profile", "copy", "backup")
    assert profiles.imbfs.snapshots()[0]["paths"] == [str(card)]


def test_only_the_latest_state_is_kept_where_the_source_was_moved(
    profiles: Profiles, card: Path, tmp_path: Path
) -> None:
    rule = '[[rule]]\npath = "photos:2025"\nhistory = "latest"\n[forget]\nkeep-last = 9'
    write(profiles, card, more=rule)
    back_up(profiles)
    write(profiles, moved(card, tmp_path), more=rule)
    profiles.run("run", "home")
    assert set(profiles.imbfs.ls("latest~1", "-R")) == {b"a.jpg"}
    assert b"2025/trip/c.jpg" in profiles.imbfs.ls("latest", "-R")
