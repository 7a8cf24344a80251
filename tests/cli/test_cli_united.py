"""What the systems that imbfs unites did, or did wrong, where no other test is about it: docs/parity.md."""

import random
from pathlib import Path

from tests.support.damage import files_of
from tests.support.imbfs import Imbfs

MIB = 1 << 20


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def test_files_that_begin_alike_are_stored_whole(imbfs: Imbfs, tmp_path: Path) -> None:
    """Parity row 2: a digest stands for all of its bytes; files that share their first chunk stay apart."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    head = noise(1, 3 * MIB)
    for name, tail in (("a", b""), ("b", noise(2, 2 * MIB)), ("c", noise(3, 2 * MIB)), ("d", b"!")):
        (source / name).write_bytes(head + tail)
    imbfs.run("init")
    assert imbfs.backup(source)["bytes_added"] < 12 * MIB
    imbfs.run("restore", "latest", "--target", target)
    for name in "abcd":
        assert (target / name).read_bytes() == (source / name).read_bytes()


def test_two_backups_at_once_are_both_whole(imbfs: Imbfs, tmp_path: Path) -> None:
    """Parity row 7: writers side by side, of the same content even; nobody waits."""
    imbfs.run("init")
    sources = [tmp_path / name for name in ("one", "two")]
    for number, source in enumerate(sources):
        source.mkdir()
        (source / "shared").write_bytes(noise(4, 6 * MIB))
        (source / "own").write_bytes(noise(5 + number, 2 * MIB))
    running = [imbfs.start("--json", "backup", "--limit-rate", "20M", source) for source in sources]
    results = []
    for each in running:
        with each:
            results.append(each.result())
    assert [result.code for result in results] == [0, 0]
    for source, result in zip(sources, results, strict=True):
        target = tmp_path / f"back-{source.name}"
        imbfs.run("restore", result.json()["snapshot"], "--target", target)
        for name in ("shared", "own"):
            assert (target / name).read_bytes() == (source / name).read_bytes()
    assert imbfs.run("--json", "check", "--read-data").json()["damage"] == []


def test_a_directorys_hash_tells_whether_all_below_it_is_the_same(imbfs: Imbfs, tmp_path: Path) -> None:
    """Parity row 28: hash of a directory."""
    deep = tmp_path / "source" / "kept" / "deep"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"1")
    (tmp_path / "source" / "other").mkdir()
    imbfs.run("init")
    imbfs.backup(tmp_path / "source")
    (tmp_path / "source" / "other" / "new").touch()
    imbfs.backup(tmp_path / "source")
    before, after = imbfs.ls("latest~1", "-R"), imbfs.ls("latest", "-R")
    assert before[b"kept"]["hash"] == after[b"kept"]["hash"] != None  # noqa: E711
    assert before[b"other"]["hash"] != after[b"other"]["hash"]


def test_bytes_put_in_at_the_start_of_a_large_file_add_few(imbfs: Imbfs, tmp_path: Path) -> None:
    """Parity row 32: deltas against what is stored, without reading that, and verified by their hashes."""
    source = tmp_path / "image"
    data = noise(6, 32 * MIB)
    source.write_bytes(data)
    imbfs.run("init")
    imbfs.backup(source)
    source.write_bytes(b"0123456789" + data)
    assert imbfs.backup(source)["bytes_added"] < 8 * MIB
    assert imbfs.run("cat", "latest:image").stdout == b"0123456789" + data


def test_a_backup_lists_the_files_that_it_wrote(imbfs: Imbfs, tmp_path: Path) -> None:
    """Parity row 31: what is to be shipped elsewhere. With these files, a copy of before is one of now."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(noise(7, 100_000))
    imbfs.run("init", "--parity", "5%")
    kinds = ("pack", "segment", "manifest")
    before = {path for kind in kinds for path in files_of(imbfs.repository, kind)}
    parity = {path for path in (imbfs.repository / "parity").rglob("*") if path.is_file()}
    summary = imbfs.backup(source)
    after = {path for kind in kinds for path in files_of(imbfs.repository, kind)}
    after |= {path for path in (imbfs.repository / "parity").rglob("*") if path.is_file()}
    written = {imbfs.repository / name for name in summary["written"]}
    assert written == after - before - parity
    assert imbfs.backup(source)["written"] == [f"snapshots/{imbfs.snapshots()[-1]['id']}"]
    assert imbfs.backup("--dry-run", source)["written"] == []
