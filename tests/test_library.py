"""The public names, as other programs use them: `docs/library.md` runs, and what it promises holds."""

import io
import os
import random
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import backup
from backup import ContentStore, Damaged, NotFound, Repository, SnapshotReader
from backup.library import content as content_module
from tests.support.damage import files_of
from tests.support.imbfs import Imbfs

PAGE = Path(__file__).resolve().parent.parent / "docs/library.md"


@pytest.fixture
def repository(imbfs: Imbfs) -> Iterator[Repository]:
    with backup.init_repository(imbfs.repository, cache=imbfs.directory / "cache") as made:
        yield made


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A few files of all usual kinds, and one of several chunks with a hole."""
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "small").write_bytes(b"small")
    (tree / "empty").write_bytes(b"")
    (tree / "inner" / os.fsdecode(b"caf\xe9\n")).write_bytes(b"a name that is no text")
    (tree / "link").symlink_to("small")
    with open(tree / "large", "wb") as file:
        file.write(random.Random(1).randbytes(3 << 20))
        file.seek(2 << 20, os.SEEK_CUR)
        file.write(b"behind a hole")
    return tree


def saved(repository: Repository, *paths: Path) -> str:
    result = backup.run_backup(repository, paths, workers=0)
    assert result.snapshot is not None
    return result.snapshot


# ---- the page and the names ----------------------------------------------------------------------


def test_the_examples_of_the_page_run_one_after_the_other(tmp_path: Path) -> None:
    program = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input=program,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PAGE.parent.parent), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_on_the_page() -> None:
    text = PAGE.read_text()
    for name in backup.__all__:
        assert getattr(backup, name) is not None
        assert name.startswith("__") or re.search(rf"\b{name}\b", text), name


def test_a_name_that_is_not_public_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Writer'"):
        backup.Writer  # noqa: B018


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    code = "import sys, backup; print([name for name in sys.modules if name.startswith('backup.')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


# ---- reading a snapshot --------------------------------------------------------------------------


def test_a_reader_shows_what_the_source_had(repository: Repository, tree: Path) -> None:
    with SnapshotReader(repository, saved(repository, tree)) as reader:
        assert reader.listdir() == sorted(map(os.fsencode, os.listdir(tree)))
        for path, entry in reader.walk():
            here = os.path.join(os.fsencode(tree), path)
            kept, status = reader.stat(path), os.lstat(here)
            names = (
                "st_mode",
                "st_size",
                "st_mtime_ns",
                "st_ctime_ns",
                "st_uid",
                "st_gid",
                "st_nlink",
                "st_ino",
            )
            assert [getattr(kept, name) for name in names] == [getattr(status, name) for name in names]
            if entry.kind == "file":
                with reader.open(path) as file:
                    assert file.read() == Path(os.fsdecode(here)).read_bytes()
        assert reader.readlink("link") == b"small"
        assert reader.entry(os.fsencode(tree) + b"/small").size == 5


def test_an_open_file_reads_at_any_place(repository: Repository, tree: Path) -> None:
    whole = (tree / "large").read_bytes()
    choice = random.Random(2)
    with SnapshotReader(repository, saved(repository, tree)) as reader, reader.open("large") as file:
        for _ in range(50):
            at, size = choice.randrange(len(whole) + 10), choice.randrange(1 << 20)
            assert file.seek(at) == at
            assert file.read(size) == whole[at : at + size]
        assert file.seek(-3, os.SEEK_END) == len(whole) - 3
        assert file.read() == whole[-3:]
        with pytest.raises(ValueError, match="no place"):
            file.seek(-1)


def test_a_reader_says_what_is_not_there(repository: Repository, tree: Path) -> None:
    with SnapshotReader(repository, saved(repository, tree)) as reader:
        assert not reader.exists("no such")
        with pytest.raises(NotFound, match="there is no no such"):
            reader.open("no such")
        with pytest.raises(NotFound, match="is a directory: name a file"):
            reader.open("inner")
        with pytest.raises(NotFound, match="name a directory"):
            reader.listdir("small")
        with pytest.raises(NotFound, match="name a symlink"):
            reader.readlink("small")


def test_what_a_reader_shows_stays_when_it_is_forgotten_and_pruned(
    repository: Repository, tree: Path, imbfs: Imbfs
) -> None:
    snapshot = saved(repository, tree)
    with SnapshotReader(repository, snapshot) as reader:
        imbfs.run("forget", "--allow-last", snapshot)
        imbfs.run("prune", "--max-unused", "0")
        with reader.open("large") as file:
            assert file.read() == (tree / "large").read_bytes()


def test_damage_raises_and_other_files_are_read(repository: Repository, tree: Path) -> None:
    with SnapshotReader(repository, saved(repository, tree)) as reader:
        chunk = reader.entry("large").extents[0].chunk
        assert chunk is not None
        place = repository.lookup.place(chunk)
        assert place is not None
        (pack,) = [path for path in files_of(repository.path, "pack") if path.name == place.pack.hex()]
        pack.chmod(0o600)
        with open(pack, "r+b") as file:
            file.seek(place.block_offset + place.block_size // 2)
            file.write(b"rot")
        with reader.open("large") as damaged, pytest.raises(Damaged, match="large"):
            damaged.read()
        with reader.open("small") as sound:
            assert sound.read() == b"small"


# ---- the content store ---------------------------------------------------------------------------


def content_of(store: ContentStore, token: backup.Token) -> bytes:
    with store.open(token) as file:
        return file.read()


def test_a_content_comes_back_and_equal_ones_are_kept_once(repository: Repository, tree: Path) -> None:
    """Parity row 4: store a file and get a token, copy out, open read-only, sizes and references."""
    whole = (tree / "large").read_bytes()
    with ContentStore(repository) as store:
        first = store.store(tree / "large", label="by path")
        before = sum(size for _, size in repository.inventory.packs())
        second = store.store(io.BytesIO(whole))
        assert first != second
        assert content_of(store, first) == content_of(store, second) == whole
        assert sum(size for _, size in repository.inventory.packs()) == before
        assert store.references(first) == store.references(second) == 2
        assert store.size(first).plain == len(whole)
        assert 3 << 20 <= store.size(first).stored < len(whole)
        assert store.label(first) == "by path"
        store.copy_out(first, tree / "copy")
        assert (tree / "copy").read_bytes() == whole
        with pytest.raises(FileExistsError):
            store.copy_out(first, tree / "small")
        assert (tree / "small").read_bytes() == b"small"
        assert not [name for name in os.listdir(tree) if "imbfs" in name]
        with pytest.raises(io.UnsupportedOperation):
            store.open(first).write(b"no")


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 9 << 20])
def test_a_content_may_have_any_length(repository: Repository, size: int) -> None:
    data = random.Random(size).randbytes(size)
    with ContentStore(repository) as store:
        assert content_of(store, store.store(io.BytesIO(data))) == data


def test_a_content_stays_until_its_last_token_is_released(repository: Repository, imbfs: Imbfs) -> None:
    """Parity row 5: to release is not to reclaim; references are found, not counted in a file."""
    data = random.Random(3).randbytes(200_000)
    with ContentStore(repository) as store:
        first, second = store.store(io.BytesIO(data)), store.store(io.BytesIO(data))
        store.release(first)
        with pytest.raises(NotFound, match="was released, or never given"):
            store.release(first)
        imbfs.run("prune", "--max-unused", "0")
        assert content_of(store, second) == data
        store.release(second)
    assert imbfs.run("--json", "prune", "--max-unused", "0").json()["packs_removed"] > 0
    assert not files_of(imbfs.repository, "pack")


def test_many_contents_at_once_share_packs(repository: Repository) -> None:
    with ContentStore(repository) as store:
        tokens = store.store_all([io.BytesIO(b"content %d" % number) for number in range(500)])
        assert len(set(tokens)) == 500
        assert content_of(store, tokens[321]) == b"content 321"
        assert [token for token, _ in store.tokens()] != []
    assert len(files_of(repository.path, "pack")) == 2


def test_a_failure_among_many_gives_no_token(repository: Repository, tmp_path: Path) -> None:
    with ContentStore(repository) as store:
        with pytest.raises(FileNotFoundError):
            store.store_all([io.BytesIO(b"first"), tmp_path / "no such file"])
        assert list(store.tokens()) == []


def test_what_is_no_regular_file_is_refused_not_waited_for(repository: Repository, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    with ContentStore(repository) as store:
        for name in ("fifo", "link", "."):
            with pytest.raises(OSError):
                store.store(tmp_path / name)


def test_commands_do_not_meet_contents_but_keep_and_check_them(
    repository: Repository, imbfs: Imbfs, tree: Path
) -> None:
    snapshot = saved(repository, tree)
    with ContentStore(repository) as store:
        token = store.store(io.BytesIO(random.Random(4).randbytes(300_000)), label="mine")
        assert [each["id"] for each in imbfs.snapshots()] == [snapshot]
        assert imbfs.run("show", "latest", "--json").json()["id"] == snapshot
        imbfs.run("forget", "--keep-last", "1", "--group-by", "", "--allow-last", "--prune")
        assert imbfs.run("forget", token, check=False).code == 1
        with pytest.raises(NotFound):
            backup.forget(repository, [token])
        with pytest.raises(NotFound, match="no content has the token"):
            store.release(backup.Token(snapshot))
        assert len(content_of(store, token)) == 300_000
        assert imbfs.run("--json", "check", "--read-data").json()["damage"] == []
        totals = imbfs.run("--json", "stats").json()["totals"]
        assert totals["contents"]["plain"] > 300_000
        assert totals["unreachable"]["objects"] == 0
        chunk = store._entry(store._content(token)).extents[0].chunk
        assert chunk is not None
        place = repository.lookup.place(chunk)
        assert place is not None
    (pack,) = [path for path in files_of(imbfs.repository, "pack") if path.name == place.pack.hex()]
    pack.unlink()
    found = imbfs.run("--json", "check", check=False)
    assert found.code == 12
    assert token in {each["snapshot"] for damage in found.json()["damage"] for each in damage["reaches"]}


def test_a_crash_before_the_token_leaves_nothing_that_counts(
    repository: Repository, imbfs: Imbfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> object:
        raise RuntimeError("the end")

    with ContentStore(repository) as store, monkeypatch.context() as patched:
        patched.setattr(content_module, "_body", crash)
        with pytest.raises(RuntimeError):
            store.store(io.BytesIO(b"never named"))
        assert list(store.tokens()) == []
    imbfs.run("prune", "--max-unused", "0")
    assert not files_of(imbfs.repository, "pack")


def test_equal_contents_of_several_processes_have_equal_roots(repository: Repository, imbfs: Imbfs) -> None:
    code = (
        "import io, sys, backup\n"
        "with backup.open_repository(sys.argv[1]) as r, backup.ContentStore(r) as s:\n"
        "    print(s.store(io.BytesIO(b'shared')))"
    )
    command = [sys.executable, "-c", code, str(imbfs.repository)]
    env = imbfs.environment()
    running = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    tokens = [backup.Token(process.communicate(timeout=60)[0].strip()) for process in running]
    with ContentStore(repository) as store:
        assert store.references(tokens[0]) == store.references(tokens[1]) == 2


def test_a_copied_content_is_private(repository: Repository, tmp_path: Path) -> None:
    with ContentStore(repository) as store:
        store.copy_out(store.store(io.BytesIO(b"secret")), tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) & 0o077 == 0
