"""A tree of every kind of thing comes back to the last bit: by the mount, by restore, as rsync sees it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.check import DONE, IN_PART, assert_no_traceback
from tests.support.compare import differences, rsync_differences
from tests.support.everything import DEEP_LEVELS, MIB, TIB, Everything, remove_tree
from tests.support.imbfs import Imbfs
from tests.support.opens import Opens

#: All of the tree that is not a hole, in bytes, and room to spare.
ENOUGH = 256 * MIB


@pytest.fixture(scope="module")
def kept(everything: Everything, tmp_path_factory: pytest.TempPathFactory, mark: str) -> Imbfs:
    imbfs = Imbfs(tmp_path_factory.mktemp("kept"), mark)
    imbfs.run("init")
    imbfs.run("backup", everything.root)
    return imbfs


@pytest.fixture(scope="module")
def mount(kept: Imbfs) -> Iterator[Path]:
    with kept.mounted("latest") as place:
        yield place


@pytest.fixture(scope="module")
def restored(kept: Imbfs) -> Iterator[Path]:
    back = kept.directory / "back"
    kept.run("restore", "latest", "--target", back)
    yield back
    remove_tree(back)


def test_the_mount_is_equal_to_the_source(everything: Everything, mount: Path) -> None:
    assert differences(everything.root, mount) == []


def test_rsync_finds_nothing_to_do_between_source_and_mount(everything: Everything, mount: Path) -> None:
    assert rsync_differences(everything.plain, mount / "plain") == ""
    assert rsync_differences(mount / "plain", everything.plain) == ""


def test_the_restored_tree_is_equal_to_the_source_with_its_holes(
    everything: Everything, restored: Path
) -> None:
    """Parity row 14: symlinks: the target is stored, broken ones are kept."""
    assert differences(everything.root, restored, holes=True) == []


def test_rsync_finds_nothing_to_do_between_source_and_restored_tree(
    everything: Everything, restored: Path
) -> None:
    assert rsync_differences(everything.plain, restored / "plain") == ""
    assert rsync_differences(restored / "plain", everything.plain) == ""


def test_the_mount_reports_holes_as_taking_no_space(everything: Everything, mount: Path) -> None:
    for name in ("hole-at-the-start", "hole-in-the-middle", "hole-at-the-end", "all-hole", "many-holes"):
        source, shown = (
            os.stat(everything.plain / "sparse" / name),
            os.stat(mount / "plain" / "sparse" / name),
        )
        assert shown.st_blocks * 512 <= source.st_blocks * 512 + 64 * 1024, name
    huge = os.stat(mount / "apart" / "huge" / "one-tebibyte")
    assert huge.st_size == TIB
    assert huge.st_blocks * 512 < 8 * MIB


def test_holes_cost_no_space_in_the_repository(kept: Imbfs) -> None:
    stored = sum(path.stat().st_size for path in kept.repository.rglob("*") if path.is_file())
    assert stored < ENOUGH


def test_a_path_beyond_path_max_is_listed(kept: Imbfs) -> None:
    deepest = max(kept.ls("latest:apart/deep", "-R"), key=len)
    assert len(deepest) > 4096
    assert deepest.count(b"/") >= DEEP_LEVELS


def test_everything_passes_check(kept: Imbfs) -> None:
    assert kept.run("check", "--read-data").code == DONE


def test_du_of_the_mount_is_du_of_the_source(everything: Everything, mount: Path) -> None:
    def apparent(tree: Path) -> int:
        # Directories apart: what size they have is the file system's business.
        command: list[str | Path] = ["find", tree, "-type", "f", "-links", "1", "-printf", "%s\\n"]
        sizes = subprocess.run(command, capture_output=True, check=True).stdout.split()
        return sum(int(size) for size in sizes)

    assert apparent(everything.plain) == apparent(mount / "plain")


def test_tar_of_the_mount_unpacks_equal(everything: Everything, mount: Path, tmp_path: Path) -> None:
    """The kinds that tar keeps: it knows no hard links of devices, and no sockets."""
    options = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "--sparse", "--format=posix"]
    parts = ["files", "sparse", "modes", "names", "many", "acls"]
    (tmp_path / "untarred").mkdir()
    for tree in parts:
        archive = tmp_path / "archive.tar"
        subprocess.run(["tar", *options, "-cf", archive, "-C", mount / "plain", tree], check=True)
        subprocess.run(["tar", *options, "-xpf", archive, "-C", tmp_path / "untarred"], check=True)
        assert differences(everything.plain / tree, tmp_path / "untarred" / tree) == [], tree


def size_without_index(imbfs: Imbfs) -> int:
    paths = [path for path in imbfs.repository.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in paths if not path.name.startswith("index.lmdb"))


def in_the_future(path: bytes) -> bool:
    return b"after-" in path or b"year-" in path


def test_a_second_backup_opens_no_file_and_adds_next_to_nothing(kept: Imbfs, everything: Everything) -> None:
    before = size_without_index(kept)
    with Opens(everything.plain) as opens:
        summary = kept.backup(everything.root)
    assert {path for path in opens.files if not in_the_future(path)} == set()
    assert summary["files_new"] == summary["files_changed"] == summary["files_removed"] == 0
    assert size_without_index(kept) - before < 4096


def test_a_file_dated_in_the_future_is_not_read_each_time(kept: Imbfs, everything: Everything) -> None:
    with Opens(everything.plain / "times") as opens:
        kept.run("backup", everything.root)
    assert opens.files == set()


def test_an_ordinary_user_gets_back_all_that_he_may(
    kept: Imbfs, everything: Everything, open_path: Path, ordinary_user: int
) -> None:
    """Devices, owners and trusted xattrs are not his to make: he is told, and has all bytes."""
    os.chown(open_path, ordinary_user, ordinary_user)
    repository = open_path / "repository"
    subprocess.run(["cp", "-a", kept.repository, repository], check=True)
    for path in [repository, *repository.rglob("*")]:
        os.chown(path, ordinary_user, ordinary_user)
    theirs = Imbfs(open_path, kept.mark)
    for part in ("files", "names", "symlinks", "sparse", "hard-links", "times"):
        back = open_path / "back" / part
        selector = f"latest:plain/{part}"
        result = theirs.run("restore", selector, "--target", back, user=ordinary_user, check=False)
        assert result.code in (DONE, IN_PART), result
        assert_no_traceback(result)
        found = differences(everything.plain / part, back)
        unexpected = [line for line in found if ": owner " not in line and "m-device" not in line]
        assert unexpected == [], part
