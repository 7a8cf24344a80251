"""check() finds each kind of damage, says what it reaches, and finds nothing where nothing is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.ids import PackId
from backup.ops.check import Part, Report, Share, check
from backup.ops.checking.subset import choose
from backup.repository import Repository
from backup.snapshots.directory import Directory
from tests.repository.stored import MIB, Opened, Silent, back_up, make, noise
from tests.support.damage import DAMAGES

LARGE, SMALL = noise(1, 3 * MIB), b"small\n" * 100


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[Opened]:
    """A snapshot of a few files; what is stored raw is where it can be found."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "large").write_bytes(LARGE)
    (source / "sub" / "small").write_bytes(SMALL)
    opened = make(tmp_path, compression="none")
    back_up(opened.repository, source)
    yield opened
    opened.close()


def checked(opened: Opened, *, read_data: bool = True) -> Report:
    return check(opened.reopen(), read_data, Silent())


def reached(report: Report) -> set[bytes]:
    return {path for damage in report.damage for _, path in damage.reaches}


def pack_with(opened: Opened, data: bytes) -> Path:
    return next(path for path in opened.files("packs") if data in path.read_bytes())


def change(path: Path, how: Callable[[bytes], bytes]) -> None:
    path.chmod(0o600)
    path.write_bytes(how(path.read_bytes()))


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def tree_of_root(repository: Repository) -> Directory:
    (snapshot,) = repository.snapshots()
    entry = repository.root(snapshot).entry(0)
    assert entry.tree is not None
    return repository.directory(entry.tree)


def test_nothing_is_found_where_nothing_is(saved: Opened) -> None:
    report = checked(saved)
    assert report.damage == []
    stored = sum(path.stat().st_size for path in saved.files("packs"))
    assert (report.snapshots, report.packs, report.bytes_read) == (1, len(saved.files("packs")), stored)
    assert (report.trees, report.leftovers) == (3, 0)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("part", ["packs", "index", "snapshots"])
def test_damage_to_any_file_is_found(saved: Opened, part: str, how: str) -> None:
    """Parity row 8: check: missing, wrong size, orphaned, every hash."""
    for number in range(len(saved.files(part))):
        whole = saved.files(part)[number]
        data = whole.read_bytes()
        DAMAGES[how](whole)
        assert checked(saved).damage, whole
        whole.parent.mkdir(exist_ok=True)
        whole.unlink(missing_ok=True)
        whole.write_bytes(data)
    assert checked(saved).damage == []


def test_each_byte_of_a_pack_counts(saved: Opened) -> None:
    pack = min(saved.files("packs"), key=lambda path: path.stat().st_size)
    whole = pack.read_bytes()
    for at in range(0, len(whole), 31):
        change(pack, flip(at))
        assert checked(saved).damage, at
        change(pack, lambda _: whole)


def test_a_changed_byte_of_a_file_names_that_file_and_no_other(saved: Opened) -> None:
    pack = pack_with(saved, SMALL)
    change(pack, flip(pack.read_bytes().index(SMALL)))
    report = checked(saved)
    assert reached(report) == {b"sub/small"}
    assert checked(saved, read_data=False).damage == []


def test_a_missing_pack_names_every_file_in_it(saved: Opened) -> None:
    pack_with(saved, SMALL).unlink()
    assert b"sub/small" in reached(checked(saved, read_data=False))


def test_a_pack_cut_short_is_found_without_reading_its_data(saved: Opened) -> None:
    change(pack_with(saved, SMALL), lambda data: data[:-1])
    assert checked(saved, read_data=False).damage


def test_a_damaged_tree_names_its_directory_even_where_the_index_still_has_it(saved: Opened) -> None:
    inner = tree_of_root(saved.repository)
    sub = inner.entry(inner.find(b"sub")).tree
    assert sub is not None
    plain = bytes(saved.repository.tree(sub))
    pack = pack_with(saved, plain)
    change(pack, flip(pack.read_bytes().index(plain) + 30))
    assert any(sub in damage.objects for damage in checked(saved).damage)
    (saved.path / "index.lmdb").unlink()
    assert b"sub" in reached(checked(saved))


def test_a_lost_segment_is_told_and_harms_no_path(saved: Opened) -> None:
    saved.files("index")[0].unlink()
    report = checked(saved)
    assert report.damage
    assert reached(report) == set()


def test_a_vanished_manifest_is_told(saved: Opened) -> None:
    saved.files("snapshots")[0].unlink()
    assert any("vanished" in damage.text for damage in checked(saved).damage)


def test_packs_of_a_killed_run_are_left_over_and_no_damage(saved: Opened, tmp_path: Path) -> None:
    other = make(tmp_path / "other")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "file").write_bytes(noise(2))
    back_up(other.repository, tmp_path / "more")
    other.close()
    for pack in other.files("packs"):
        place = saved.path / pack.relative_to(other.path)
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(pack.read_bytes())
    report = checked(saved)
    assert (report.damage, report.leftovers) == ([], len(other.files("packs")))


def test_damage_to_a_page_of_a_very_large_directory_names_the_directory(tmp_path: Path) -> None:
    source = tmp_path / "source" / "many"
    source.mkdir(parents=True)
    for number in range(5000):
        (source / f"name-{number:05}").touch()
    saved = make(tmp_path, compression="none")
    back_up(saved.repository, source.parent)
    inner = tree_of_root(saved.repository)
    many = inner.entry(0).tree
    assert many is not None
    page = saved.repository.directory(many).page_ids[0]
    assert page != many
    plain = bytes(saved.repository.tree(page))
    pack = pack_with(saved, plain)
    change(pack, flip(pack.read_bytes().index(plain) + 30))
    (saved.path / "index.lmdb").unlink()
    report = checked(saved)
    saved.close()
    assert any(page in damage.objects for damage in report.damage)
    assert b"many" in reached(report)


# Files that are another one's, and files that are none of ours


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    change(one, lambda _: second)
    change(other, lambda _: first)


@pytest.mark.parametrize("part", ["packs", "index", "snapshots"])
@pytest.mark.parametrize("how", ["swapped", "replaced by an older one"])
def test_a_file_in_the_place_of_another_is_found(saved: Opened, tmp_path: Path, part: str, how: str) -> None:
    (tmp_path / "source" / "new").write_bytes(noise(9))
    back_up(saved.reopen(), tmp_path / "source")
    one, other = sorted(saved.files(part), key=lambda path: path.stat().st_mtime_ns)[:2]
    if how == "swapped":
        swap(one, other)
    else:
        change(other, lambda _: one.read_bytes())
    report = checked(saved)
    named = {damage.what.rpartition(" ")[2] for damage in report.damage}
    assert {path.name[:12] for path in ((one, other) if how == "swapped" else (other,))} <= named


def test_a_subset_is_read_and_the_next_share_goes_on_where_the_last_one_ended(
    saved: Opened, tmp_path: Path
) -> None:
    stored = dict(saved.reopen().inventory.packs())
    clock = iter(range(1_000_000, 2_000_000))
    log = tmp_path / "log" / "read"
    read = 0
    for _ in range(len(stored)):
        report = check(saved.repository, True, Silent(), Share(0.01), log, lambda: next(clock))
        read += report.bytes_read
    assert read == sum(stored.values())
    assert len(log.read_text().splitlines()) == len(stored)


def test_all_parts_together_read_everything_once(saved: Opened) -> None:
    stored = sum(size for _, size in saved.reopen().inventory.packs())
    parts = [check(saved.repository, True, Silent(), Part(number, 3)).bytes_read for number in (1, 2, 3)]
    assert sum(parts) == stored


def test_what_was_found_damaged_is_read_again_first(saved: Opened, tmp_path: Path) -> None:
    pack = pack_with(saved, SMALL)
    change(pack, flip(pack.read_bytes().index(SMALL)))
    log = tmp_path / "read"
    for _ in range(2):
        assert check(saved.reopen(), True, Silent(), None, log).damage
        saved.close()
    saved.open()
    assert check(saved.repository, True, Silent(), Share(0.01), log).damage


@given(st.dictionaries(st.binary(min_size=32, max_size=32), st.integers(1, 1000), max_size=30), st.data())
def test_a_share_takes_the_oldest_and_no_more_than_it_needs(
    sizes: dict[bytes, int], data: st.DataObject
) -> None:
    stored = {PackId(name): size for name, size in sizes.items()}
    times: dict[bytes, int] = {name: data.draw(st.integers(0, 5)) for name in stored}
    percent = data.draw(st.floats(0.1, 100))
    chosen = choose(stored, Share(percent), times)
    wanted = sum(stored.values()) * percent / 100
    assert sum(stored[name] for name in chosen[:-1]) < max(wanted, 1e-9) or not chosen
    left = stored.keys() - set(chosen)
    assert not left or max(times[name] for name in chosen) <= min(times[name] for name in left)


def test_strange_files_and_what_was_killed_are_notes_and_no_damage(saved: Opened) -> None:
    (saved.path / "packs" / "notes.txt").write_text("mine")
    (saved.path / "tmp" / "half").write_text("half a pack")
    report = checked(saved)
    assert report.damage == []
    assert any("packs/notes.txt" in note for note in report.notes)
    assert any("tmp/" in note for note in report.notes)
