"""`mirror` and `export`: plain copies, that need imbfs no more."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support.check import FAILED, WRONG_USE, assert_clear_error
from tests.support.compare import differences
from tests.support.everything import Everything
from tests.support.imbfs import Imbfs, name
from tests.support.small import FILES, WRITTEN, bytes_of


def inodes(root: Path) -> dict[Path, int]:
    return {path: path.lstat().st_ino for path in root.rglob("*") if not path.is_dir()}


def test_a_mirror_is_equal_to_the_snapshot(saved: Imbfs, source: Path, tmp_path: Path) -> None:
    saved.run("mirror", tmp_path / "mirror")
    assert differences(source, tmp_path / "mirror", holes=True) == []


def test_a_mirror_follows_and_only_what_differs_is_touched(
    saved: Imbfs, source: Path, tmp_path: Path
) -> None:
    """Parity row 35: a mirror in the newest state."""
    mirror = tmp_path / "mirror"
    saved.run("mirror", mirror)
    before = inodes(mirror)
    (source / "sub/one").write_text("new version")
    (source / "large").unlink()
    shutil.rmtree(source / "sub/deeper")
    (source / "new").write_text("new")
    saved.run("backup", source)
    saved.run("mirror", "latest", mirror)
    assert differences(source, mirror, holes=True) == []
    after = inodes(mirror)
    assert {path.name for path in after if before.get(path) != after[path]} == {"one", "new"}


@pytest.mark.parametrize("where", ["mine", "sub/mine", "readme", "new directory/mine"])
def test_what_no_snapshot_holds_is_not_touched_unless_told(
    saved: Imbfs, source: Path, tmp_path: Path, where: str
) -> None:
    """Parity row 26: nothing unknown is overwritten."""
    mirror = tmp_path / "mirror"
    saved.run("mirror", mirror)
    (source / "new").write_text("new")
    saved.run("backup", source)
    (mirror / where).parent.mkdir(exist_ok=True)
    (mirror / where).unlink(missing_ok=True)
    (mirror / where).write_text("written by hand")
    before = bytes_of(mirror)
    result = saved.run("mirror", mirror, check=False)
    assert_clear_error(result, FAILED, where, "--force")
    assert bytes_of(mirror) == before
    saved.run("mirror", "--force", mirror)
    assert differences(source, mirror, holes=True) == []


def test_an_older_version_made_by_hand_is_known_and_may_go(
    saved: Imbfs, source: Path, tmp_path: Path
) -> None:
    """Any copy of what the repository holds: nothing is lost."""
    shutil.copytree(source, tmp_path / "mirror", symlinks=True)
    (source / "large").unlink()
    (source / "sub/one").write_text("new version")
    saved.run("backup", source)
    saved.run("mirror", tmp_path / "mirror")
    assert differences(source, tmp_path / "mirror") == []


def test_a_directory_of_a_snapshot_is_mirrored(saved: Imbfs, source: Path, tmp_path: Path) -> None:
    saved.run("mirror", "latest:sub", tmp_path / "mirror")
    (source / "sub/one").unlink()
    saved.run("backup", source)
    saved.run("mirror", "latest:sub", tmp_path / "mirror")
    assert bytes_of(source / "sub") == bytes_of(tmp_path / "mirror")


def test_what_is_gone_is_parked_and_used_again(saved: Imbfs, source: Path, tmp_path: Path) -> None:
    """Found by its last path. Row 25."""
    mirror, park = tmp_path / "mirror", tmp_path / "park"
    saved.run("mirror", mirror)
    inode = (mirror / "large").stat().st_ino
    os.rename(source / "large", tmp_path / "large")
    shutil.rmtree(source / "sub/deeper")
    saved.run("backup", source)
    summary = saved.run("--json", "mirror", "--park", park, mirror).json()
    assert summary["parked"] == 2
    assert differences(source, mirror) == []
    assert bytes_of(park) == {
        path: FILES[path]
        for path in FILES
        if path in (b"large", b"sub/deeper/two", b"sub/deeper/same as readme")
    }
    os.rename(tmp_path / "large", source / "large")
    saved.run("backup", source)
    saved.run("mirror", "--park", park, mirror)
    assert (mirror / "large").stat().st_ino == inode
    assert not (park / "large").exists()


def test_a_symlink_out_of_a_mirror_is_removed_and_not_what_it_leads_to(
    saved: Imbfs, source: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("victim")
    (source / "way out").symlink_to(outside)
    saved.run("backup", source)
    saved.run("mirror", tmp_path / "mirror")
    (source / "way out").unlink()
    saved.run("backup", source)
    saved.run("mirror", tmp_path / "mirror")
    assert not os.path.lexists(tmp_path / "mirror/way out")
    assert (outside / "victim").read_text() == "victim"


def test_a_dry_run_of_a_mirror_changes_nothing(copied: Imbfs, tmp_path: Path) -> None:
    copied.run("mirror", "--dry-run", tmp_path / "mirror")
    assert not (tmp_path / "mirror").exists()


def test_a_place_in_the_repository_or_a_park_in_the_mirror_is_refused(copied: Imbfs, tmp_path: Path) -> None:
    assert_clear_error(copied.run("mirror", copied.repository / "m", check=False), FAILED, "repository")
    result = copied.run("mirror", "--park", tmp_path / "m/park", tmp_path / "m", check=False)
    assert_clear_error(result, WRONG_USE, "--park")


# ---- export --------------------------------------------------------------------------------------


def test_an_export_has_all_metadata(imbfs: Imbfs, everything: Everything, real_disk: Path) -> None:
    imbfs.run("init")
    imbfs.run("backup", everything.root)
    target = real_disk / "export"
    imbfs.run("export", "latest", target)
    try:
        assert differences(everything.root, target, holes=True) == []
    finally:
        shutil.rmtree(target)


def test_an_export_goes_to_an_empty_place_alone(copied: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("mine")
    for options in ((), ("--increment",)):
        result = copied.run("export", *options, "latest", tmp_path / "full", check=False)
        assert_clear_error(result, FAILED, "not empty")
    assert bytes_of(tmp_path / "full") == {b"mine": b"mine"}


def test_an_exported_increment_has_what_changed_what_is_gone_and_the_list(
    saved: Imbfs, source: Path, tmp_path: Path
) -> None:
    """Row 35. With new empty directories, and nested ones that are gone."""
    (source / "sub/one").write_text("new version")
    (source / "new/empty").mkdir(parents=True)
    shutil.rmtree(source / "sub/deeper")
    saved.run("backup", source)
    export = tmp_path / "export"
    saved.run("export", "--increment", "latest", export)
    assert sorted(os.listdir(export)) == ["changes.jsonl", "deleted", "files"]
    assert bytes_of(export / "files")[b"sub/one"] == b"new version"
    assert (export / "files/new/empty").is_dir()
    assert sorted(bytes_of(export / "deleted")) == [b"sub/deeper/same as readme", b"sub/deeper/two"]
    lines = [json.loads(line) for line in (export / "changes.jsonl").read_bytes().splitlines()]
    changed = {os.fsdecode(name(line["path"])): line["change"] for line in lines}
    assert changed["sub/one"] == "content"
    assert changed["new/empty"] == "added"
    assert changed["sub/deeper/two"] == "removed"
    with saved.mounted("latest", "--increment") as mount:
        assert differences(mount / "deleted", export / "deleted") == []
        assert (mount / "changes.jsonl").read_bytes() == (export / "changes.jsonl").read_bytes()


def test_exported_increments_stand_for_themselves(saved: Imbfs, source: Path, tmp_path: Path) -> None:
    """A later one changes no byte of an earlier one; each can be moved or removed. Row 35."""
    (source / "sub/one").write_text("second")
    saved.run("backup", source)
    saved.run("export", "--increment", "latest", tmp_path / "one")
    kept = bytes_of(tmp_path / "one")
    (source / "sub/one").write_text("third!")
    os.utime(source / "sub/one", (WRITTEN + 9, WRITTEN + 9))
    saved.run("backup", source)
    saved.run("export", "--increment", "latest~1..latest", tmp_path / "two")
    os.rename(tmp_path / "two", tmp_path / "moved")
    shutil.rmtree(saved.repository)
    assert bytes_of(tmp_path / "one") == kept
    assert bytes_of(tmp_path / "moved")[b"files/sub/one"] == b"third!"
