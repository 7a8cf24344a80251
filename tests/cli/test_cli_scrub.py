"""`imbfs scrub`: the source is read again, and what changed unseen is found."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.check import DAMAGED, DONE, IN_PART, WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs
from tests.support.opens import Opens

OLD = 1_600_000_000_123_456_789
LARGE = os.urandom(3 << 20)


@pytest.fixture
def photos(real_disk: Path, tmp_path: Path) -> Path:
    root = real_disk / tmp_path.name
    (root / "2020").mkdir(parents=True)
    files = {"a\n": b"a" * 100, "2020/b": b"b" * 5000, "2020/large": LARGE, "2020/empty": b""}
    for name, data in files.items():
        (root / name).write_bytes(data)
        os.utime(root / name, ns=(OLD, OLD))
    with (root / "2020/holes").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(300_000)
        file.write(b"data")
    os.utime(root / "2020/holes", ns=(OLD, OLD))
    return root


@pytest.fixture(params=["", "--xattr-hash"], ids=["snapshot", "xattr"])
def kept(request: pytest.FixtureRequest, imbfs: Imbfs, photos: Path) -> Imbfs:
    imbfs.run("init")
    imbfs.run("backup", *filter(None, [request.param]), photos)
    return imbfs


def rot(path: Path, at: int = 1) -> None:
    """One byte is another, and the times are not."""
    times = path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"!")
    os.utime(path, ns=(times, times))


def test_a_sound_tree_is_read_and_nothing_is_found(kept: Imbfs, photos: Path) -> None:
    done = kept.run("--json", "scrub", photos).json()
    assert done["intact"] == 5
    assert done["silent"] == done["unreadable"] == []
    assert done["bytes_read"] >= 5100 + len(LARGE)
    assert b"5 files as kept" in kept.run("scrub").stdout


def test_silent_changes_are_found_and_put_back(kept: Imbfs, photos: Path) -> None:
    """Parity row 10: silent changes show. An edit of the same size does not go unseen."""
    paths = [photos / name for name in ("2020/b", "2020/holes", "2020/large", "a\n")]
    before = [path.read_bytes() for path in paths]
    for path in paths:
        rot(path)
    result = kept.run("scrub", photos, check=False)
    assert result.code == DAMAGED
    assert result.stdout.count(b"changed silently: ") == 4
    found = kept.run("--json", "scrub", photos, check=False).json()["silent"]
    assert sorted(found) == sorted(map(str, paths))
    kept.run("restore", "latest", "--in-place", "--verify")
    assert [path.read_bytes() for path in paths] == before
    assert kept.run("scrub", photos).code == DONE


def test_files_written_since_are_modified_and_new_ones_unknown(kept: Imbfs, photos: Path) -> None:
    (photos / "2020/b").write_bytes(b"B" * 5000)
    (photos / "new").write_bytes(b"new")
    result = kept.run("-v", "scrub", photos)
    assert b"modified: " + os.fsencode(photos / "2020/b") in result.stdout
    assert b"unknown: " + os.fsencode(photos / "new") in result.stdout


def test_a_moved_files_rot_is_found_by_the_hash_on_it(imbfs: Imbfs, photos: Path) -> None:
    """As is the change of one that was renamed and had its time set back, which a backup believes."""
    imbfs.run("init")
    imbfs.run("backup", "--xattr-hash", photos)
    (photos / "2020/b").rename(photos / "moved")
    rot(photos / "moved")
    assert imbfs.backup("--xattr-hash", photos)["bytes_read"] == 0
    assert imbfs.run("--json", "scrub", photos, check=False).json()["silent"] == [str(photos / "moved")]


def test_one_path_may_be_scrubbed(kept: Imbfs, photos: Path) -> None:
    rot(photos / "2020/b")
    assert kept.run("scrub", photos / "a\n").code == DONE
    assert kept.run("scrub", photos / "2020/b", check=False).code == DAMAGED
    assert_clear_error(kept.run("scrub", "/no/such", check=False), 1, "no snapshot")


def test_subsets_read_everything_in_turn(kept: Imbfs, photos: Path) -> None:
    """Each part once, and shares the files that were unread for longest."""
    parts = [kept.run("--json", "scrub", "--subset", f"{n}/3", photos).json()["intact"] for n in (1, 2, 3)]
    assert sum(parts) == 5
    rot(photos / "2020/b")
    codes = [kept.run("scrub", "--subset", f"{n}/3", photos, check=False).code for n in (1, 2, 3)]
    assert sorted(codes) == [DONE, DONE, DAMAGED]
    assert_clear_error(kept.run("scrub", "--subset", "0/3", check=False), WRONG_USE, "--subset")


def test_a_share_goes_on_with_what_was_unread_for_longest(kept: Imbfs, photos: Path) -> None:
    read: set[bytes] = set()
    for _ in range(5):
        with Opens(photos) as opens:
            done = kept.run("--json", "scrub", "--subset", "1%", photos).json()
        assert done["intact"] >= 1
        read |= opens.files
    assert len(read) == 5


def test_a_second_set_is_compared_by_itself(imbfs: Imbfs, photos: Path) -> None:
    """Parity row 10: a second, independent namespace."""
    imbfs.run("init")
    imbfs.run("backup", "--xattr-hash", photos)
    rot(photos / "2020/b")
    imbfs.run("backup", "--xattr-hash", "--namespace", "2", "--read-all", photos)
    assert imbfs.run("scrub", photos, check=False).code == DAMAGED
    assert imbfs.run("scrub", "--namespace", "2", photos).code == DONE


def test_hashes_on_files_are_removed(imbfs: Imbfs, photos: Path) -> None:
    """Parity row 10: a remover. What others keep on the files stays."""
    os.setxattr(photos / "2020/b", "user.other", b"1")
    imbfs.run("init")
    imbfs.run("backup", "--xattr-hash", photos)
    imbfs.run("backup", "--xattr-hash", "--namespace", "2", "--read-all", photos)
    assert imbfs.run("--json", "scrub", "--forget", photos).json() == {"removed": 3, "errors": 0}
    assert sorted(os.listxattr(photos / "2020/b")) == ["user.imbfs.hash.2", "user.other"]
    imbfs.run("scrub", "--forget", "--namespace", "2", photos)
    assert os.listxattr(photos / "2020/b") == ["user.other"]
    assert (photos / "2020/b").stat().st_mtime_ns == OLD
    assert_clear_error(imbfs.run("scrub", "--forget", check=False), WRONG_USE, "name the paths")


def test_a_path_that_is_gone_is_told_and_the_rest_read(imbfs: Imbfs, photos: Path) -> None:
    imbfs.run("init")
    imbfs.run("backup", photos / "2020", photos / "a\n")
    (photos / "a\n").unlink()
    result = imbfs.run("--json", "scrub", check=False)
    assert result.code == IN_PART
    assert result.json()["intact"] == 4


def test_a_scrub_that_was_killed_is_gone_on_with(kept: Imbfs, photos: Path) -> None:
    log = kept.home() / ".cache/imbfs"
    kept.run("scrub", photos)
    (log_file,) = log.glob("*/scrub.1")
    since = log_file.with_name("scrub.1.since")
    assert not since.exists(), "it is done"
    newest = max(int(line.split()[1]) for line in log_file.read_text().splitlines())
    since.write_text(f"{newest - 5}\n")  # as one leaves it that was killed
    done = kept.run("--json", "scrub", photos).json()
    assert (done["intact"], done["not_read"]) == (0, 5)
    assert kept.run("--json", "scrub", photos).json()["intact"] == 5, "that one was done: a new one begins"


def test_what_is_read_comes_from_the_disk_and_leaves_no_trace(kept: Imbfs, photos: Path) -> None:
    """Neither times nor files of the source change."""
    listing = ["find", str(photos), "-type", "f", "-printf", "%p %T@ %C@ %A@ %s\\n"]
    before = subprocess.run(listing, capture_output=True, check=True).stdout
    kept.run("scrub", "--low-priority", photos)
    assert subprocess.run(listing, capture_output=True, check=True).stdout == before
