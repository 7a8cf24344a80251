"""`restore` by an ordinary user: what he may do is done, what he may not is said once."""

import contextlib
import os
import pickle
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup.model.entry import Entry
from tests.support.compare import differences
from tests.support.everything import build_everything
from tests.support.in_memory import OLD, Restored, Snapshot, entry, leftovers, put_back

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def target(open_path: Path) -> Iterator[Path]:
    path = open_path / "target"
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)
    yield path
    assert leftovers(path) == []


@pytest.fixture
def snapshot() -> Snapshot:
    return Snapshot()


def as_nobody(work: Callable[[], Restored]) -> Restored:
    """What `work` returns in a child process without rights."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.close(read)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            try:
                result: object = work()
            except BaseException as error:
                result = error
            with open(write, "wb") as pipe:
                pickle.dump(result, pipe)
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    result = pickle.loads(data)
    if isinstance(result, BaseException):
        raise result
    assert isinstance(result, Restored)
    return result


def restored_by_nobody(snapshot: Snapshot, root: Entry, target: Path, **options: object) -> Restored:
    return as_nobody(lambda: put_back(snapshot, root, target, **options))


def mine(found: Entry) -> Entry:
    return found._replace(uid=NOBODY, gid=NOBODY)


def test_other_owners_are_noticed_once_and_are_no_error(target: Path, snapshot: Snapshot) -> None:
    root = mine(snapshot.directory(b"", *(snapshot.file(b"%d" % n, uid=0, gid=0) for n in range(5))))
    restored = restored_by_nobody(snapshot, root, target)
    assert restored.problems == []
    assert len(restored.notices) == 1
    assert "only root" in restored.notices[0]
    assert (target / "3").stat().st_uid == NOBODY


def test_setuid_is_not_given_to_a_file_that_changed_hands(target: Path, snapshot: Snapshot) -> None:
    theirs = snapshot.file(b"theirs", b"x", uid=0, gid=0)._replace(mode=0o106755)
    ours = mine(snapshot.file(b"ours", b"x"))._replace(mode=0o106755)
    restored = restored_by_nobody(snapshot, mine(snapshot.directory(b"", theirs, ours)), target)
    assert restored.problems == []
    assert stat.S_IMODE((target / "theirs").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "ours").stat().st_mode) == 0o6755


def test_attributes_that_need_root_are_noticed_once(target: Path, snapshot: Snapshot) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    xattrs = ((b"security.capability", capability), (b"trusted.a", b"1"), (b"user.b", b"2"))
    files = [mine(snapshot.file(b"%d" % n, b"x", xattrs=xattrs)) for n in range(3)]
    restored = restored_by_nobody(snapshot, mine(snapshot.directory(b"", *files)), target)
    assert restored.problems == []
    assert sorted(notice.split(".")[0] for notice in restored.notices) == ["security", "trusted"]
    assert os.listxattr(target / "2") == ["user.b"]


def test_devices_are_errors_and_the_rest_is_restored(target: Path, snapshot: Snapshot) -> None:
    root = snapshot.directory(
        b"",
        mine(entry(b"block", stat.S_IFBLK | 0o600, rdev=os.makedev(7, 0))),
        mine(entry(b"char", stat.S_IFCHR | 0o600, rdev=os.makedev(1, 3))),
        mine(entry(b"fifo", stat.S_IFIFO | 0o600)),
        mine(entry(b"socket", stat.S_IFSOCK | 0o755)),
        mine(snapshot.file(b"file", b"x")),
    )
    restored = restored_by_nobody(snapshot, mine(root), target)
    assert [path for path, _ in restored.problems] == [b"block", b"char"]
    assert sorted(os.listdir(target)) == ["fifo", "file", "socket"]


def closed_tree(snapshot: Snapshot) -> Entry:
    """Directories that nobody may write, search or list, and a file that nobody may read, with xattrs."""
    xattrs = ((b"user.a", b"1"),)
    file = mine(snapshot.file(b"f", b"x", xattrs=xattrs))._replace(mode=stat.S_IFREG)
    inner = mine(snapshot.directory(b"inner", file, mode=stat.S_IFDIR | 0o100, xattrs=xattrs))
    middle = mine(snapshot.directory(b"middle", inner, mode=stat.S_IFDIR))
    return mine(snapshot.directory(b"", middle, mode=stat.S_IFDIR | 0o555))


def test_closed_directories_are_filled_closed_and_filled_again(target: Path, snapshot: Snapshot) -> None:
    root = closed_tree(snapshot)
    for options in ({}, {}, {"overwrite": "always"}, {"overwrite": "never"}):
        assert restored_by_nobody(snapshot, root, target, **options).problems == []
        modes = [stat.S_IMODE((target / path).stat().st_mode) for path in (".", "middle", "middle/inner")]
        assert modes == [0o555, 0, 0o100]
        file = target / "middle" / "inner" / "f"
        assert (file.stat().st_mtime_ns, os.getxattr(file, "user.a")) == (OLD, b"1")
        assert stat.S_IMODE(file.stat().st_mode) == 0


def test_closed_directories_are_deleted(target: Path, snapshot: Snapshot) -> None:
    restored_by_nobody(snapshot, closed_tree(snapshot), target)
    empty = mine(snapshot.directory(b""))
    assert restored_by_nobody(snapshot, empty, target, delete=True).problems == []
    assert os.listdir(target) == []


def test_a_deep_way_back_out_of_closed_directories_is_found(target: Path, snapshot: Snapshot) -> None:
    root = mine(snapshot.directory(b"d", mine(snapshot.file(b"f", b"x"))))
    for _ in range(200):
        root = mine(snapshot.directory(b"d", root, mode=stat.S_IFDIR))
    restored = restored_by_nobody(snapshot, root, target)
    assert (restored.problems, restored.summary.dirs) == ([], 201)


def test_a_directory_of_somebody_else_costs_only_its_content(target: Path, snapshot: Snapshot) -> None:
    (target / "theirs").mkdir(mode=0o755)
    root = snapshot.directory(
        b"",
        snapshot.directory(b"theirs", mine(snapshot.file(b"f", b"x"))),
        mine(snapshot.file(b"z", b"x")),
    )
    restored = restored_by_nobody(snapshot, mine(root), target)
    assert (b"theirs/f", "Permission denied") in restored.problems
    assert os.listdir(target / "theirs") == []
    assert (target / "z").exists()


def test_the_tree_of_all_kinds_that_a_user_can_make_comes_back_equal(
    target: Path, open_path: Path, snapshot: Snapshot
) -> None:
    source = open_path / "source"
    source.mkdir()
    os.chown(source, NOBODY, NOBODY)

    def build_and_restore() -> Restored:
        build_everything(source)
        return Restored(*([None] * 4))  # type: ignore[arg-type]

    as_nobody(build_and_restore)
    # Read as root: not all of it is for its owner to read.
    restored = restored_by_nobody(snapshot, snapshot.of(source), target)
    assert restored.problems == []
    assert differences(source, target, holes=True) == []
