"""Damage: EIO's cause for what it covers, zeros where that is allowed, and everything else as it was."""

import os
from pathlib import Path

import pytest

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.objects.pack import pack_key
from backup.snapshots.manifest import Snapshot
from backup.views.open import open_increment, open_snapshot
from backup.views.snapshot import Options
from tests.support.everything import MIB, noise, sparse_file
from tests.views.grow import change
from tests.views.kept import Kept
from tests.views.shown import Shown

LARGE = noise(6 * MIB, 1)


@pytest.fixture
def snapshot(kept: Kept, source: Path) -> Snapshot:
    (source / "large").write_bytes(LARGE)
    (source / "other").write_bytes(noise(2 * MIB, 2))
    (source / "small").write_bytes(b"small\n")
    (source / "sub" / "inner").mkdir(parents=True)
    (source / "sub" / "inner" / "file").write_bytes(b"deep\n")
    return kept.backup(source)


def shown(kept: Kept, snapshot: Snapshot, *, allow_damaged: bool = False) -> Shown:
    return Shown(open_snapshot(kept.repository, snapshot, options=Options(allow_damaged)))


def chunks(kept: Kept, snapshot: Snapshot, name: bytes) -> list[tuple[int, int, ObjectId]]:
    """Start, end and name of each chunk of a file at the top."""
    tree = kept.repository.root(snapshot).entry(0).tree
    assert tree is not None
    directory = kept.repository.directory(tree)
    start, found = 0, []
    for end, chunk in directory.entry(directory.find(name)).extents:
        if chunk is not None:
            found.append((start, end, chunk))
        start = end
    return found


def damage(kept: Kept, object_id: ObjectId) -> None:
    """Changes a byte in the middle of the block that holds the object; nothing is kept in memory."""
    place = kept.repository.reader.place(object_id)
    path = kept.path / pack_key(place.pack)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(place.block_offset + place.block_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x10]))
    kept.repository.close()
    kept.repository = kept.open()


def test_only_the_damaged_range_of_a_file_is_refused(kept: Kept, snapshot: Snapshot) -> None:
    parts = chunks(kept, snapshot, b"large")
    assert len(parts) > 2
    start, end, bad = parts[1]
    damage(kept, bad)
    found = shown(kept, snapshot)
    content = found.view.open(found.ino("large"))
    for offset, size in ((start, 1), (end - 1, 1), (start - 10, 20), (0, len(LARGE))):
        with pytest.raises(Damaged, match="large"):
            content.read(offset, size)
    assert bytes(content.read(0, start)) == LARGE[:start]
    assert bytes(content.read(end, len(LARGE))) == LARGE[end:]


def test_everything_but_the_damaged_file_is_as_before(kept: Kept, snapshot: Snapshot, source: Path) -> None:
    damage(kept, chunks(kept, snapshot, b"large")[1][2])
    found = shown(kept, snapshot)
    assert found.ls() == ["large", "other", "small", "sub"]
    assert found.data("other") == (source / "other").read_bytes()
    assert found.data("small") == b"small\n"
    assert found.data("sub/inner/file") == b"deep\n"


def test_allowed_damage_is_zeros_of_the_same_length(kept: Kept, snapshot: Snapshot) -> None:
    start, end, bad = chunks(kept, snapshot, b"large")[1]
    damage(kept, bad)
    found = shown(kept, snapshot, allow_damaged=True)
    assert found.data("large") == LARGE[:start] + bytes(end - start) + LARGE[end:]


def test_a_damaged_file_tells_so_by_name(kept: Kept, snapshot: Snapshot) -> None:
    damage(kept, chunks(kept, snapshot, b"large")[1][2])
    for allow_damaged in (False, True):
        found = shown(kept, snapshot, allow_damaged=allow_damaged)
        told = {path: found.xattr(path, "user.imbfs.damaged") for path in ("large", "other", "small", "sub")}
        assert told == {"large": b"1", "other": b"0", "small": b"0", "sub": b"0"}


def test_a_lost_pack_is_refused_with_the_name_of_the_file(kept: Kept, snapshot: Snapshot) -> None:
    place = kept.repository.reader.place(chunks(kept, snapshot, b"other")[0][2])
    (kept.path / pack_key(place.pack)).unlink()
    found = shown(kept, snapshot)
    assert found.ls("sub/inner") == ["file"]
    with pytest.raises(Damaged, match=r"other.*missing"):
        found.data("other")


def damage_tree(kept: Kept, snapshot: Snapshot, *names: bytes) -> None:
    """The tree of the directory at the path, in its pack and with no copy in the index."""
    tree = kept.repository.root(snapshot).entry(0).tree
    for name in names:
        assert tree is not None
        directory = kept.repository.directory(tree)
        tree = directory.entry(directory.find(name)).tree
    assert tree is not None
    break_object(kept, tree)


def break_object(kept: Kept, bad: ObjectId) -> None:
    """As if nothing but this one object could not be read."""
    repository = kept.repository
    read = repository.tree

    def tree(object_id: ObjectId) -> bytes | memoryview:
        if object_id == bad:
            raise Damaged(f"object {bad.hex()[:12]} is missing from the repository")
        return read(object_id)

    setattr(repository, "tree", tree)  # noqa: B010


def test_a_damaged_tree_costs_what_is_in_that_directory(kept: Kept, snapshot: Snapshot) -> None:
    damage_tree(kept, snapshot, b"sub", b"inner")
    found = shown(kept, snapshot)
    assert found.ls() == ["large", "other", "small", "sub"]
    assert found.ls("sub") == ["inner"]
    assert found.stat("sub/inner").nlink >= 2
    assert found.xattr("sub/inner", "user.imbfs.damaged") == b"1"
    assert found.xattr("sub", "user.imbfs.damaged") == b"0"
    with pytest.raises(Damaged):
        found.ls("sub/inner")
    assert found.data("small") == b"small\n"


def test_a_damaged_list_of_chunks_costs_that_file_alone(kept: Kept, source: Path) -> None:
    runs = [(number * 8192, b"%04d" % number) for number in range(1100)]
    sparse_file(os.fsencode(source / "many runs"), 1100 * 8192, runs)
    (source / "beside").write_bytes(b"beside\n")
    snapshot = kept.backup(source)
    read: list[ObjectId] = []
    tree = kept.repository.tree

    def noted(object_id: ObjectId) -> bytes | memoryview:
        read.append(object_id)
        return tree(object_id)

    setattr(kept.repository, "tree", noted)  # noqa: B010
    found = shown(kept, snapshot)
    assert found.data("many runs")[:4] == b"0000"
    break_object(kept, read[-1])
    found = shown(kept, snapshot)
    assert found.ls() == ["beside", "many runs"]
    assert found.data("beside") == b"beside\n"
    assert found.stat("many runs").size == 1100 * 8192
    with pytest.raises(Damaged):
        found.data("many runs")
    assert found.xattr("many runs", "user.imbfs.damaged") == b"1"


def test_an_increment_that_needs_a_damaged_tree_says_so_there_and_shows_the_rest(
    kept: Kept, source: Path, snapshot: Snapshot
) -> None:
    change(source / "sub" / "inner" / "file", b"changed\n")
    change(source / "small", b"changed already\n")
    second = kept.backup(source)
    change(source / "small", b"changed\n")
    third = kept.backup(source)
    damage_tree(kept, second, b"sub", b"inner")
    found = Shown(open_increment(kept.repository, snapshot, second))
    assert found.summary() == {"small": "content", "sub/inner": "damaged"}
    assert found.data("files/small") == b"changed already\n"
    assert found.ls("files") == ["small", "sub"]
    assert found.ls("files/sub") == ["inner"]
    with pytest.raises(Damaged):
        found.ls("files/sub/inner")
    assert found.ls("deleted") == []
    assert Shown(open_increment(kept.repository, second, third)).summary() == {"small": "content"}
    added = Shown(open_increment(kept.repository, None, second))
    assert added.summary() == {
        **dict.fromkeys([".", "large", "other", "small", "sub"], "added"),
        "sub/inner": "damaged",
    }
