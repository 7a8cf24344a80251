"""repair() makes whole what can be made whole, names what cannot, and loses nothing that was sound."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backup.model.errors import Damaged, ImbfsError
from backup.model.ids import ObjectId
from backup.objects.block import HEADER_SIZE
from backup.objects.hashing import HashName
from backup.ops.check import check
from backup.ops.repair import RepairResult, repair
from backup.repository import Repository
from backup.snapshots.directory import Directory
from tests.repository.stored import MIB, Opened, Silent, back_up, make, noise
from tests.support.damage import DAMAGES

FILES = {
    "large": noise(1, 3 * MIB),
    "sub/small": b"small\n" * 100,
    "sub/deep/other": noise(2, 900),
    "sub/deep/third": b"third\n" * 900,
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    top = tmp_path / "source"
    for name, data in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
    return top


@pytest.fixture
def saved(tmp_path: Path, source: Path) -> Iterator[Opened]:
    """Two snapshots; what is stored raw is where it can be found."""
    opened = make(tmp_path, compression="none")
    back_up(opened.repository, source)
    (source / "new").write_bytes(b"new\n")
    back_up(opened.repository, source)
    opened.close()
    yield opened
    opened.close()


def repaired(saved: Opened, sources: tuple[Path, ...] = (), **options: object) -> RepairResult:
    saved.close()
    return repair(
        saved.path, saved.cache, saved.notices.append, Silent(),
        sources=[os.fsencode(path) for path in sources], **options,  # type: ignore[arg-type]
    )  # fmt: skip


def damage(saved: Opened) -> set[str]:
    """What a full check finds."""
    report = check(saved.reopen(), True, Silent())
    saved.close()
    return {f"{found.what}: {found.text}" for found in report.damage}


def contents(repository: Repository) -> dict[str, dict[str, bytes]]:
    """The files of each snapshot that can be read whole."""
    found: dict[str, dict[str, bytes]] = {}
    for snapshot in repository.snapshots():
        files = found[snapshot.id] = {}
        try:
            waiting = [("", repository.root(snapshot))]
        except Damaged:
            continue
        while waiting:
            path, directory = waiting.pop()
            for entry in directory.entries():
                own = os.path.join(path, os.fsdecode(entry.name).lstrip("."))
                try:
                    if entry.tree is not None:
                        waiting.append((own, Directory(entry.tree, repository.tree)))
                    elif entry.extents:
                        chunks = [extent.chunk for extent in entry.extents if extent.chunk]
                        files[own] = b"".join(bytes(repository.reader.read(chunk)) for chunk in chunks)
                except Damaged:
                    continue
    return found


def pack_with(saved: Opened, data: bytes) -> Path:
    return next(path for path in saved.files("packs") if data in path.read_bytes())


def change(path: Path, how: Callable[[bytes], bytes]) -> None:
    path.chmod(0o600)
    path.write_bytes(how(path.read_bytes()))


def flip(path: Path, data: bytes) -> None:
    """One bit in the middle of these bytes."""

    def changed(whole: bytes) -> bytes:
        at = whole.index(data) + len(data) // 2
        return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]

    change(path, changed)


def test_where_nothing_is_wrong_nothing_is_done(saved: Opened) -> None:
    before = {
        path: path.stat().st_mtime_ns
        for part in ("packs", "index", "snapshots")
        for path in saved.files(part)
    }
    result = repaired(saved)
    assert result.plan.empty
    assert not result.plan.missing
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert not (saved.path / "quarantine").exists()


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("part", ["packs", "index", "snapshots", "config.json"])
def test_whatever_happens_to_one_file_repair_heals_it_from_the_source(
    saved: Opened, source: Path, part: str, how: str
) -> None:
    before = contents(saved.reopen())
    saved.close()
    for number in range(len(saved.files(part)) or 1):
        kept = saved.path.parent / "kept"
        shutil.copytree(saved.path, kept)
        file = saved.files(part)[number] if part != "config.json" else saved.path / part
        DAMAGES[how](file)
        repaired(saved)
        back_up(saved.reopen(), source)
        after = contents(saved.repository)
        saved.close()
        assert damage(saved) == set(), file
        for snapshot, files in before.items():
            assert snapshot not in after or after[snapshot] == files
        assert repaired(saved).plan.empty
        shutil.rmtree(saved.path)
        kept.rename(saved.path)


def test_the_sound_objects_of_a_broken_pack_are_kept_without_any_source(saved: Opened, source: Path) -> None:
    pack = pack_with(saved, FILES["sub/small"])
    flip(pack, FILES["sub/small"])
    shutil.rmtree(source)
    result = repaired(saved)
    (broken,) = result.plan.packs
    assert broken.lost == 1
    assert {path for _, path in result.plan.reaches} == {b"sub/small"}
    assert (saved.path / "quarantine" / pack.relative_to(saved.path)).is_file()
    for files in contents(saved.reopen()).values():
        assert {name: files.get(name) for name in FILES} == {**FILES, "sub/small": None}
    saved.close()
    assert all("object" in text for text in damage(saved))


def test_blocks_are_found_without_footer_and_segments(saved: Opened, source: Path) -> None:
    for path in saved.files("index"):
        path.unlink()
    (saved.path / "index.lmdb").unlink()
    for pack in saved.files("packs"):
        change(pack, lambda data: data[:-20])
    shutil.rmtree(source)
    result = repaired(saved)
    assert not result.plan.missing
    assert damage(saved) == set()
    assert all(files.items() >= FILES.items() for files in contents(saved.reopen()).values())


def test_blocks_after_a_damaged_header_are_found(saved: Opened, source: Path) -> None:
    blocks = [noise(number, 300_000) for number in (7, 8, 9)]
    for number, data in enumerate(blocks):
        (source / f"block {number}").write_bytes(data)
    back_up(saved.reopen(), source)
    pack = pack_with(saved, blocks[0])
    at = pack.read_bytes().index(blocks[0]) - HEADER_SIZE
    change(pack, lambda data: data[:at] + b"XXXX" + data[at + 4 : -20])
    for path in saved.files("index"):
        path.unlink()
    (saved.path / "index.lmdb").unlink()
    shutil.rmtree(source)
    repaired(saved)
    files = list(contents(saved.reopen()).values())[-1]
    assert ("block 0" in files, files["block 1"], files["block 2"]) == (False, *blocks[1:])


def test_two_packs_that_were_swapped_are_sorted_out(saved: Opened, source: Path) -> None:
    one, other, *_ = saved.files("packs")
    first, second = one.read_bytes(), other.read_bytes()
    change(one, lambda _: second)
    change(other, lambda _: first)
    shutil.rmtree(source)
    assert not repaired(saved).plan.missing
    assert damage(saved) == set()


def test_what_the_source_lacks_comes_from_another_repository(
    saved: Opened, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    other = make(tmp_path / "more")
    back_up(other.repository, source)
    for pack in saved.files("packs"):
        pack.unlink()
    (saved.path / "index.lmdb").unlink()
    shutil.rmtree(source)
    result = repaired(saved, other=other.repository)
    other.close()
    assert {b"new"} >= {path for _, path in result.plan.reaches} - {b"."}
    assert any(files.items() >= FILES.items() for files in contents(saved.reopen()).values())


def test_a_repository_with_another_hash_is_refused(saved: Opened, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    other = make(tmp_path / "more", hash_name="sha256")
    with pytest.raises(ImbfsError, match="sha256"):
        repaired(saved, other=other.repository)
    other.close()


def test_a_directory_named_is_looked_in_as_well(saved: Opened, source: Path, tmp_path: Path) -> None:
    pack_with(saved, FILES["sub/small"]).unlink()
    source.rename(tmp_path / "moved")
    assert repaired(saved, dry_run=True).plan.missing
    assert not repaired(saved, (tmp_path / "moved",)).plan.missing
    assert damage(saved) == set()


def test_a_file_that_changed_heals_nothing(saved: Opened, source: Path) -> None:
    pack_with(saved, FILES["sub/small"]).unlink()
    (source / "sub" / "small").write_bytes(b"other\n" * 100)
    result = repaired(saved)
    assert {path for _, path in result.plan.reaches} == {b"sub/small"}
    assert all("sub/small" not in files for files in contents(saved.reopen()).values())


def test_what_stays_missing_is_stored_by_the_next_backup_though_nothing_changed(
    saved: Opened, source: Path, tmp_path: Path
) -> None:
    pack_with(saved, FILES["sub/small"]).unlink()
    source.rename(tmp_path / "away")
    assert repaired(saved).plan.missing
    assert (saved.path / "missing").is_file()
    (tmp_path / "away").rename(source)
    back_up(saved.reopen(), source)
    assert not (saved.path / "missing").exists()
    assert damage(saved) == set()


def test_a_dry_run_tells_the_same_and_changes_nothing(saved: Opened) -> None:
    flip(pack_with(saved, FILES["sub/small"]), FILES["sub/small"])
    (saved.path / "config.json").unlink()
    before = {
        path: path.read_bytes()
        for path in saved.path.rglob("*")
        if path.is_file() and "lmdb" not in path.name
    }
    planned = repaired(saved, dry_run=True).plan
    after = {
        path: path.read_bytes()
        for path in saved.path.rglob("*")
        if path.is_file() and "lmdb" not in path.name
    }
    assert before == after
    done = repaired(saved).plan
    assert (planned.packs, planned.config, planned.missing) == (done.packs, done.config, done.missing)
    assert {name: remedy.origin for name, remedy in planned.remedies.items()} == {
        name: remedy.origin for name, remedy in done.remedies.items()
    }


def test_a_lost_config_is_made_anew_byte_for_byte(saved: Opened) -> None:
    before = (saved.path / "config.json").read_bytes()
    (saved.path / "config.json").unlink()
    with pytest.raises(Damaged, match="repair"):
        saved.open()
    repaired(saved)
    assert (saved.path / "config.json").read_bytes() == before


@pytest.mark.parametrize("line", [1, 2])
def test_a_manifest_whose_first_line_is_sound_is_made_anew(saved: Opened, line: int) -> None:
    path = saved.files("snapshots")[0]
    lines = path.read_bytes().split(b"\n")
    lines[line] = b"damaged"
    change(path, lambda _: b"\n".join(lines))
    (manifest,) = repaired(saved).plan.manifests
    assert manifest.id == path.name
    assert damage(saved) == set()
    assert len(saved.reopen().snapshots()) == 2


def test_a_manifest_under_anothers_name_gets_its_own(saved: Opened) -> None:
    path = saved.files("snapshots")[0]
    path.rename(path.with_name("ab" * 32))
    (saved.path / "index.lmdb").unlink()
    repaired(saved)
    assert path.is_file()
    assert damage(saved) == set()


def test_a_manifest_that_is_lost_is_kept_aside_with_what_it_says(saved: Opened) -> None:
    path = saved.files("snapshots")[0]
    change(path, lambda data: data.replace(b'"root":"', b'"root":"0', 1))
    (manifest,) = repaired(saved).plan.manifests
    assert manifest.id is None
    assert "2026" in manifest.told or "20" in manifest.told
    assert (saved.path / "quarantine" / "snapshots" / path.name).is_file()
    assert damage(saved) == set()


def test_trees_come_back_from_the_index(saved: Opened, source: Path) -> None:
    with saved.open() as repository:
        trees = [ObjectId(name) for name in repository.index.trees()]
        packs = {place.pack.hex() for name in trees if (place := repository.index.place(name))}
    for pack in saved.files("packs"):
        if pack.name in packs:
            pack.unlink()
    shutil.rmtree(source)
    result = repaired(saved)
    assert {remedy.origin for remedy in result.plan.remedies.values()} == {"the index"}
    (saved.path / "index.lmdb").unlink()
    assert damage(saved) == set()


@pytest.mark.parametrize("part", ["branch", "page", "list"])
def test_a_backup_heals_missing_parts_of_large_directories_and_files(
    tmp_path: Path, source: Path, part: str
) -> None:
    (source / "many").mkdir()
    for number in range(5000):
        (source / "many" / f"name-{number:05}").touch()
    with (source / "sparse").open("wb") as file:
        for number in range(20):
            file.seek(number * 256 << 10)
            file.write(noise(number, 5000))
    saved = make(tmp_path, compression="none")
    back_up(saved.repository, source)
    (snapshot,) = saved.repository.snapshots()
    top = saved.repository.directory(saved.repository.root(snapshot).entry(0).tree or ObjectId(b""))
    many = saved.repository.directory(top.entry(top.find(b"many")).tree or ObjectId(b""))
    if part == "list":
        page, position = top.at(top.find(b"sparse"))
        extents = page.extra(position)
        victim = bytes(extents)[5:45]
    else:
        victim = bytes(
            saved.repository.tree(
                many.page_ids[0] if part == "page" else top.entry(top.find(b"many")).tree or ObjectId(b"")
            )
        )
    before = contents(saved.repository)
    saved.close()
    flip(pack_with(saved, victim), victim)
    (saved.path / "index.lmdb").unlink()
    repaired(saved)
    back_up(saved.reopen(), source)
    assert damage(saved) == set()
    assert contents(saved.reopen()).items() >= before.items()
    saved.close()


def test_packs_of_a_lost_segment_are_listed_anew(saved: Opened) -> None:
    lost = saved.files("index")[0]
    lost.unlink()
    (saved.path / "index.lmdb").unlink()
    assert repaired(saved).plan.unlisted
    assert damage(saved) == set()
    assert repaired(saved).plan.empty


def quarantined(saved: Opened) -> set[str]:
    return {path.name for path in saved.files("quarantine")}


def test_what_earlier_repairs_moved_aside_is_deleted_when_asked_and_all_is_whole(saved: Opened) -> None:
    pack = pack_with(saved, FILES["sub/small"])
    flip(pack, FILES["sub/small"])
    # What this very repair moves aside stays.
    assert repaired(saved, discard=True).plan.discarded == []
    assert quarantined(saved) == {pack.name}
    (planned,) = repaired(saved, discard=True, dry_run=True).plan.discarded
    assert quarantined(saved) == {pack.name}
    assert repaired(saved).plan.discarded == []
    assert repaired(saved, discard=True).plan.discarded == [planned]
    assert quarantined(saved) == set()
    assert damage(saved) == set()


def test_while_something_is_missing_nothing_that_was_moved_aside_is_deleted(
    saved: Opened, source: Path
) -> None:
    pack = pack_with(saved, FILES["sub/small"])
    flip(pack, FILES["sub/small"])
    shutil.rmtree(source)
    assert not repaired(saved).whole
    assert not repaired(saved, discard=True).whole
    assert quarantined(saved) == {pack.name}


def test_nothing_is_deleted_through_a_link_in_the_place_of_the_quarantine(
    saved: Opened, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (saved.path / "quarantine").symlink_to(tmp_path)
    with pytest.raises(ImbfsError):
        repaired(saved, discard=True)
    assert (tmp_path / "mine").exists()


@pytest.mark.parametrize("hash_name", ["blake3", "sha256"])
@pytest.mark.parametrize("lost", [["snapshots"], ["snapshots", "index"]])
def test_without_config_and_snapshots_the_names_of_files_tell_the_hash(
    tmp_path: Path, source: Path, hash_name: HashName, lost: list[str]
) -> None:
    opened = make(tmp_path, hash_name)
    back_up(opened.repository, source)
    opened.close()
    stored = {path.name for path in opened.files("packs")}
    for path in [opened.path / "config.json", *(path for part in lost for path in opened.files(part))]:
        path.unlink()
    (opened.path / "index.lmdb").unlink()
    planned = repaired(opened, dry_run=True).plan.config
    assert hash_name in planned
    assert repaired(opened).plan.config == planned
    assert {path.name for path in opened.files("packs")} == stored
    result = back_up(opened.open(), source)
    assert opened.repository.config.hash == hash_name
    assert result.statistics.bytes_added == 0
    opened.close()
    assert damage(opened) == set()


def test_where_nothing_tells_the_settings_repair_says_so_and_init_makes_them_anew(tmp_path: Path) -> None:
    opened = make(tmp_path)
    opened.close()
    (opened.path / "index.lmdb").unlink(missing_ok=True)
    (opened.path / "index.lmdb-lock").unlink(missing_ok=True)
    (opened.path / "config.json").unlink()
    with pytest.raises(Damaged, match="imbfs init"):
        repaired(opened)
    with pytest.raises(Damaged, match="imbfs init"):
        opened.open()
    make(tmp_path).close()
