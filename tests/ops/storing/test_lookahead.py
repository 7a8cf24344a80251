"""A second process that looks ahead of the walk: what is stored, counted and told is the same with it."""

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup.index import TreeReader
from backup.model.ids import ObjectId
from backup.ops import backup as backup_module
from backup.ops.backup import BackupOptions, BackupResult, backup
from backup.ops.parents import find_parent
from backup.ops.scan import scan
from backup.ops.storing.frame import Vouched
from backup.ops.storing.lookahead import Lookahead
from backup.ops.storing.sources import plan_sources
from backup.ops.storing.unchanged import Settings
from backup.ops.storing.vouching import Voucher
from backup.source.gitignore import parse_pattern
from backup.source.rules import Rules
from tests.repository.stored import Opened, Silent, make

#: How long before now a base backup's files seem to have been made, in ns: nothing is in doubt.
LATER = 10_000_000_000
DIRECTORIES = ["", "a", "a/b", "a/b/c", "a/d", "e", "e/f", "e/f/g", "h", "i"]


@pytest.fixture(autouse=True)
def small_trees_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_module, "WORTH_LOOKING_AHEAD", 0)
    # A thread that another test left asleep holds nothing that a forked process needs.
    monkeypatch.setattr(threading, "active_count", lambda: 1)


@pytest.fixture
def looked_at_first(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The walk waits until all is looked at. Gives what was taken then."""
    taken: list[bytes] = []
    take = Lookahead.take

    def wait(self: Lookahead, path: bytes) -> Vouched | None:
        while self._runs:
            self._listen(None)
        if (vouched := take(self, path)) is not None:
            taken.append(path)
        return vouched

    monkeypatch.setattr(Lookahead, "take", wait)
    return taken


def plant(root: Path) -> Path:
    for directory in DIRECTORIES:
        (root / directory).mkdir(parents=True, exist_ok=True)
        for name in ("one", "two"):
            (root / directory / name).write_bytes(f"{directory}/{name}".encode())
        os.symlink("one", root / directory / "link")
    os.link(root / "a" / "one", root / "e" / "linked")
    return root


def options(workers: int, rules: Rules | None = None) -> BackupOptions:
    return BackupOptions(datetime.now(UTC), "host", "user", workers=workers, rules=rules or Rules())


def base(opened: Opened, *sources: Path, rules: Rules | None = None) -> BackupResult:
    paths = [os.fsencode(source) for source in sources]
    later = time.time_ns() + LATER
    return backup(opened.repository, paths, options(0, rules), Silent(), clock=lambda: later)


def look(opened: Opened, workers: int, *paths: Path) -> tuple[object, ...]:
    monitor = Silent()
    sources = plan_sources(map(os.fsencode, paths))
    parent = find_parent(opened.repository, sources, "host")
    found = scan(opened.repository, sources, parent, options(workers), monitor, read_files=True)
    return found.root, found.counts, monitor.notices, monitor.problems


def change_content(path: Path) -> None:
    (path / "one").write_bytes(b"changed")


def touch(path: Path) -> None:
    os.utime(path / "one")


def add_file(path: Path) -> None:
    (path / "zero").write_bytes(b"new")


def add_directory(path: Path) -> None:
    shutil.copytree(path, path / "below", symlinks=True, ignore=lambda where, names: ["below"])


def remove_file(path: Path) -> None:
    (path / "two").unlink(missing_ok=True)


def remove_all(path: Path) -> None:
    for each in list(path.iterdir()):
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


def swap(path: Path) -> None:
    if (path / "two").exists():
        os.rename(path / "two", path / "three")
        os.rename(path / "one", path / "two")
        os.rename(path / "three", path / "one")


def change_mode(path: Path) -> None:
    path.chmod(0o700)


def replace_by_directory(path: Path) -> None:
    (path / "one").unlink()
    (path / "one").mkdir()


def move_away(path: Path) -> None:
    path.rename(path.with_name(path.name + "-moved"))


def link_again(path: Path) -> None:
    os.link(path / "one", path / "another")


CHANGES: list[Callable[[Path], None]] = [
    change_content, touch, add_file, add_directory, remove_file, remove_all, swap, change_mode,
    replace_by_directory, move_away, link_again,
]  # fmt: skip


CHANGED = st.lists(
    st.tuples(st.sampled_from(DIRECTORIES[1:]), st.sampled_from(CHANGES)), max_size=4, unique=True
)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(DIRECTORIES[1:]), st.sampled_from(CHANGES)), max_size=4, unique=True)
)
def test_whatever_changed_a_look_ahead_finds_the_same(
    changes: list[tuple[str, Callable[[Path], None]]],
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup_module, "WORTH_LOOKING_AHEAD", 0)
        path = Path(name)
        source = plant(path / "source")
        opened = make(path)
        base(opened, source)
        for directory, change in changes:
            if (source / directory / "one").is_file():
                change(source / directory)
        alone = look(opened, 1, source)
        assert look(opened, 2, source) == alone
        take = Lookahead.take
        patch.setattr(Lookahead, "take", lambda self, path: self._listen(50) or take(self, path))
        assert look(opened, 2, source) == alone
        opened.close()


def test_an_unchanged_tree_is_taken_from_the_look_ahead(tmp_path: Path, looked_at_first: list[bytes]) -> None:
    source, opened = plant(tmp_path / "source"), make(tmp_path)
    first = base(opened, source)
    second = backup(opened.repository, [os.fsencode(source)], options(2), Silent())
    assert second.unchanged
    assert second.statistics.files_unchanged == second.statistics.files == first.statistics.files
    assert second.statistics.dirs == first.statistics.dirs == len(DIRECTORIES)
    assert second.statistics.bytes == first.statistics.bytes
    assert looked_at_first == [os.fsencode(source / name) for name in "aehi"]
    opened.close()


def test_only_the_way_to_a_change_is_walked_again(tmp_path: Path, looked_at_first: list[bytes]) -> None:
    source, opened = plant(tmp_path / "source"), make(tmp_path)
    base(opened, source)
    change_content(source / "a" / "b")
    result = backup(opened.repository, [os.fsencode(source)], options(2), Silent())
    assert (result.statistics.files_changed, result.statistics.bytes_read) == (1, len(b"changed"))
    assert looked_at_first == [os.fsencode(source / name) for name in ("a/b/c", "a/d", "e", "h", "i")]
    opened.close()


@pytest.mark.usefixtures("looked_at_first")
def test_not_a_byte_of_what_is_stored_depends_on_the_look_ahead(tmp_path: Path) -> None:
    source, opened = plant(tmp_path / "source"), make(tmp_path)
    base(opened, source)
    for directory in ("a/b", "e", "i"):
        change_content(source / directory)
    add_directory(source / "h")
    opened.close()
    stored = []
    for workers in (1, 2, 4):
        here = tmp_path / str(workers)
        shutil.copytree(tmp_path / "repository", here / "repository")
        copy = Opened(here / "repository", here / "cache")
        backup(copy.repository, [os.fsencode(source)], options(workers), Silent())
        stored.append([path.name for part in ("packs", "index") for path in copy.files(part)])
        copy.close()
    assert stored[1:] == stored[:1] * 2


def vouched_for(opened: Opened, rules: Rules, *paths: Path) -> set[str]:
    """The directories that a look alone vouches for, by their paths below the first one."""
    sources = plan_sources(map(os.fsencode, paths))
    parent = find_parent(opened.repository, sources, "host")
    assert parent is not None
    wanted = Settings(time.time_ns(), parent.body.started_ns, rules=rules)
    told: list[str] = []
    Voucher(
        sources,
        opened.repository.tree,
        wanted,
        lambda path, inside, vouched: told.append(os.path.relpath(os.fsdecode(path), paths[0])),
    ).run(ObjectId(parent.root))
    return set(told)


def test_what_the_rules_keep_out_is_no_change(tmp_path: Path) -> None:
    rules = Rules(patterns=(parse_pattern("two", "a test"),))
    source, opened = plant(tmp_path / "source"), make(tmp_path)
    base(opened, source, rules=rules)
    assert vouched_for(opened, rules, source) == set(DIRECTORIES[1:])
    (source / "a" / "d" / "two").write_bytes(b"still left out")
    # Its directory's own time is as before: nothing came or went.
    assert vouched_for(opened, rules, source) == set(DIRECTORIES[1:])
    opened.close()


def test_a_directory_about_which_something_is_to_be_told_is_left_to_the_walk(tmp_path: Path) -> None:
    source, opened = plant(tmp_path / "source"), make(tmp_path)
    (source / "a" / "b" / ".imbfsignore").write_bytes(b"[[:nonsense:]]\n")
    rules = Rules(ignore_names=(b".imbfsignore",))
    base(opened, source, rules=rules)
    assert vouched_for(opened, rules, source) == set(DIRECTORIES[1:]) - {"a", "a/b"}
    monitor = Silent()
    backup(opened.repository, [os.fsencode(source)], options(2, rules), monitor)
    assert len(monitor.notices) == 1
    opened.close()


def test_what_is_locked_is_left_to_the_walk(tmp_path: Path, looked_at_first: list[bytes]) -> None:
    source, opened = plant(tmp_path / "source"), make(tmp_path)
    base(opened, source)
    change_content(source / "a" / "d")
    wanted = replace(options(2), locked=frozenset({os.fsencode(source / "a" / "d")}))
    monitor = Silent()
    backup(opened.repository, [os.fsencode(source)], wanted, monitor)
    assert [path for path, _ in monitor.problems] == [os.fsencode(source / "a" / "d")]
    assert looked_at_first == [os.fsencode(source / name) for name in ("a/b", "e", "h", "i")]
    opened.close()


def test_with_several_sources_only_what_is_chosen_is_looked_at(tmp_path: Path) -> None:
    source, opened = plant(tmp_path / "source"), make(tmp_path)
    base(opened, source / "a" / "b", source / "e")
    assert vouched_for(opened, Rules(), source / "a" / "b", source / "e") == {
        "..", ".", "c", "../../e", "../../e/f", "../../e/f/g"
    }  # fmt: skip
    opened.close()


def test_the_walk_goes_on_alone_where_the_process_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, opened = plant(tmp_path / "source"), make(tmp_path)
    base(opened, source)
    monkeypatch.setattr(Voucher, "run", lambda self, root: os.abort())
    before = children()
    result = backup(opened.repository, [os.fsencode(source)], options(2), Silent())
    assert result.unchanged
    assert children() == before
    opened.close()


def children() -> set[str]:
    """Process ids, also of those that ended and were not waited for."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name before it may hold anything, parentheses too.
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                found.add(process.name)
    return found


def test_a_killed_reader_of_the_index_does_not_keep_its_pages(tmp_path: Path) -> None:
    """The look ahead is ended when the two have met, perhaps in the middle of a tree."""
    source, opened = plant(tmp_path / "source"), make(tmp_path)
    base(opened, source)
    file = opened.repository.index._file
    ready, done = os.pipe()
    with opened.repository.closed():
        if (pid := os.fork()) == 0:
            reader = TreeReader(file.path)
            with reader._env.begin():
                os.write(done, b"!")
                time.sleep(60)
            os._exit(0)
    os.read(ready, 1)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert str(pid) in file._opened.env.readers()
    opened.repository.index.note_snapshots([])
    assert str(pid) not in file._opened.env.readers()
    os.close(ready)
    os.close(done)
    opened.close()
