"""`restore` into an empty place: everything comes back, down to the last attribute."""

import os
import pwd
import resource
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.model.entry import FLAG_NO_CONTENT, Entry, Extent
from backup.model.errors import ImbfsError
from backup.ops.restore import RestoreOptions, restore
from tests.support.compare import differences, rsync_differences
from tests.support.everything import MIB, TIB, Everything, noise, remove_tree
from tests.support.in_memory import OLD, Snapshot, Watcher, entry, leftovers, put_back, put_back_whole

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can set all attributes")


@pytest.fixture
def target(real_disk: Path, tmp_path: Path) -> Iterator[Path]:
    """A place that does not exist yet; pytest itself could not remove what is put there."""
    path = real_disk / f"target-of-{tmp_path.name}"
    yield path
    if path.is_dir():
        remove_tree(path)


@pytest.fixture
def snapshot() -> Snapshot:
    return Snapshot()


def test_a_tree_of_all_kinds_comes_back_equal(
    everything: Everything, target: Path, snapshot: Snapshot
) -> None:
    """Parity row 17: mode, owner, times."""
    put_back_whole(snapshot, snapshot.of(everything.root), target, verify=True)
    assert differences(everything.root, target, holes=True) == []


def test_rsync_finds_nothing_to_do_after_a_restore(
    everything: Everything, target: Path, snapshot: Snapshot
) -> None:
    put_back_whole(snapshot, snapshot.of(everything.plain), target)
    assert rsync_differences(everything.plain, target) == ""
    assert rsync_differences(target, everything.plain) == ""


def test_a_second_restore_touches_nothing(everything: Everything, target: Path, snapshot: Snapshot) -> None:
    root = snapshot.of(everything.plain)
    first = put_back_whole(snapshot, root, target).summary
    before = inodes_and_ctimes(target)
    for overwrite in ("if-changed", "keep", "never"):
        again = put_back_whole(snapshot, root, target, overwrite=overwrite, delete=True).summary
        assert (again.files, again.links, again.specials, again.bytes_written) == (0, 0, 0, 0)
        assert (again.deleted, again.kept) == (0, 0)
        assert again.unchanged + again.skipped == first.files + first.links + first.specials
    assert inodes_and_ctimes(target) == before


def inodes_and_ctimes(top: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            found[path] = (status.st_ino, status.st_ctime_ns)
    return found


def test_the_summary_counts_names_and_bytes(target: Path, snapshot: Snapshot) -> None:
    link = {"nlink": 2, "ino": 7}
    root = snapshot.directory(
        b"",
        snapshot.file(b"a", b"12345", **link),
        snapshot.file(b"b", b"12345", **link),
        snapshot.directory(b"dir"),
        entry(b"fifo", stat.S_IFIFO | 0o600),
        entry(b"link", stat.S_IFLNK | 0o777, target=b"nowhere"),
    )
    ticks = iter([10.0, 12.5])
    watcher = Watcher()
    summary = restore(snapshot, root, bytes(target), RestoreOptions(), watcher, lambda: next(ticks))
    assert (summary.files, summary.links, summary.specials, summary.dirs) == (2, 1, 1, 2)
    assert (summary.bytes_written, summary.errors, summary.seconds) == (5, 0, 2.5)
    assert watcher.seen[-1] == (4, 10, b"link")


def test_a_single_file_goes_into_the_target(target: Path, snapshot: Snapshot) -> None:
    target.mkdir(mode=0o711)
    before = target.stat().st_mode
    put_back_whole(snapshot, snapshot.file(b"one", b"data"), target)
    assert (target / "one").read_bytes() == b"data"
    assert (target / "one").stat().st_mtime_ns == OLD
    assert target.stat().st_mode == before


def test_the_target_and_its_parents_are_made(target: Path, snapshot: Snapshot) -> None:
    put_back_whole(snapshot, snapshot.directory(b"", mode=stat.S_IFDIR | 0o750), target / "a" / "b")
    assert stat.S_IMODE((target / "a" / "b").stat().st_mode) == 0o750


def test_a_symlink_named_as_the_target_is_followed(target: Path, snapshot: Snapshot) -> None:
    target.mkdir()
    (target / "real").mkdir()
    (target / "link").symlink_to("real")
    put_back_whole(snapshot, snapshot.directory(b"", snapshot.file(b"f")), target / "link")
    assert (target / "real" / "f").is_file()
    assert (target / "link").is_symlink()


def test_a_target_that_is_a_file_is_refused(target: Path, snapshot: Snapshot) -> None:
    target.write_text("mine")
    with pytest.raises(ImbfsError, match="not a directory"):
        put_back(snapshot, snapshot.directory(b""), target)
    assert target.read_text() == "mine"


@pytest.mark.parametrize("mtime", [-1, -(2**31 - 1) * 10**9 + 5, 2**32 * 10**9 + 7, 10**19 + 9, OLD])
def test_times_far_away_come_back_to_the_nanosecond(target: Path, snapshot: Snapshot, mtime: int) -> None:
    root = snapshot.directory(
        b"",
        snapshot.file(b"file", b"x", mtime_ns=mtime),
        entry(b"link", stat.S_IFLNK | 0o777, target=b"x", mtime_ns=mtime),
        snapshot.directory(b"dir", snapshot.file(b"inside"), mtime_ns=mtime),
        mtime_ns=mtime,
    )
    assert put_back_whole(snapshot, root, target).notices == []
    for path in (target, target / "file", target / "link", target / "dir"):
        assert path.lstat().st_mtime_ns == mtime


def test_a_time_that_the_target_cannot_keep_is_noticed_once(target: Path, snapshot: Snapshot) -> None:
    beyond_ext4 = 2**40 * 10**9
    root = snapshot.directory(b"", *(snapshot.file(b"%d" % n, mtime_ns=beyond_ext4) for n in range(3)))
    notices = put_back_whole(snapshot, root, target).notices
    if (target / "1").stat().st_mtime_ns != beyond_ext4:
        assert len(notices) == 1
        assert "times" in notices[0]


def test_a_tebibyte_of_holes_is_restored_in_no_time(target: Path, snapshot: Snapshot) -> None:
    data = noise(MIB, 3)
    extents = (
        Extent(TIB // 2, None),
        *snapshot.extents(data, TIB // 2),
        Extent(TIB, None),
    )
    root = snapshot.directory(b"", entry(b"huge", size=TIB, extents=extents))
    started = time.process_time()
    put_back_whole(snapshot, root, target, verify=True)
    put_back_whole(snapshot, root, target, verify=True)
    assert time.process_time() - started < 5
    status = (target / "huge").stat()
    assert (status.st_size, status.st_blocks * 512 < 4 * MIB) == (TIB, True)
    with open(target / "huge", "rb") as file:
        assert os.pread(file.fileno(), MIB, TIB // 2) == data


def test_thousands_of_levels_need_few_descriptors(target: Path, snapshot: Snapshot) -> None:
    root = snapshot.directory(b"level", snapshot.file(b"deepest", b"down here"))
    for _ in range(3000):
        root = snapshot.directory(b"level", root, snapshot.file(b"beside", b"x"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len(os.listdir("/proc/self/fd")) + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        summary = put_back_whole(snapshot, root, target).summary
        again = put_back_whole(snapshot, root, target).summary
        assert (summary.dirs, summary.files, again.unchanged) == (3001, 3001, 3001)
        # Removed the same way: as something that the snapshot does not have.
        assert put_back_whole(snapshot, snapshot.directory(b""), target, delete=True).summary.deleted == 6001
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert os.listdir(target) == []


def test_hard_links_across_directories_are_one_file(target: Path, snapshot: Snapshot) -> None:
    """Parity row 15: hard links restored as links."""
    link = {"nlink": 4, "ino": 9}
    names = [snapshot.file(name, b"same", **link) for name in (b"a", b"b")]
    far = snapshot.directory(b"far", snapshot.directory(b"away", *names))
    put_back_whole(snapshot, snapshot.directory(b"", *names, far), target)
    inodes = {(target / path).stat().st_ino for path in ("a", "b", "far/away/a", "far/away/b")}
    assert len(inodes) == 1
    assert (target / "a").stat().st_nlink == 4


def test_names_of_one_file_that_disagree_are_written_apart(target: Path, snapshot: Snapshot) -> None:
    link = {"nlink": 2, "ino": 9}
    root = snapshot.directory(b"", snapshot.file(b"a", b"old", **link), snapshot.file(b"b", b"new", **link))
    put_back_whole(snapshot, root, target)
    assert ((target / "a").read_bytes(), (target / "b").read_bytes()) == (b"old", b"new")


def test_a_link_that_cannot_be_made_becomes_a_copy(
    target: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr(os, "link", refuse)
    link = {"nlink": 2, "ino": 9}
    root = snapshot.directory(b"", snapshot.file(b"a", b"x", **link), snapshot.file(b"b", b"x", **link))
    notices = put_back_whole(snapshot, root, target).notices
    assert (target / "b").read_bytes() == b"x"
    assert len(notices) == 1
    assert "Too many links" in notices[0]


def test_a_directory_nobody_may_write_is_filled_first(target: Path, snapshot: Snapshot) -> None:
    closed = snapshot.directory(b"closed", snapshot.file(b"f", b"x"), mode=stat.S_IFDIR | 0o000)
    put_back_whole(snapshot, snapshot.directory(b"", closed, mode=stat.S_IFDIR | 0o555), target)
    assert stat.S_IMODE((target / "closed").stat().st_mode) == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o555
    assert (target / "closed").stat().st_mtime_ns == OLD


@root_only
def test_setuid_and_setgid_survive_the_change_of_owner(target: Path, snapshot: Snapshot) -> None:
    root = snapshot.directory(b"", snapshot.file(b"su", b"x", uid=1, gid=2)._replace(mode=0o106755))
    put_back_whole(snapshot, root, target)
    status = (target / "su").stat()
    assert (status.st_mode, status.st_uid, status.st_gid) == (0o106755, 1, 2)


@root_only
def test_owners_go_by_name_where_it_is_known_here(target: Path, snapshot: Snapshot) -> None:
    somebody = pwd.getpwuid(1)
    root = snapshot.directory(
        b"",
        snapshot.file(b"known", uid=4321, user=somebody.pw_name),
        snapshot.file(b"unknown", uid=4321, user="no such user here"),
    )
    put_back_whole(snapshot, root, target)
    assert [(target / name).stat().st_uid for name in ("known", "unknown")] == [1, 4321]
    put_back_whole(snapshot, root, target, numeric_owner=True)
    assert [(target / name).stat().st_uid for name in ("known", "unknown")] == [4321, 4321]


@root_only
def test_attributes_that_the_parent_hands_down_do_not_stay(target: Path, snapshot: Snapshot) -> None:
    root = snapshot.directory(b"", snapshot.file(b"f", b"x"), snapshot.directory(b"d"))
    target.mkdir()
    default_acl = bytes.fromhex(
        "02000000 01000700ffffffff 02000700e8030000 04000500ffffffff 10000700ffffffff 20000500ffffffff"
    )
    os.setxattr(target, "system.posix_acl_default", default_acl)
    put_back_whole(snapshot, root, target)
    for path in (target, target / "f", target / "d"):
        assert os.listxattr(path) == []


@pytest.mark.parametrize("bad", ["missing chunk", "short chunk", "extents beyond the size", "no content"])
def test_a_damaged_file_is_reported_and_the_rest_restored(target: Path, snapshot: Snapshot, bad: str) -> None:
    data = noise(2 * MIB, 4)
    damaged = snapshot.file(b"b", data)
    last = damaged.extents[-1].chunk
    assert last is not None
    if bad == "missing chunk":
        del snapshot.chunks[last]
    elif bad == "short chunk":
        snapshot.chunks[last] = b"short"
    elif bad == "extents beyond the size":
        damaged = damaged._replace(size=MIB)
    else:
        damaged = damaged._replace(flags=FLAG_NO_CONTENT, extents=())
    root = snapshot.directory(b"", snapshot.file(b"a", b"1"), damaged, snapshot.file(b"c", b"3"))
    restored = put_back(snapshot, root, target)
    assert [path for path, _ in restored.problems] == [b"b"]
    assert sorted(os.listdir(target)) == ["a", "c"]
    assert restored.summary.errors == 1


def test_a_damaged_listing_costs_only_its_directory(target: Path, snapshot: Snapshot) -> None:
    lost = snapshot.directory(b"lost", snapshot.file(b"f"))
    assert lost.tree is not None
    root = snapshot.directory(b"", lost, snapshot.file(b"z", b"26"))
    del snapshot.trees[lost.tree]
    (target / "lost").mkdir(parents=True)
    (target / "lost" / "mine").write_text("not to be deleted: nobody knows what belongs here")
    restored = put_back(snapshot, root, target, delete=True)
    assert restored.problems == [(b"lost", "tree is missing")]
    assert (target / "lost" / "mine").exists()
    assert (target / "z").read_bytes() == b"26"


def test_a_damaged_file_leaves_what_was_there(target: Path, snapshot: Snapshot) -> None:
    damaged = snapshot.file(b"f", b"new")
    snapshot.chunks.clear()
    target.mkdir()
    (target / "f").write_text("old")
    assert len(put_back(snapshot, snapshot.directory(b"", damaged), target).problems) == 1
    assert (target / "f").read_text() == "old"
    assert os.listdir(target) == ["f"]


def test_an_interruption_leaves_nothing_half_written(target: Path, snapshot: Snapshot) -> None:
    def interrupt_at_the_last_chunk() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt

    asked: list[int] = []
    snapshot.before_chunk = interrupt_at_the_last_chunk
    with pytest.raises(KeyboardInterrupt):
        put_back(snapshot, snapshot.directory(b"", snapshot.file(b"f", noise(3 * MIB, 5))), target)
    assert os.listdir(target) == []


def test_a_full_disk_stops_with_one_clear_error(
    target: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    root = snapshot.directory(
        b"", snapshot.file(b"a"), snapshot.file(b"b", b"data"), snapshot.file(b"c", b"more")
    )
    monkeypatch.setattr(os, "pwrite", full)
    watcher = Watcher()
    with pytest.raises(ImbfsError, match="no space left"):
        restore(snapshot, root, bytes(target), RestoreOptions(), watcher)
    assert watcher.problems == []
    assert os.listdir(target) == ["a"]


def test_verify_reports_what_reads_back_differently(
    target: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", lambda fd, data, _: len(data))
    root = snapshot.directory(b"", snapshot.file(b"f", b"data"))
    ((path, text),) = put_back(snapshot, root, target, verify=True).problems
    assert path == b"f"
    assert "reads back differently" in text
    assert os.listdir(target) == []


def only_txt(path: bytes, _: bool) -> bool:
    return path.endswith(b".txt")


def selection(snapshot: Snapshot) -> Entry:
    inner = snapshot.directory(b"inner", snapshot.file(b"b.txt"), snapshot.file(b"b.log"))
    other = snapshot.directory(b"other", snapshot.file(b"c.log"))
    return snapshot.directory(b"", snapshot.file(b"a.txt"), inner, other)


def tree_of(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


def test_include_makes_only_the_directories_that_lead_to_something(target: Path, snapshot: Snapshot) -> None:
    put_back_whole(snapshot, selection(snapshot), target, include=only_txt)
    assert tree_of(target) == ["a.txt", "inner", "inner/b.txt"]
    assert (target / "inner").stat().st_mtime_ns == OLD


def test_an_included_directory_brings_all_that_is_in_it(target: Path, snapshot: Snapshot) -> None:
    put_back_whole(snapshot, selection(snapshot), target, include=lambda path, _: path == b"inner")
    assert tree_of(target) == ["inner", "inner/b.log", "inner/b.txt"]


def test_exclude_wins_over_include_and_protects_from_delete(target: Path, snapshot: Snapshot) -> None:
    (target / "inner").mkdir(parents=True)
    (target / "inner" / "mine.txt").touch()
    (target / "inner" / "mine.log").touch()
    options = {"include": lambda path, _: path == b"inner", "exclude": only_txt, "delete": True}
    put_back_whole(snapshot, selection(snapshot), target, **options)
    assert tree_of(target) == ["inner", "inner/b.log", "inner/mine.txt"]


def test_a_directory_that_only_leads_somewhere_keeps_its_own_metadata(
    target: Path, snapshot: Snapshot
) -> None:
    (target / "inner").mkdir(parents=True, mode=0o711)
    (target / "inner").chmod(0o711)
    put_back_whole(snapshot, selection(snapshot), target, include=only_txt)
    assert stat.S_IMODE((target / "inner").stat().st_mode) == 0o711


def test_a_dry_run_counts_and_writes_nothing(target: Path, snapshot: Snapshot) -> None:
    root = selection(snapshot)
    wet = put_back_whole(snapshot, root, target / "wet").summary
    dry = put_back_whole(snapshot, root, target / "dry", dry_run=True).summary
    assert (dry.files, dry.dirs) == (wet.files, wet.dirs)
    assert not (target / "dry").exists()


def test_a_dry_run_over_a_tree_says_what_would_be_deleted(target: Path, snapshot: Snapshot) -> None:
    root = selection(snapshot)
    put_back_whole(snapshot, root, target)
    (target / "inner" / "extra").write_text("mine")
    (target / "a.txt").chmod(0o600)
    before = inodes_and_ctimes(target)
    restored = put_back_whole(snapshot, root, target, dry_run=True, delete=True)
    assert restored.notices == ["would delete: inner/extra"]
    assert (restored.summary.files, restored.summary.unchanged, restored.summary.deleted) == (1, 3, 1)
    assert inodes_and_ctimes(target) == before
    assert leftovers(target) == []
