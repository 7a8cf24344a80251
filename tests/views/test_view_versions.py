"""`versions/`: the union of all snapshots' trees, each file a directory of its distinct versions."""

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.views.clocked import Clocked
from tests.views.grow import File, Tree, change, grow
from tests.views.kept import Kept, TreesRead

TIMES = [f"2026-11-20T12.0{minute}.00+0100" for minute in range(10)]


def history(kept: Kept, source: Path, *trees: Tree) -> Clocked:
    """The view after a backup of each of the trees at the same place."""
    for tree in trees:
        shutil.rmtree(source)
        kept.backup(grow(source, tree))
    return Clocked(kept)


def test_each_distinct_content_is_one_version_named_by_when_it_was_first_seen(
    kept: Kept, source: Path
) -> None:
    texts = [b"first", b"first", b"second one", b"second one", b"third"]
    found = history(kept, source, *({"note.txt": text} for text in texts))
    names = [f"{TIMES[number]}.txt" for number in (0, 2, 4)]
    assert found.ls("versions") == ["note.txt"]
    assert found.ls("versions/note.txt") == names
    contents = [found.data(f"versions/note.txt/{name}") for name in names]
    assert contents == [b"first", b"second one", b"third"]


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.tar.gz", ".gz"), ("plain", ""), (".profile", ""), ("dot.", "."), ("sp ace.J P", ".J P")],
)
def test_a_version_has_the_suffix_of_the_file(kept: Kept, source: Path, name: str, suffix: str) -> None:
    assert history(kept, source, {name: b"x"}).ls(f"versions/{name}") == [TIMES[0] + suffix]


def test_a_version_has_the_attributes_that_the_file_had(kept: Kept, source: Path) -> None:
    found = history(kept, source, {"f": File(b"x", 0o640)}, {"f": File(b"xy", 0o600)})
    one, other = (found.stat(f"versions/f/{TIMES[number]}") for number in (0, 1))
    assert (one.mode & 0o7777, one.size) == (0o640, 1)
    assert (other.mode & 0o7777, other.size) == (0o600, 2)
    assert one.ino != other.ino


def test_new_metadata_is_a_version_and_a_new_ctime_or_inode_is_none(kept: Kept, source: Path) -> None:
    kept.backup(grow(source, {"f": b"x"}))
    (source / "f").chmod(0o600)
    kept.backup(source)
    (source / "f").chmod(0o600)
    kept.backup(source)
    shutil.copy2(source / "f", source / "copy")
    (source / "copy").rename(source / "f")
    kept.backup(source)
    os.link(source / "f", source / "g")
    kept.backup(source)
    assert Clocked(kept).ls("versions/f") == TIMES[:2]


def test_a_file_that_is_gone_keeps_its_versions(kept: Kept, source: Path) -> None:
    found = history(kept, source, {"old": b"x", "kept": b"y"}, {"kept": b"y"}, {"new": b"z", "kept": b"y"})
    assert found.ls("versions") == ["kept", "new", "old"]
    assert found.ls("versions/old") == [TIMES[0]]
    assert found.ls("versions/new") == [TIMES[2]]


def test_a_file_that_came_back_as_it_was_is_the_version_it_was(kept: Kept, source: Path) -> None:
    assert history(kept, source, {"f": b"x"}, {}, {"f": b"x"}).ls("versions/f") == [TIMES[0]]


def test_directories_are_united(kept: Kept, source: Path) -> None:
    found = history(kept, source, {"d": {"a": b"1", "e": {"x": b"1"}}}, {"d": {"b": b"2", "e": {"y": b"2"}}})
    assert found.ls("versions/d") == ["a", "b", "e"]
    assert found.ls("versions/d/e") == ["x", "y"]
    assert found.data(f"versions/d/e/y/{TIMES[1]}") == b"2"


def test_a_name_that_was_a_directory_and_a_file_shows_both(kept: Kept, source: Path) -> None:
    found = history(kept, source, {"it.d": {"inside": b"1"}}, {"it.d": b"a file"}, {"it.d": {"later": b"2"}})
    assert found.ls("versions/it.d") == [f"{TIMES[1]}.d", "inside", "later"]
    assert found.data(f"versions/it.d/{TIMES[1]}.d") == b"a file"
    assert found.data(f"versions/it.d/later/{TIMES[2]}") == b"2"


def test_a_symlink_has_versions_too(kept: Kept, source: Path) -> None:
    for target in ("one", "two"):
        (source / "link").unlink(missing_ok=True)
        (source / "link").symlink_to(target)
        kept.backup(source)
    found = Clocked(kept)
    assert [found.target(f"versions/link/{name}") for name in found.ls("versions/link")] == ["one", "two"]


def test_versions_of_one_second_do_not_share_a_name(kept: Kept, source: Path) -> None:
    for number in range(3):
        change(source / "f.txt", b"x" * number)
        kept.backup(source, time=f"2026-11-20T12:00:00.{number}+01:00")
    found = Clocked(kept)
    names = found.ls("versions/f.txt")
    assert {found.data(f"versions/f.txt/{name}") for name in names} == {b"", b"x", b"xx"}
    assert all(name.endswith(".txt") for name in names)


def test_opening_a_directory_reads_that_directory_in_the_snapshots_alone(
    kept: Kept, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = 4
    for number in range(snapshots):
        data = b"%d" % number
        deep: Tree = {"x": {"y": {"file": data}}, "z": {"file": data}}
        shutil.rmtree(source)
        kept.backup(grow(source, {f"d{n}": deep for n in range(10)}))
    trees = TreesRead(kept.repository, monkeypatch.setattr)
    found = Clocked(kept)
    assert len(found.listing("versions")) == 10
    # Of each snapshot the page of its root, and the root.
    assert trees.distinct() == snapshots * 2
    assert found.ls("versions/d3/x") == ["y"]
    trees.read.clear()
    assert found.ls("versions/d3/x/y") == ["file"]
    assert trees.distinct() == snapshots
    assert found.ls("versions/d3/x/y") == ["file"]
    assert trees.distinct() == 0
    assert not found.exists("versions/d4/missing")
    assert trees.distinct() == snapshots


def test_equal_directories_of_many_snapshots_are_read_once(
    kept: Kept, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(source, {"same": {"deep": {"file": b"x"}}, "counter": b""})
    for number in range(6):
        change(source / "counter", b"%d" % number)
        kept.backup(source)
    trees = TreesRead(kept.repository, monkeypatch.setattr)
    found = Clocked(kept)
    found.ls("versions")
    trees.read.clear()
    assert found.ls("versions/same/deep/file") == [TIMES[0]]
    roots = {snapshot.root for snapshot in kept.repository.snapshots()}
    assert len(set(trees.read) - roots) == 2


def test_a_new_snapshot_brings_its_versions_and_a_forgotten_one_takes_its_own_away(
    kept: Kept, source: Path
) -> None:
    first = kept.backup(grow(source, {"d": {"f": b"1"}}))
    found = Clocked(kept)
    assert found.ls("versions/d/f") == [TIMES[0]]
    change(source / "d" / "f", b"22")
    kept.backup(source)
    assert found.later().ls("versions/d/f") == TIMES[:2]
    kept.forget(first)
    assert found.later().ls("versions/d/f") == [TIMES[1]]
    assert found.data(f"versions/d/f/{TIMES[1]}") == b"22"


def test_a_version_passes_to_the_oldest_snapshot_that_still_has_it(kept: Kept, source: Path) -> None:
    first = kept.backup(grow(source, {"d": {"f": b"1"}}))
    second = kept.backup(source)
    found = Clocked(kept)
    assert found.ls("versions/d/f") == [TIMES[0]]
    kept.forget(first)
    assert found.later().ls("versions/d/f") == [TIMES[1]]
    assert found.xattr(f"versions/d/f/{TIMES[1]}", "user.imbfs.snapshot") == second.id.encode()


def test_a_name_that_passes_to_another_version_shows_that_one(kept: Kept, source: Path) -> None:
    snapshots = []
    for number, data in enumerate((b"one", b"two")):
        change(source / "f", data)
        snapshots.append(kept.backup(source, time=f"2026-11-20T12:00:00.{number}+01:00"))
    found = Clocked(kept)
    name = f"versions/f/{TIMES[0]}"
    number = found.ino(name)
    assert found.data(name) == b"one"
    kept.forget(snapshots[0])
    found.later()
    assert found.data(name) == b"two"
    assert found.ino(name) != number, "the kernel keeps the pages of the old one"


def test_a_large_directory_is_listed_and_looked_up_quickly(kept: Kept, source: Path) -> None:
    names = [f"f{number:04}" for number in range(2_000)]
    (source / "d").mkdir()
    for name in names:
        os.close(os.open(source / "d" / name, os.O_CREAT | os.O_WRONLY))
    for number in range(3):
        change(source / "d" / "changing", b"%d" % number)
        kept.backup(source)
    found = Clocked(kept)
    start = time.process_time()
    assert len(found.listing("versions/d")) == 2_001
    ino = found.ino("versions/d")
    for name in names[:500]:
        found.view.lookup(ino, name.encode())
    assert found.ls("versions/d/changing") == TIMES[:3]
    # Half a millisecond each: a step that looks at all names again takes many times as long.
    assert time.process_time() - start < 1.25
