"""A repository from someone who means harm: no path leaves the target, no memory bomb, no endless loop.

Trees here are made by hand and stored like any others, with hashes that fit: whoever writes a repository
can do that.
"""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from backup.model.entry import Extent
from backup.model.ids import NO_OBJECT, ObjectId
from backup.repository import Repository, Writer
from backup.snapshots.extents import encode_content
from backup.snapshots.manifest import Labels
from backup.snapshots.tree import STAT, Row, encode_extra, encode_page
from tests.repository.stored import body_of, make
from tests.support.check import DAMAGED, DONE, FAILED, assert_no_traceback
from tests.support.imbfs import Imbfs, Result, command_of
from tests.support.small import build_small

DEEP = 100_000
#: KiB that any command may take: far more than it needs, far less than what the bombs ask for.
MEMORY = 400_000


def row(name: bytes, kind: int, target: ObjectId = NO_OBJECT, size: int = 0, extra: bytes = b"") -> Row:
    columns = STAT.pack(kind | 0o755, os.geteuid(), os.getegid(), 1, size, 1, 1, 0, 0, 1, 0)
    return Row(name, columns, target, extra, 0, 0)


def hostile(imbfs: Imbfs, build: Callable[[Writer], ObjectId]) -> None:
    """Makes the repository; `build` stores what it wants and gives the top directory's tree."""
    made = make(imbfs.directory)
    writer = Writer(made.repository)
    top = build(writer)
    root = writer.store_tree(encode_page([row(b".", stat.S_IFDIR, top)], b""))
    writer.finish()
    writer.commit(body_of(made.repository, root), Labels())
    made.close()


def measured(imbfs: Imbfs, *args: str | Path) -> tuple[Result, int]:
    """The result, with stdout left out, and the most memory that it took, in KiB."""
    process = subprocess.Popen(
        [*command_of(), "--repo", imbfs.repository, *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=imbfs.environment(),
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Result(process.returncode, b"", errors), usage.ru_maxrss


@pytest.mark.parametrize(
    "names",
    [[b""], [b"."], [b".."], [b"../out"], [b"/etc/out"], [b"a/b"], [b"nul\0"], [b"b", b"a"], [b"a", b"a"]],
    ids=repr,
)
def test_names_that_no_directory_has_are_damage_to_every_command(
    imbfs: Imbfs, tmp_path: Path, names: list[bytes]
) -> None:
    def build(writer: Writer) -> ObjectId:
        chunk = writer.store(b"evil")
        bad = writer.store_tree(encode_page([row(name, stat.S_IFREG, chunk, 4) for name in names], b""))
        good = row(b"good", stat.S_IFREG, chunk, 4)
        return writer.store_tree(encode_page([row(b"bad", stat.S_IFDIR, bad), good], b""))

    hostile(imbfs, build)
    target = tmp_path / "inside" / "target"
    target.mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(imbfs.home())}
    restored = imbfs.run("restore", "latest", "--target", target, check=False)
    assert_no_traceback(restored)
    assert restored.code not in (DONE, None)
    after = {path for path in tmp_path.rglob("*") if not path.is_relative_to(imbfs.home())}
    assert {path for path in after - before if path.is_relative_to(tmp_path / "inside")} == {
        target / "good",
        target / "bad",
    }
    assert imbfs.run("check", check=False).code == DAMAGED
    with imbfs.mounted("latest") as mount:
        assert (mount / "good").read_bytes() == b"evil"
        with pytest.raises(OSError, match="Input/output error"):
            os.listdir(mount / "bad")


def chunks_that_claim(size: int) -> Callable[[Writer], ObjectId]:
    """A file of so many bytes, whose one chunk is small, and one of as many bytes that is a hole."""

    def build(writer: Writer) -> ObjectId:
        small = writer.store(b"small")
        _, listed = encode_content([Extent(size // 2, small), Extent(size, small)], writer.store_tree)
        _, hole = encode_content([Extent(size, None)], writer.store_tree)
        return writer.store_tree(
            encode_page(
                [
                    row(b"chunk", stat.S_IFREG, small, size),
                    row(b"chunks", stat.S_IFREG, NO_OBJECT, size, encode_extra(b"", ()) + listed),
                    row(b"hole", stat.S_IFREG, NO_OBJECT, size, encode_extra(b"", ()) + hole),
                ],
                b"",
            )
        )

    return build


@pytest.mark.parametrize("size", [1 << 40, 1 << 50, (1 << 63) - 1], ids=["TiB", "PiB", "8-EiB"])
def test_a_file_that_claims_petabytes_costs_neither_memory_nor_a_wrong_byte(
    imbfs: Imbfs, tmp_path: Path, size: int
) -> None:
    hostile(imbfs, chunks_that_claim(size))
    for args in (["check", "--read-data"], ["restore", "latest", "--target", tmp_path / "back"], ["stats"]):
        result, memory = measured(imbfs, *args)
        assert_no_traceback(result)
        assert "unexpected" not in result.errors, result
        assert memory < MEMORY, args
    assert imbfs.run("check", check=False).code == DAMAGED
    for name in ("chunk", "chunks"):
        assert not (tmp_path / "back" / name).exists()
        result, memory = measured(imbfs, "cat", f"latest:{name}")
        assert result.code not in (DONE, None)
        assert memory < MEMORY
    with imbfs.mounted("latest") as mount:
        assert (mount / "hole").stat().st_size == size
        with (mount / "hole").open("rb") as file:
            file.seek(size // 2)
            assert file.read(10) == bytes(10)
        for name in ("chunk", "chunks"):
            with pytest.raises(OSError, match="Input/output error"), (mount / name).open("rb") as file:
                file.read(10)


def test_blocks_that_decode_to_far_more_than_they_hold_are_decoded_one_at_a_time(imbfs: Imbfs) -> None:
    def build(writer: Writer) -> ObjectId:
        rows = []
        for number in range(12):
            size = (48 << 20) + number
            rows.append(row(b"%02d" % number, stat.S_IFREG, writer.store(bytes(size)), size))
        return writer.store_tree(encode_page(rows, b""))

    hostile(imbfs, build)
    assert sum(path.stat().st_size for path in imbfs.repository.rglob("packs/*/*")) < 1 << 20
    result, memory = measured(imbfs, "check", "--read-data")
    assert result.code == DONE, result
    assert memory < MEMORY
    result, memory = measured(imbfs, "cat", "latest:11")
    assert result.code == DONE, result
    assert memory < MEMORY


def test_directories_100_000_deep_are_checked_and_mounted_without_recursion(imbfs: Imbfs) -> None:
    def build(writer: Writer) -> ObjectId:
        tree = writer.store_tree(encode_page([], b""))
        for _ in range(DEEP):
            tree = writer.store_tree(encode_page([row(b"d", stat.S_IFDIR, tree)], b""))
        return tree

    hostile(imbfs, build)
    result, memory = measured(imbfs, "check")
    assert result.code == DONE, result
    assert memory < MEMORY
    with imbfs.mounted("latest") as mount:
        assert (mount / "/".join(["d"] * 1000)).is_dir()


def test_an_index_that_lies_about_a_tree_is_not_believed(imbfs: Imbfs, tmp_path: Path) -> None:
    """It might say that a tree contains itself: a hash cannot."""
    names: list[ObjectId] = []

    def build(writer: Writer) -> ObjectId:
        inner = writer.store_tree(encode_page([], b""))
        names.append(writer.store_tree(encode_page([row(b"d", stat.S_IFDIR, inner)], b"")))
        return names[0]

    hostile(imbfs, build)
    itself = encode_page([row(b"d", stat.S_IFDIR, names[0])], b"")
    with Repository.open(imbfs.repository, tmp_path / "cache", lambda text: None) as repository:
        repository.index.add_trees([(names[0], itself)])
    assert set(imbfs.ls("latest", "-R")) == {b"d"}
    imbfs.run("restore", "latest", "--target", tmp_path / "back")
    assert [path.name for path in (tmp_path / "back").rglob("*")] == ["d"]
    assert imbfs.run("check", "--read-data", check=False).code in (DONE, DAMAGED)


@pytest.mark.parametrize("part", ["packs", "index", "snapshots", "tmp", "leases"])
def test_nothing_is_written_through_a_link_that_was_planted_in_the_repository(
    imbfs: Imbfs, tmp_path: Path, part: str
) -> None:
    imbfs.run("init")
    outside = tmp_path / "outside"
    outside.mkdir()
    place = imbfs.repository / part
    if place.exists():
        place.rmdir()
    place.symlink_to(outside)
    result = imbfs.run("backup", build_small(tmp_path / "source"), check=False)
    assert result.code == FAILED, result
    assert "is a link" in result.errors
    assert_no_traceback(result)
    assert os.listdir(outside) == []


def test_nothing_is_written_through_a_link_in_the_place_of_a_directory_of_packs(
    imbfs: Imbfs, tmp_path: Path
) -> None:
    imbfs.run("init")
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in range(256):
        (imbfs.repository / "packs" / f"{number:02x}").symlink_to(outside)
    result = imbfs.run("backup", build_small(tmp_path / "source"), check=False)
    assert result.code == FAILED, result
    assert os.listdir(outside) == []


@pytest.mark.parametrize("part", ["packs", "index", "snapshots"])
def test_a_file_of_the_repository_that_is_a_link_is_damage_and_not_followed(
    imbfs: Imbfs, tmp_path: Path, part: str
) -> None:
    imbfs.run("init")
    imbfs.run("backup", build_small(tmp_path / "source"))
    for path in [path for path in (imbfs.repository / part).rglob("*") if path.is_file()]:
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    result = imbfs.run("check", "--read-data", check=False)
    assert_no_traceback(result)
    assert result.code == DAMAGED, result
