"""`restore` onto what is there: each overwrite mode, things of another kind in the way, and delete."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.model.entry import Entry
from tests.support.everything import remove_tree
from tests.support.in_memory import OLD, Snapshot, entry, leftovers, put_back, put_back_whole

MODES = ["always", "if-changed", "never", "keep"]

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@pytest.fixture
def target(real_disk: Path, tmp_path: Path) -> Iterator[Path]:
    path = real_disk / f"target-of-{tmp_path.name}"
    path.mkdir()
    yield path
    assert leftovers(path) == []
    remove_tree(path)


@pytest.fixture
def snapshot() -> Snapshot:
    return Snapshot()


def put_file(path: Path, data: bytes, mtime_ns: int = OLD) -> int:
    """Writes a file; returns its inode number."""
    path.write_bytes(data)
    path.chmod(0o644)
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path.stat().st_ino


@pytest.mark.parametrize(
    ("overwrite", "content", "kept"),
    [("always", b"new", []), ("if-changed", b"new", []), ("never", b"old!", []), ("keep", b"new", [b"old!"])],
)
def test_a_changed_file(
    target: Path, snapshot: Snapshot, overwrite: str, content: bytes, kept: list[bytes]
) -> None:
    put_file(target / "f", b"old!")
    root = snapshot.directory(b"", snapshot.file(b"f", b"new"))
    summary = put_back_whole(snapshot, root, target, overwrite=overwrite).summary
    assert (target / "f").read_bytes() == content
    assert [path.read_bytes() for path in target.glob("f.imbfs-kept-*")] == kept
    assert (summary.kept, summary.skipped) == (len(kept), int(overwrite == "never"))


@pytest.mark.parametrize("overwrite", MODES)
def test_only_always_rewrites_a_file_that_looks_the_same(
    target: Path, snapshot: Snapshot, overwrite: str
) -> None:
    inode = put_file(target / "f", b"new")
    root = snapshot.directory(b"", snapshot.file(b"f", b"new"))
    put_back_whole(snapshot, root, target, overwrite=overwrite)
    assert ((target / "f").stat().st_ino == inode) == (overwrite != "always")
    assert os.listdir(target) == ["f"]


def test_a_file_that_looks_the_same_has_only_its_metadata_mended(target: Path, snapshot: Snapshot) -> None:
    inode = put_file(target / "f", b"new")
    os.setxattr(target / "f", "user.not-in-the-snapshot", b"")
    file = snapshot.file(b"f", b"new", xattrs=((b"user.a", b"1"),))._replace(mode=stat.S_IFREG | 0o400)
    summary = put_back_whole(snapshot, snapshot.directory(b"", file), target).summary
    status = (target / "f").stat()
    assert (status.st_ino, stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (inode, 0o400, OLD)
    assert os.listxattr(target / "f") == ["user.a"]
    assert (summary.files, summary.unchanged, summary.bytes_written) == (1, 0, 0)


@pytest.mark.parametrize("overwrite", ["if-changed", "keep"])
@pytest.mark.parametrize("verify", [False, True])
def test_verify_finds_other_bytes_under_the_same_size_and_time(
    target: Path, snapshot: Snapshot, overwrite: str, verify: bool
) -> None:
    put_file(target / "f", b"bad")
    root = snapshot.directory(b"", snapshot.file(b"f", b"new"))
    put_back_whole(snapshot, root, target, overwrite=overwrite, verify=verify)
    assert (target / "f").read_bytes() == (b"new" if verify else b"bad")


def test_keep_counts_on_and_shortens_a_name_that_is_too_long(target: Path, snapshot: Snapshot) -> None:
    name = b"n" * 255
    path = target / os.fsdecode(name)
    for number in range(3):
        root = snapshot.directory(b"", snapshot.file(name, b"%d" % number, mtime_ns=OLD + number))
        put_back_whole(snapshot, root, target, overwrite="keep", delete=True)
    kept = sorted(target.glob("n*.imbfs-kept-*"))
    assert [file.read_bytes() for file in kept] == [b"0", b"1"]
    assert {len(file.name) for file in kept} == {255}
    assert path.read_bytes() == b"2"


def test_a_symlink_with_another_target_is_replaced(target: Path, snapshot: Snapshot) -> None:
    (target / "link").symlink_to("elsewhere")
    link = entry(b"link", stat.S_IFLNK | 0o777, target=b"here")
    put_back_whole(snapshot, snapshot.directory(b"", link), target)
    assert os.readlink(target / "link") == "here"
    assert (target / "link").lstat().st_mtime_ns == OLD


def test_files_linked_in_the_target_alone_are_parted(target: Path, snapshot: Snapshot) -> None:
    put_file(target / "a", b"new")
    os.link(target / "a", target / "b")
    os.link(target / "a", target / "outside the snapshot")
    a, b = snapshot.file(b"a", b"new"), snapshot.file(b"b", b"new")._replace(mode=stat.S_IFREG | 0o600)
    put_back_whole(snapshot, snapshot.directory(b"", a, b), target)
    assert [stat.S_IMODE((target / name).stat().st_mode) for name in "ab"] == [0o644, 0o600]
    assert (target / "outside the snapshot").stat().st_nlink == 1


def test_two_groups_linked_to_one_file_in_the_target_are_parted(target: Path, snapshot: Snapshot) -> None:
    put_file(target / "a", b"same")
    for name in "bcd":
        os.link(target / "a", target / name)
    names = [
        snapshot.file(name, b"same", nlink=2, ino=ino)
        for name, ino in ((b"a", 1), (b"b", 1), (b"c", 2), (b"d", 2))
    ]
    put_back_whole(snapshot, snapshot.directory(b"", *names), target)
    a, b, c, d = ((target / name).stat().st_ino for name in "abcd")
    assert a == b != c == d


def in_the_way(path: Path, kind: str) -> None:
    if kind == "file":
        put_file(path, b"mine")
    elif kind == "symlink":
        path.symlink_to("mine")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
        if kind == "full directory":
            put_file(path / "mine", b"mine")


OTHER_KINDS = [
    (kind, other)
    for kind in ("file", "dir", "symlink", "fifo")
    for other in ("file", "symlink", "fifo", "empty directory", "full directory")
    if kind != other and not (kind == "dir" and "directory" in other)
]


def wanted(snapshot: Snapshot, kind: str) -> Entry:
    if kind == "file":
        return snapshot.file(b"x", b"new")
    if kind == "dir":
        return snapshot.directory(b"x", snapshot.file(b"inside", b"new"))
    if kind == "symlink":
        return entry(b"x", stat.S_IFLNK | 0o777, target=b"new")
    return entry(b"x", stat.S_IFIFO | 0o600)


@pytest.mark.parametrize("overwrite", MODES)
@pytest.mark.parametrize(("kind", "other"), OTHER_KINDS)
def test_another_kind_in_the_way(
    target: Path, snapshot: Snapshot, kind: str, other: str, overwrite: str
) -> None:
    in_the_way(target / "x", other)
    before = (target / "x").lstat().st_ino
    new = wanted(snapshot, kind)
    restored = put_back(snapshot, snapshot.directory(b"", new), target, overwrite=overwrite)
    refused = other == "full directory" and overwrite == "if-changed"
    assert len(restored.problems) == int(refused)
    there = (target / "x").lstat()
    if refused or overwrite == "never":
        assert there.st_ino == before
    else:
        assert stat.S_IFMT(there.st_mode) == stat.S_IFMT(new.mode)
        assert kind != "dir" or (target / "x" / "inside").read_bytes() == b"new"
    kept = [path.lstat().st_ino for path in target.glob("x.imbfs-kept-*")]
    assert kept == ([before] if overwrite == "keep" else [])


def test_delete_allows_a_full_directory_to_make_way(target: Path, snapshot: Snapshot) -> None:
    in_the_way(target / "x", "full directory")
    put_back_whole(snapshot, snapshot.directory(b"", wanted(snapshot, "file")), target, delete=True)
    assert (target / "x").read_bytes() == b"new"


def test_a_directory_stays_when_the_file_for_its_place_is_damaged(target: Path, snapshot: Snapshot) -> None:
    in_the_way(target / "x", "full directory")
    root = snapshot.directory(b"", wanted(snapshot, "file"))
    snapshot.chunks.clear()
    assert put_back(snapshot, root, target, overwrite="always", delete=True).summary.errors == 1
    assert (target / "x" / "mine").read_bytes() == b"mine"


def test_never_leaves_the_metadata_of_a_directory_and_fills_it(target: Path, snapshot: Snapshot) -> None:
    (target / "x").mkdir(mode=0o711)
    (target / "x").chmod(0o711)
    put_back_whole(snapshot, snapshot.directory(b"", wanted(snapshot, "dir")), target, overwrite="never")
    assert stat.S_IMODE((target / "x").stat().st_mode) == 0o711
    assert (target / "x" / "inside").read_bytes() == b"new"


def test_delete_removes_what_the_snapshot_does_not_have(target: Path, snapshot: Snapshot) -> None:
    put_file(target / "extra", b"mine")
    in_the_way(target / "tree", "full directory")
    (target / "tree" / "link out").symlink_to("/")
    root = snapshot.directory(b"", snapshot.file(b"f", b"new"))
    summary = put_back_whole(snapshot, root, target, delete=True).summary
    assert os.listdir(target) == ["f"]
    assert summary.deleted == 4


def test_without_delete_nothing_else_is_touched(target: Path, snapshot: Snapshot) -> None:
    put_file(target / "extra", b"mine")
    put_back_whole(snapshot, snapshot.directory(b"", snapshot.file(b"f")), target)
    assert sorted(os.listdir(target)) == ["extra", "f"]


def test_delete_never_follows_a_symlink(target: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    put_file(tmp_path / "precious", b"mine")
    (target / "x").symlink_to(tmp_path)
    put_back_whole(snapshot, snapshot.directory(b""), target, delete=True)
    assert os.listdir(target) == []
    assert (tmp_path / "precious").exists()


def test_delete_never_removes_the_repository(target: Path, snapshot: Snapshot) -> None:
    (target / "backups" / "repository").mkdir(parents=True)
    put_file(target / "backups" / "repository" / "config.json", b"{}")
    put_file(target / "backups" / "other", b"")
    status = (target / "backups" / "repository").stat()
    protected = frozenset({(status.st_dev, status.st_ino)})
    restored = put_back_whole(snapshot, snapshot.directory(b""), target, delete=True, protected=protected)
    assert (target / "backups" / "repository" / "config.json").exists()
    assert not (target / "backups" / "other").exists()
    assert len(restored.notices) == 1


@root_only
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_delete_never_crosses_a_mount(target: Path, snapshot: Snapshot, tmp_path: Path, kind: str) -> None:
    (target / "tree" / "mounted").mkdir(parents=True)
    (target / "aside").mkdir()
    source = ["--bind", target / "aside"] if kind == "bind" else ["-t", "tmpfs", "none"]
    subprocess.run(["mount", *source, target / "tree" / "mounted"], check=True)
    try:
        put_file(target / "tree" / "mounted" / "precious", b"mine")
        aside = snapshot.directory(b"aside", snapshot.file(b"precious", b"mine"))
        restored = put_back_whole(snapshot, snapshot.directory(b"", aside), target, delete=True)
        assert (target / "tree" / "mounted" / "precious").read_bytes() == b"mine"
        assert "mounted" in restored.notices[0]
    finally:
        subprocess.run(["umount", target / "tree" / "mounted"], check=True)


def test_a_dry_run_tells_what_of_another_kind_is_in_the_way(target: Path, snapshot: Snapshot) -> None:
    root = snapshot.directory(
        b"",
        snapshot.directory(b"dir", snapshot.file(b"inner")),
        snapshot.file(b"empty"),
        snapshot.file(b"file"),
    )
    (target / "file").mkdir(parents=True)
    (target / "file" / "mine").write_text("mine")
    (target / "empty").mkdir()
    (target / "dir").write_text("mine")
    foretold = put_back(snapshot, root, target, dry_run=True)
    assert [notice for notice in foretold.notices if "in the way" in notice] == [
        "would remove, because it is in the way (file, not dir): dir",
        "would remove, because it is in the way (dir, not file): empty",
    ]
    ((path, problem),) = foretold.problems
    assert path == b"file"
    assert "not empty" in problem
    assert ((target / "dir").read_text(), (target / "file" / "mine").read_text()) == ("mine", "mine")
    done = put_back(snapshot, root, target)
    assert done.problems == foretold.problems
    assert (target / "dir" / "inner").is_file()
    assert (target / "empty").is_file()
