"""`restore`: everything back, into an empty directory and onto what is there."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.check import DONE, FAILED, IN_PART, WRONG_USE, assert_clear_error, assert_no_traceback
from tests.support.compare import differences
from tests.support.everything import noise, write
from tests.support.imbfs import Imbfs, Result, wait_until
from tests.support.in_memory import leftovers
from tests.support.small import FILES, bytes_of


def test_a_restored_tree_is_equal(saved: Imbfs, source: Path, tmp_path: Path) -> None:
    saved.run("restore", "latest", "--target", tmp_path / "back")
    assert differences(source, tmp_path / "back", holes=True) == []


def test_a_directory_of_a_snapshot_is_restored_alone(saved: Imbfs, source: Path, tmp_path: Path) -> None:
    saved.run("restore", "latest:sub/deeper", "--target", tmp_path / "back")
    found = bytes_of(tmp_path / "back")
    assert set(found.values()) == {FILES[b"sub/deeper/two"], FILES[b"readme"]}
    assert {path.split(b"/")[-1] for path in found} == {b"two", b"same as readme"}


def test_a_file_of_a_snapshot_is_restored_alone(copied: Imbfs, tmp_path: Path) -> None:
    copied.run("restore", "latest:sub/one", "--target", tmp_path / "back")
    assert list(bytes_of(tmp_path / "back").values()) == [FILES[b"sub/one"]]


def test_a_missing_path_restores_nothing(copied: Imbfs, tmp_path: Path) -> None:
    result = copied.run("restore", "latest:no/such", "--target", tmp_path / "back", check=False)
    assert_clear_error(result, FAILED, "no/such")
    assert not (tmp_path / "back").exists() or not os.listdir(tmp_path / "back")


def test_restore_without_a_place_is_wrong_use(copied: Imbfs) -> None:
    assert_clear_error(copied.run("restore", "latest", check=False), WRONG_USE)


def inode_and_ctime(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_ino, status.st_ctime_ns


def test_restoring_twice_leaves_identical_files_untouched(copied: Imbfs, tmp_path: Path) -> None:
    back = tmp_path / "back"
    copied.run("restore", "latest", "--target", back)
    before = {path: inode_and_ctime(path) for path in back.rglob("*") if path.is_file()}
    copied.run("restore", "latest", "--target", back)
    assert {path: inode_and_ctime(path) for path in before} == before


def test_restore_puts_right_what_is_wrong(saved: Imbfs, source: Path, tmp_path: Path) -> None:
    back = tmp_path / "back"
    saved.run("restore", "latest", "--target", back)
    (back / "sub" / "one").write_bytes(b"not this")
    (back / "readme").unlink()
    (back / "symlink").unlink()
    (back / "symlink").symlink_to("elsewhere")
    (back / "large").chmod(0o600)
    saved.run("restore", "latest", "--target", back)
    assert differences(source, back, holes=True) == []


def test_restore_leaves_what_the_snapshot_does_not_have(copied: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "mine").write_text("keep me")
    copied.run("restore", "latest", "--target", tmp_path / "back")
    assert (tmp_path / "back" / "mine").read_text() == "keep me"


def test_a_symlink_in_the_target_is_never_followed(copied: Imbfs, tmp_path: Path) -> None:
    back, outside = tmp_path / "back", tmp_path / "outside"
    back.mkdir()
    outside.mkdir()
    (outside / "victim").write_text("victim")
    (back / "sub").symlink_to(outside)
    (back / "readme").symlink_to(outside / "victim")
    result = copied.run("restore", "latest", "--target", back, check=False)
    assert result.code in (DONE, IN_PART, FAILED), result
    assert_no_traceback(result)
    assert os.listdir(outside) == ["victim"]
    assert (outside / "victim").read_text() == "victim"


def test_restore_does_not_write_through_a_hard_link_of_the_target(copied: Imbfs, tmp_path: Path) -> None:
    back = tmp_path / "back"
    back.mkdir()
    (tmp_path / "other").write_text("other")
    os.link(tmp_path / "other", back / "readme")
    copied.run("restore", "latest", "--target", back)
    assert (tmp_path / "other").read_text() == "other"
    assert (back / "readme").read_bytes() == FILES[b"readme"]


def test_a_dry_run_writes_nothing(copied: Imbfs, tmp_path: Path) -> None:
    copied.run("restore", "latest", "--target", tmp_path / "back", "--dry-run")
    assert not (tmp_path / "back").exists()


def test_restore_into_a_file_is_refused(copied: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert_clear_error(copied.run("restore", "latest", "--target", tmp_path / "file", check=False), FAILED)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("selector", ["latest~1", "tag:none"])
def test_an_unknown_snapshot_restores_nothing(copied: Imbfs, tmp_path: Path, selector: str) -> None:
    result = copied.run("restore", selector, "--target", tmp_path / "back", check=False)
    assert_clear_error(result, FAILED)
    assert not (tmp_path / "back").exists()


def test_what_a_killed_restore_left_is_removed_by_the_next_one(
    saved: Imbfs, source: Path, tmp_path: Path
) -> None:
    back = tmp_path / "back"
    saved.run("restore", "latest", "--target", back)
    with subprocess.Popen(["true"]) as ended:
        pass
    left = [
        back / f".imbfs-restore-{ended.pid:08x}00000001",
        back / "sub" / ".imbfs-restore-ffffffff00000001",
    ]
    for path in left:
        path.write_bytes(b"half")
    running = back / f".imbfs-restore-{os.getpid():08x}00000001"
    running.write_bytes(b"of a restore that goes on")
    (back / "readme").unlink()
    saved.run("restore", "latest", "--target", back, "--dry-run")
    assert all(path.exists() for path in left)
    saved.run("restore", "latest", "--target", back)
    assert not any(path.exists() for path in left)
    running.unlink()
    saved.run("restore", "latest", "--target", back)
    assert differences(source, back, holes=True) == []


def test_a_restore_killed_at_any_moment_goes_on_where_it_was(imbfs: Imbfs, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    for number in range(40):
        (source / str(number)).mkdir(parents=True)
        for name in "abc":
            write(os.fsencode(source / str(number) / name), noise(200_000, number))
    imbfs.run("init")
    imbfs.run("backup", source)
    for files in (1, 20, 60):
        with imbfs.start("restore", "latest", "--target", back) as restore:
            wait_until(lambda files=files: len(list(back.glob("*/?"))) >= files, "files to appear")  # type: ignore[misc]
            restore.send(signal.SIGKILL)
    before = {path: inode_and_ctime(path) for path in back.rglob("?") if path.is_file()}
    assert len(before) >= 60
    imbfs.run("restore", "latest", "--target", back)
    same = [path for path, seen in before.items() if inode_and_ctime(path) == seen]
    assert len(same) >= len(before) - 1
    assert differences(source, back) == []
    assert leftovers(back) == []


def test_a_file_or_directory_is_restored_under_another_name(
    saved: Imbfs, source: Path, tmp_path: Path
) -> None:
    """Parity row 40: extract one or all, under another name."""
    back = tmp_path / "back"
    saved.run("restore", "latest:sub/one", "--target", back, "--as", "one more")
    assert bytes_of(back) == {b"one more": FILES[b"sub/one"]}
    saved.run("restore", "latest:sub/deeper", "--target", back, "--as", "below")
    assert differences(source / "sub" / "deeper", back / "below") == []
    saved.run("restore", "latest:readme", "--target", back, b"--as", b"caf\xe9")
    assert (os.fsencode(back) + b"/caf\xe9") in [entry.path for entry in os.scandir(os.fsencode(back))]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_another_name_is_a_name(copied: Imbfs, tmp_path: Path, name: str) -> None:
    result = copied.run("restore", "latest:readme", "--target", tmp_path / "back", "--as", name, check=False)
    assert_clear_error(result, WRONG_USE, "--as")


def plan(result: Result, verb: str) -> list[str]:
    begin = f"imbfs: {verb} "
    return sorted(line.removeprefix(begin) for line in result.errors.splitlines() if line.startswith(begin))


def test_what_is_in_the_way_is_named_before_it_is_changed(copied: Imbfs, tmp_path: Path) -> None:
    """All of it, and the same as a dry run says. Row 26."""
    target = tmp_path / "target"
    copied.run("restore", "latest", "--target", target)
    (target / "readme").write_text("mine")
    (target / "unknown").write_text("mine")
    shutil.rmtree(target / "sub")
    (target / "sub").write_text("in the way")
    arguments = ("restore", "latest", "--target", target, "--delete")
    foretold = plan(copied.run(*arguments, "--dry-run"), "would")
    assert (target / "readme").read_text() == (target / "unknown").read_text() == "mine"
    done = copied.run(*arguments)
    assert plan(done, "will") == foretold
    assert foretold == [
        "delete: unknown",
        "remove, because it is in the way (file, not dir): sub",
        "replace: readme",
    ]
    assert bytes_of(target).items() >= FILES.items()
    # Where nothing is in the way, or the user said what is to happen, nothing is told.
    (target / "readme").write_text("mine")
    assert plan(copied.run(*arguments, "--overwrite", "if-changed"), "will") == []
    assert plan(copied.run(*arguments), "will") == []


def test_of_many_conflicts_the_first_are_named_and_the_rest_counted(copied: Imbfs, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    for number in range(50):
        (target / f"mine-{number}").touch()
    result = copied.run("restore", "latest", "--target", target, "--delete")
    assert len(plan(result, "will")) == 20
    assert "30 more" in result.errors
