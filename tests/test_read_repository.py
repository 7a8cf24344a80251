"""docs/format.md is enough: a reader written from it alone brings back what the real command stored."""

import ast
import os
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from backup.model.ids import ObjectId
from backup.objects.block import CompressionSettings
from backup.repository import Repository, Writer
from backup.repository.config import new_config
from backup.snapshots.manifest import Labels
from backup.snapshots.tree import Row, encode_extra
from backup.snapshots.tree_writer import write_tree
from tests.repository.stored import body_of
from tests.snapshots.rows import no_name, plain_row
from tests.support.check import assert_no_traceback
from tests.support.compare import differences
from tests.support.damage import DAMAGES, files_of
from tests.support.everything import Everything, remove_tree
from tests.support.imbfs import Imbfs, Result
from tests.support.small import FILES, build_small, bytes_of

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "read_repository.py"


def read(*arguments: str | Path, user: int | None = None) -> Result:
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, timeout=120, user=user)
    return Result(done.returncode, done.stdout, done.stderr)


def test_it_has_at_most_150_lines_and_knows_nothing_of_ours() -> None:
    lines = SCRIPT.read_text().splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 110
    imported = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    assert imported - sys.stdlib_module_names == {"zstandard", "blake3"}


@pytest.mark.parametrize(("hash_name", "compression"), [("blake3", "zstd:3"), ("sha256", "none")])
def test_a_tree_of_every_kind_of_thing_comes_back(
    everything: Everything, tmp_path: Path, mark: str, hash_name: str, compression: str
) -> None:
    imbfs = Imbfs(tmp_path, mark)
    imbfs.run("init", "--hash", hash_name, "--compression", compression)
    imbfs.run("backup", everything.root)
    for path in (*files_of(imbfs.repository, "index"), *files_of(imbfs.repository, "segment")):
        path.unlink()
    back = tmp_path / "back"
    result = read(imbfs.repository, back)
    try:
        if os.geteuid() == 0:
            assert (result.code, result.errors) == (0, "")
        assert differences(everything.root, back, holes=True) == []
    finally:
        remove_tree(back)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, mark: str) -> Imbfs:
    made = Imbfs(tmp_path_factory.mktemp("template"), mark)
    made.run("init")
    made.run("backup", build_small(made.directory / "source"))
    return made


@pytest.fixture
def saved(imbfs: Imbfs, template: Imbfs) -> Imbfs:
    """An imbfs with one snapshot of a small tree; a copy of a repository made once."""
    shutil.copytree(template.repository, imbfs.repository)
    return imbfs


def test_a_large_directory_comes_back(imbfs: Imbfs, tmp_path: Path) -> None:
    names = random.Random(1).sample(range(10**9), 4200)
    (tmp_path / "source").mkdir()
    for name in names:
        (tmp_path / "source" / str(name)).touch()
    imbfs.run("init")
    imbfs.run("backup", tmp_path / "source")
    assert read(imbfs.repository, tmp_path / "back").code == 0
    assert {path.name for path in (tmp_path / "back").iterdir()} == set(map(str, names))


def test_a_file_with_very_many_holes_comes_back(imbfs: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with (tmp_path / "source" / "file").open("wb") as file:
        for number in range(1500):
            file.seek(number * 16384)
            file.write(b"%04d" % number)
    imbfs.run("init")
    imbfs.run("backup", tmp_path / "source")
    assert read(imbfs.repository, tmp_path / "back").code == 0
    assert differences(tmp_path / "source", tmp_path / "back", holes=True) == []


def test_without_a_snapshot_it_takes_the_newest_and_else_the_one_named(saved: Imbfs, tmp_path: Path) -> None:
    (first,) = saved.snapshots()
    build_small(tmp_path / "source")
    (tmp_path / "source" / "readme").write_text("second\n")
    saved.run("backup", tmp_path / "source")
    read(saved.repository, tmp_path / "newest")
    read(saved.repository, first["id"][:12], tmp_path / "older")
    assert (tmp_path / "newest" / "readme").read_text() == "second\n"
    assert (tmp_path / "older" / "readme").read_text() == "hello\n"
    assert read(saved.repository, "0" * 64, tmp_path / "none").code != 0


def test_it_never_writes_into_what_is_there(saved: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    for target in ("there", "link"):
        assert read(saved.repository, tmp_path / target).code == 1
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", ["config", "pack", "manifest"])
def test_damage_is_told_and_no_wrong_byte_comes_back(
    saved: Imbfs, tmp_path: Path, kind: str, how: str
) -> None:
    for number, path in enumerate(files_of(saved.repository, kind)):
        repository, back = tmp_path / f"copy-{number}", tmp_path / f"back-{number}"
        shutil.copytree(saved.repository, repository)
        DAMAGES[how](repository / path.relative_to(saved.repository))
        code = read(repository, back).code
        found = bytes_of(back) if back.exists() else {}
        for name, data in found.items():
            assert FILES.get(name, FILES[b"readme"]).startswith(data), name
        # The first bytes of a pack are its magic: no object is in them.
        assert code != 0 or (how == "flipped-at-the-start" and found.items() >= FILES.items())


def test_damage_to_one_file_leaves_the_others_readable(saved: Imbfs, tmp_path: Path) -> None:
    largest = max(files_of(saved.repository, "pack"), key=lambda path: path.stat().st_size)
    DAMAGES["flipped-in-the-middle"](largest)
    result = read(saved.repository, tmp_path / "back")
    assert result.code == 1
    assert_no_traceback(result)
    found = bytes_of(tmp_path / "back")
    assert {name for name, data in FILES.items() if found.get(name) != data} == {b"large"}


# Hostile trees, in a repository of which every hash is right


def hostile(tmp_path: Path, rows: list[Row]) -> Path:
    """A snapshot whose top directory has these rows, as they are given."""
    path = tmp_path / "hostile"
    Repository.create(path, new_config("blake3", CompressionSettings(), 1 << 20))
    with Repository.open(path, tmp_path / "cache", lambda _: None) as repository:
        writer = Writer(repository)
        chunk = writer.store(b"written\n")
        filled = [row._replace(object=chunk) if stat.S_ISREG(mode_of(row)) else row for row in rows]
        inner = write_tree(filled, writer.store_tree, no_name, no_name)
        root = write_tree([directory_row(b".", inner)], writer.store_tree, no_name, no_name)
        writer.finish()
        writer.commit(body_of(repository, root), Labels())
    return path


def mode_of(row: Row) -> int:
    return int.from_bytes(row.stat[:4], "little")


def directory_row(name: bytes, tree: ObjectId) -> Row:
    return plain_row(name, 0o040755, object=tree)


def file_row(name: bytes, **fields: int) -> Row:
    row = plain_row(name, 0o100777, **fields)
    return row._replace(stat=row.stat[:16] + (8).to_bytes(8, "little") + row.stat[24:])


@pytest.mark.parametrize("name", [b"..", b".", b"", b"../outside", b"/tmp/outside", b"a/b", b"x\0y"])
def test_a_hostile_name_is_refused_and_nothing_is_written(tmp_path: Path, name: bytes) -> None:
    repository = hostile(tmp_path, [file_row(name)])
    before = sorted(tmp_path.rglob("*"))
    result = read(repository, tmp_path / "back")
    assert (result.code, "damaged" in result.errors) == (1, True)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    link = plain_row(b"name", 0o120777, extra=encode_extra(os.fsencode(tmp_path), ()))
    assert read(hostile(tmp_path, [link, file_row(b"name")]), tmp_path / "back").code == 1
    assert not (tmp_path / "back").exists()


def test_a_hard_link_to_a_symlink_changes_nothing_behind_it(tmp_path: Path) -> None:
    """A symlink and a file that claim to be one: the mode must not go through to the link's target."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    victim.chmod(0o600)
    link = plain_row(b"a", 0o120777, extra=encode_extra(os.fsencode(victim), ()))
    rows = [as_linked(link), as_linked(file_row(b"b"))]
    read(hostile(tmp_path, rows), tmp_path / "back")
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("untouched", 0o600)
    assert (tmp_path / "back" / "b").read_bytes() == b"written\n"


def as_linked(row: Row) -> Row:
    return row._replace(stat=row.stat[:12] + (2).to_bytes(4, "little") + row.stat[16:])
