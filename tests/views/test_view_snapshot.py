"""One snapshot, a directory of one, a file's parent: attributes, inodes, content."""

import os
import stat
from pathlib import Path

import pytest

from backup.model.errors import NotFound
from backup.model.inode import Attributes
from backup.snapshots.manifest import Snapshot
from backup.views.open import open_snapshot
from tests.support.everything import KIB, MIB, build_everything, noise, remove_tree, sparse_file
from tests.support.small import FILES, build_small
from tests.views.kept import Kept, TreesRead
from tests.views.shown import Shown


@pytest.fixture
def small(kept: Kept, source: Path) -> Snapshot:
    return kept.backup(build_small(source))


def shown(kept: Kept, snapshot: Snapshot, path: bytes = b"") -> Shown:
    return Shown(open_snapshot(kept.repository, snapshot, path))


def test_a_view_shows_every_name_with_its_content(kept: Kept, small: Snapshot) -> None:
    found = shown(kept, small)
    files = {**FILES, b"sub/link to readme": FILES[b"readme"]}
    assert found.files() == {os.fsdecode(path): data for path, data in files.items()}
    assert found.target("symlink") == "sub/one"
    assert found.ls("empty-directory") == []


def test_a_view_of_all_kinds_has_the_attributes_of_the_source(kept: Kept, real_disk: Path) -> None:
    tree = build_everything(real_disk / "seen by a view").root
    try:
        found = shown(kept, kept.backup(tree)).walk("plain")
        wrong = {path: told for path, at in found.items() if (told := difference(tree / "plain" / path, at))}
    finally:
        remove_tree(tree)
    assert wrong == {}


def difference(path: Path, at: Attributes) -> dict[str, tuple[object, object]]:
    """What a view's attributes and the source's say differently."""
    status = path.lstat()
    pairs = {
        "mode": (status.st_mode, at.mode),
        "owner": ((status.st_uid, status.st_gid), (at.uid, at.gid)),
        "mtime": (status.st_mtime_ns, at.mtime_ns),
        "ctime": (status.st_ctime_ns, at.ctime_ns),
        "rdev": (status.st_rdev, at.rdev),
        "nlink": (status.st_nlink, at.nlink),
    }
    if not stat.S_ISDIR(status.st_mode):
        pairs["size"] = (status.st_size, at.size)
    return {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}


def test_a_directory_of_a_snapshot_is_a_root_of_its_own(kept: Kept, small: Snapshot) -> None:
    found = shown(kept, small, b"sub/deeper")
    assert found.ls() == ["same as readme", "two"]
    assert found.data("two") == FILES[b"sub/deeper/two"]
    assert found.view.lookup(1, b"..").ino == 1


def test_a_directory_is_found_by_its_path_at_the_source(kept: Kept, source: Path, small: Snapshot) -> None:
    assert shown(kept, small, os.fsencode(source / "sub" / "deeper")).ls() == ["same as readme", "two"]


def test_a_file_is_shown_in_its_directory(kept: Kept, small: Snapshot) -> None:
    assert shown(kept, small, b"sub/deeper/two").ls() == ["same as readme", "two"]
    assert "readme" in shown(kept, small, b"readme").ls()


@pytest.mark.parametrize("path", [b"missing", b"sub/missing", b"readme/below", b"symlink", b"../x", b"/etc"])
def test_what_is_no_directory_of_the_snapshot_is_not_found(kept: Kept, small: Snapshot, path: bytes) -> None:
    with pytest.raises(NotFound):
        shown(kept, small, path)


def test_a_source_that_is_a_file_is_shown_in_its_directory(kept: Kept, source: Path) -> None:
    build_small(source)
    found = shown(kept, kept.backup(source / "readme"))
    assert found.files() == {"readme": FILES[b"readme"]}


def test_several_sources_are_shown_from_the_directory_that_holds_them_all(kept: Kept, source: Path) -> None:
    build_small(source)
    found = shown(kept, kept.backup(source / "sub" / "deeper", source / "empty-directory"))
    assert found.ls() == ["empty-directory", "sub"]
    assert found.ls("sub") == ["deeper"]


def test_an_absent_name_is_not_found(kept: Kept, small: Snapshot) -> None:
    found = shown(kept, small)
    for name in (b"missing", b"", b"readm", b"readme2", b"\xff" * 255, b"x" * 300):
        with pytest.raises(FileNotFoundError):
            found.view.lookup(1, name)
    with pytest.raises(NotADirectoryError):
        found.stat("readme/below")


def test_a_directory_knows_itself_and_the_one_above(kept: Kept, small: Snapshot) -> None:
    found = shown(kept, small)
    deeper = found.ino("sub/deeper")
    assert found.view.lookup(deeper, b".").ino == deeper
    assert found.view.lookup(deeper, b"..") == found.stat("sub")
    assert found.view.lookup(1, b"..").ino == 1


def test_a_listing_goes_on_from_any_position(kept: Kept, small: Snapshot) -> None:
    found = shown(kept, small)
    whole = list(found.view.entries(1, 0))
    for number, (_, _, following) in enumerate(whole):
        assert list(found.view.entries(1, following)) == whole[number + 1 :]
    assert list(found.view.entries(1, 10**9)) == []


def test_a_listing_tells_what_lookups_tell(kept: Kept, small: Snapshot) -> None:
    found = shown(kept, small)
    for path in ("", "sub", "sub/deeper"):
        ino = found.ino(path)
        assert found.listing(path) == {name: found.view.lookup(ino, name) for name in found.listing(path)}
        assert all(at == found.view.attributes(at.ino) for at in found.listing(path).values())


def test_inode_numbers_are_stable_and_each_of_one_file(kept: Kept, small: Snapshot) -> None:
    found = shown(kept, small)
    first = {path: at.ino for path, at in found.walk().items()}
    assert {path: at.ino for path, at in found.walk().items()} == first
    linked = {"readme", "sub/link to readme"}
    assert len({first[path] for path in linked}) == 1
    assert len(set(first.values()) | {1}) == len(first)


def test_equal_directories_at_two_places_are_two(kept: Kept, source: Path) -> None:
    for name in ("one", "two"):
        (source / name).mkdir()
        (source / name / "file").write_bytes(b"x")
    found = shown(kept, kept.backup(source))
    numbers = {found.ino(path) for path in ("one", "two", "one/file", "two/file")}
    assert len(numbers) == 4
    assert found.view.lookup(found.ino("two"), b"..").ino == 1
    assert found.view.path(found.ino("two/file")) == b"two/file"


def test_hard_links_share_an_inode_whichever_name_is_met_first(kept: Kept, small: Snapshot) -> None:
    for paths in (["readme", "sub/link to readme"], ["sub/link to readme", "readme"]):
        found = shown(kept, small)
        one, other = (found.stat(path) for path in paths)
        assert one == other
        assert one.nlink == 2


def test_equal_files_that_are_not_linked_are_two_inodes(kept: Kept, small: Snapshot) -> None:
    found = shown(kept, small)
    assert found.ino("readme") != found.ino("sub/deeper/same as readme")


def test_a_number_that_was_never_given_is_stale(kept: Kept, small: Snapshot) -> None:
    view = shown(kept, small).view
    for ino in (0, 1 << 31, (7 << 32) + 5):
        with pytest.raises(OSError):
            view.attributes(ino)


@pytest.mark.parametrize("offset", [0, 1, MIB - 1, MIB, 3 * MIB, 3 * MIB + 16, 3 * MIB + 17, 4 * MIB])
def test_a_part_of_a_file_is_right_wherever_it_starts(kept: Kept, small: Snapshot, offset: int) -> None:
    found = shown(kept, small)
    content = found.view.open(found.ino("large"))
    for size in (0, 1, 4096, 131_072, 5 * MIB):
        assert bytes(content.read(offset, size)) == FILES[b"large"][offset : offset + size]
        at_hand = content.read_now(offset, size)
        assert at_hand is None or bytes(at_hand) == FILES[b"large"][offset : offset + size]


def test_what_is_no_file_cannot_be_opened_and_what_is_no_symlink_has_no_target(
    kept: Kept, small: Snapshot
) -> None:
    found = shown(kept, small)
    for path in ("sub", "symlink"):
        with pytest.raises(OSError, match="not a regular file"):
            found.data(path)
    with pytest.raises(OSError, match="not a symbolic link"):
        found.target("readme")


RUNS = {
    "hole first": (4 * MIB, [(3 * MIB, b"x" * 128 * KIB)]),
    "hole between": (4 * MIB, [(0, b"x" * 64 * KIB), (4 * MIB - 64 * KIB, b"x" * 64 * KIB)]),
    "hole last": (4 * MIB, [(0, b"x" * 4096)]),
    "all hole": (16 * MIB, []),
    "odd": (5 * MIB + 321, [(2 * MIB, b"x" * 4096), (5 * MIB + 320, b"!")]),
}


@pytest.fixture
def sparse(kept: Kept, source: Path) -> Shown:
    for name, (size, runs) in RUNS.items():
        sparse_file(os.fsencode(source / name), size, runs)
    (source / "dense").write_bytes(noise(100_001, 1))
    os.symlink("short", source / "short link")
    os.symlink("x" * 100, source / "long link")
    return shown(kept, kept.backup(source))


def test_a_sparse_file_counts_only_the_blocks_that_hold_data(sparse: Shown, source: Path) -> None:
    wanted = {path.name: path.lstat().st_blocks for path in source.iterdir()}
    assert {path: at.blocks for path, at in sparse.walk().items()} == wanted


def test_a_hole_reads_as_zeros(sparse: Shown, source: Path) -> None:
    assert sparse.files() == {name: (source / name).read_bytes() for name in [*RUNS, "dense"]}


def test_statistics_are_those_of_the_snapshot(kept: Kept, small: Snapshot) -> None:
    told = shown(kept, small).view.statistics()
    assert told.bytes_used == small.body.statistics.bytes >= len(FILES[b"large"])
    assert told.inodes == small.body.statistics.files + small.body.statistics.dirs


def test_what_a_snapshot_holds_may_be_kept_for_ever(kept: Kept, small: Snapshot) -> None:
    found = shown(kept, small)
    assert min(found.view.timeout(found.ino(path)) for path in ("", "sub", "readme", "sub/deeper/two")) > 1e6


def test_only_directories_that_are_entered_are_read(
    kept: Kept, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (source / f"d{number}" / "below").mkdir(parents=True)
        (source / f"d{number}" / "file").write_bytes(b"%d" % number)
    snapshot = kept.backup(source)
    trees = TreesRead(kept.repository, monkeypatch.setattr)
    found = shown(kept, snapshot)
    assert len(found.listing()) == 20
    assert trees.distinct() == 2
    assert found.data("d7/file") == b"7"
    assert trees.distinct() == 1
    assert found.ls("d7") == ["below", "file"]
    assert trees.distinct() == 0, "what was read a moment ago is still at hand"
