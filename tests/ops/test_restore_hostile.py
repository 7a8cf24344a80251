"""`restore` of a tree, or into a target, that means harm: nothing outside the target is ever written."""

import os
import stat
from pathlib import Path

import pytest

from backup.model.entry import Entry, Extent
from backup.model.ids import ObjectId
from tests.support.in_memory import Snapshot, entry, leftovers, put_back, put_back_whole


@pytest.fixture
def snapshot() -> Snapshot:
    return Snapshot()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "inside" / "target"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that a planted symlink points to."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "victim").write_text("victim")
    return path


def assert_untouched(outside: Path) -> None:
    assert os.listdir(outside) == ["victim"]
    assert (outside / "victim").read_text() == "victim"


def listed(snapshot: Snapshot, *entries: Entry) -> Entry:
    """A root with its entries in the order given."""
    root = snapshot.directory(b"")
    assert root.tree is not None
    snapshot.trees[root.tree] = list(entries)
    return root


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"../out", b"/etc/x", b"nul\0byte", b"/"])
@pytest.mark.parametrize("kind", ["file", "dir", "symlink", "root"])
def test_a_name_that_leads_elsewhere_is_refused(
    target: Path, tmp_path: Path, snapshot: Snapshot, name: bytes, kind: str
) -> None:
    bad = {
        "file": snapshot.file(name, b"evil"),
        "dir": snapshot.directory(name, snapshot.file(b"evil", b"evil")),
        "symlink": entry(name, stat.S_IFLNK | 0o777, target=b"/"),
        "root": snapshot.file(name, b"evil"),
    }[kind]
    root = bad if kind == "root" else listed(snapshot, bad, snapshot.file(b"zzz", b"good"))
    problems = put_back(snapshot, root, target).problems
    assert len(problems) == 1
    assert "refused" in problems[0][1]
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == (
        [] if kind == "root" else ["inside/target/zzz"]
    )


def test_a_bad_name_does_not_make_delete_forget_its_neighbours(target: Path, snapshot: Snapshot) -> None:
    target.mkdir(parents=True)
    (target / "mine").touch()
    put_back(snapshot, listed(snapshot, snapshot.file(b"..", b"")), target, delete=True)
    assert os.listdir(target) == ["mine"]


def test_a_symlink_and_a_directory_of_one_name_do_not_lead_outside(
    target: Path, outside: Path, snapshot: Snapshot
) -> None:
    link = entry(b"x", stat.S_IFLNK | 0o777, target=os.fsencode(outside))
    directory = snapshot.directory(b"x", snapshot.file(b"victim", b"evil"))
    problems = put_back(snapshot, listed(snapshot, link, directory), target).problems
    assert len(problems) == 1
    assert_untouched(outside)


@pytest.mark.parametrize("overwrite", ["always", "if-changed", "never", "keep"])
def test_planted_symlinks_are_not_followed(
    target: Path, outside: Path, snapshot: Snapshot, overwrite: str
) -> None:
    target.mkdir(parents=True)
    (target / "dir").symlink_to(outside)
    (target / "file").symlink_to(outside / "victim")
    (target / "dangling").symlink_to(outside / "made")
    directory = snapshot.directory(b"dir", snapshot.file(b"victim", b"evil"), snapshot.file(b"new", b"evil"))
    files = [snapshot.file(name, b"evil") for name in (b"file", b"dangling")]
    put_back_whole(
        snapshot, snapshot.directory(b"", directory, *files), target, overwrite=overwrite, delete=True
    )
    assert_untouched(outside)
    assert (target / "file").is_symlink() == (overwrite == "never")
    assert (target / "dir").is_symlink() == (overwrite == "never")


def test_a_directory_swapped_for_a_symlink_meanwhile_leads_nowhere(
    target: Path, outside: Path, snapshot: Snapshot
) -> None:
    def swap() -> None:
        if not (target / "dir").is_symlink():
            (target / "dir").rename(target / "moved")
            (target / "dir").symlink_to(outside)

    snapshot.before_chunk = swap
    directory = snapshot.directory(b"dir", snapshot.file(b"new", b"1"), snapshot.file(b"victim", b"2"))
    put_back_whole(snapshot, snapshot.directory(b"", directory), target)
    assert_untouched(outside)
    assert (target / "moved" / "victim").read_bytes() == b"2"


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": 0},
        {"mode": 0o170000},
        {"mode": stat.S_IFLNK | 0o777, "target": b""},
        {"mode": stat.S_IFLNK | 0o777, "target": b"nul\0byte"},
        {"mode": stat.S_IFLNK | 0o777, "target": b"x" * 5000},
        {"size": -1},
        {"size": 2**63, "extents": (Extent(2**63, None),)},
        {"size": 2**70, "extents": (Extent(2**70, None),)},
        {"size": 5, "extents": (Extent(9, None), Extent(5, None))},
        {"size": 5, "extents": (Extent(-3, ObjectId(bytes(32))), Extent(5, None))},
        {"mode": stat.S_IFBLK | 0o600, "rdev": -5},
        {"mode": stat.S_IFDIR | 0o755},
    ],
)
def test_absurd_entries_are_reported_and_the_rest_restored(
    target: Path, snapshot: Snapshot, fields: dict[str, object]
) -> None:
    bad = entry(b"bad", **{"mode": stat.S_IFREG | 0o644, **fields})  # type: ignore[arg-type]
    root = snapshot.directory(b"", bad, snapshot.file(b"good", b"data"))
    problems = put_back(snapshot, root, target).problems
    assert [path for path, _ in problems] == [b"bad"]
    assert (target / "good").read_bytes() == b"data"
    assert leftovers(target) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"uid": 2**40},
        {"gid": -7},
        {"mtime_ns": 2**100},
        {"xattrs": ((b"user.", b""),)},
        {"xattrs": ((b"nul\0byte", b""),)},
        {"xattrs": ((b"user." + b"x" * 300, b""),)},
        {"xattrs": ((b"user.large", b"x" * 70_000),)},
        {"xattrs": ((b"system.posix_acl_access", b"\x02\0\0\0no entry"),)},
        {"user": "nul\0byte", "uid": 2**40},
    ],
)
def test_absurd_metadata_is_reported_and_the_content_restored(
    target: Path, snapshot: Snapshot, fields: dict[str, object]
) -> None:
    bad = snapshot.file(b"bad", b"data", **fields)
    restored = put_back(snapshot, snapshot.directory(b"", bad), target)
    assert [path for path, _ in restored.problems] == [b"bad"]
    assert (target / "bad").read_bytes() == b"data"
    assert stat.S_IMODE((target / "bad").stat().st_mode) == 0o644


def test_a_name_longer_than_any_file_has_is_reported(target: Path, snapshot: Snapshot) -> None:
    root = snapshot.directory(b"", snapshot.file(b"n" * 256, b"x"), snapshot.directory(b"o" * 256))
    assert len(put_back(snapshot, root, target).problems) == 2
    assert os.listdir(target) == []
