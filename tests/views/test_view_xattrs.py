"""Extended attributes: the source's own, and the virtual ones that tell a file's hash and origin."""

import os
from pathlib import Path

import blake3
import pytest

from backup.snapshots.manifest import Snapshot
from backup.views.open import open_snapshot
from backup.views.snapshot import Options
from tests.support.everything import MIB, noise, sparse_file
from tests.views.kept import Kept
from tests.views.shown import Shown

FILES = {
    "small": b"hello\n",
    "empty": b"",
    "one chunk": noise(MIB, 1),
    "several chunks": noise(5 * MIB + 3, 2),
    "compressible": b"abc" * MIB,
}


@pytest.fixture
def snapshot(kept: Kept, source: Path) -> Snapshot:
    for name, data in FILES.items():
        (source / name).write_bytes(data)
    (source / "directory").mkdir()
    (source / "link").symlink_to("small")
    os.setxattr(source / "small", "user.own", b"value\0with zero")
    os.setxattr(source / "small", b"user.\xff", b"")
    os.setxattr(source / "directory", "user.of the directory", b"d")
    return kept.backup(source)


@pytest.fixture
def shown(kept: Kept, snapshot: Snapshot) -> Shown:
    return Shown(open_snapshot(kept.repository, snapshot))


def test_a_file_has_the_attributes_of_the_source(shown: Shown) -> None:
    assert set(shown.view.xattr_names(shown.ino("small"))) == {b"user.own", b"user.\xff"}
    assert shown.xattr("small", "user.own") == b"value\0with zero"
    assert shown.view.xattr(shown.ino("small"), b"user.\xff") == b""
    assert shown.view.xattr_names(shown.ino("directory")) == [b"user.of the directory"]
    assert shown.xattr("directory", "user.of the directory") == b"d"
    assert shown.view.xattr_names(shown.ino("empty")) == []


def test_an_attribute_that_is_not_there_is_none(shown: Shown) -> None:
    for name in ("user.other", "user.imbfs.other", "user.imbfs.", "security.capability"):
        assert shown.xattr("small", name) is None


@pytest.mark.parametrize("name", FILES)
def test_the_hash_is_that_of_all_bytes(shown: Shown, name: str) -> None:
    assert shown.xattr(name, "user.imbfs.hash") == blake3.blake3(FILES[name]).hexdigest().encode()


def test_a_file_with_holes_and_a_symlink_tell_no_hash(kept: Kept, source: Path) -> None:
    sparse_file(os.fsencode(source / "sparse"), 4 * MIB, [(MIB, b"x")])
    (source / "link").symlink_to("sparse")
    found = Shown(open_snapshot(kept.repository, kept.backup(source)))
    assert found.xattr("sparse", "user.imbfs.hash") is None
    assert found.xattr("link", "user.imbfs.hash") is None


def test_everything_tells_its_snapshot(shown: Shown, snapshot: Snapshot) -> None:
    for path in ("", "small", "directory", "link"):
        assert shown.xattr(path, "user.imbfs.snapshot") == snapshot.id.encode()


def test_the_id_is_the_same_for_as_long_as_nothing_changes(
    kept: Kept, source: Path, snapshot: Snapshot
) -> None:
    (source / "small").write_bytes(b"changed\n")
    one, other = (Shown(open_snapshot(kept.repository, each)) for each in (snapshot, kept.backup(source)))
    for path, same in {"empty": True, "several chunks": True, "directory": True, "small": False}.items():
        ids = [found.xattr(path, "user.imbfs.id") for found in (one, other)]
        assert None not in ids
        assert (ids[0] == ids[1]) is same


def test_different_files_have_different_ids(shown: Shown) -> None:
    ids = {shown.xattr(name, "user.imbfs.id") for name in FILES}
    assert len(ids) == len(FILES)


def test_what_can_be_read_is_not_damaged(shown: Shown) -> None:
    for path in ("", *FILES, "directory", "link"):
        assert shown.xattr(path, "user.imbfs.damaged") == b"0"


def test_virtual_attributes_are_listed_only_when_asked_for(kept: Kept, snapshot: Snapshot) -> None:
    plain, listing = (
        Shown(open_snapshot(kept.repository, snapshot, options=Options(list_xattrs=wanted)))
        for wanted in (False, True)
    )
    virtual = {b"user.imbfs." + name for name in (b"hash", b"snapshot", b"id", b"damaged")}
    assert set(plain.view.xattr_names(plain.ino("several chunks"))) == set()
    assert set(listing.view.xattr_names(listing.ino("several chunks"))) == virtual
    assert set(listing.view.xattr_names(listing.ino("small"))) == {b"user.own", b"user.\xff"} | virtual
    assert set(listing.view.xattr_names(listing.ino("directory"))) >= virtual
    assert b"user.imbfs.hash" not in listing.view.xattr_names(listing.ino("link"))
    for name in listing.view.xattr_names(listing.ino("small")):
        assert listing.view.xattr(listing.ino("small"), name) is not None


def test_whether_a_file_is_damaged_is_told_by_a_function_for_it_reads_the_file(shown: Shown) -> None:
    assert callable(shown.view.xattr(shown.ino("several chunks"), b"user.imbfs.damaged"))
