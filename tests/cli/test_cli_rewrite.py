"""`rewrite`: a new snapshot without some paths, and with all else as it was."""

import os
from pathlib import Path

import pytest

from tests.support.check import DAMAGED, FAILED, WRONG_USE, assert_clear_error
from tests.support.compare import differences
from tests.support.damage import files_of
from tests.support.everything import Everything
from tests.support.imbfs import Imbfs, name
from tests.support.small import FILES, build_small


def paths(imbfs: Imbfs, snapshot: str = "latest") -> set[bytes]:
    return set(imbfs.ls(snapshot, "-R"))


def files_below(repository: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in repository.rglob("*") if path.is_file()}


def test_what_fits_is_gone_from_the_new_snapshot_and_the_original_stays(copied: Imbfs) -> None:
    """Parity row 38: files deleted from one increment by mask."""
    before = paths(copied)
    [found] = copied.run("--json", "rewrite", "latest", "--exclude", "deeper/", "--exclude", "/large").json()[
        "snapshots"
    ]
    assert [name(path) for path in found["excluded"]] == [b"large", b"sub/deeper"]
    assert found["files_removed"] == 3
    lost = [data for path, data in FILES.items() if path == b"large" or path.startswith(b"sub/deeper/")]
    assert found["bytes_removed"] == sum(map(len, lost))
    gone = {b"large", b"sub/deeper", b"sub/deeper/two", b"sub/deeper/same as readme"}
    assert paths(copied, found["snapshot"]) == before - gone
    assert paths(copied, found["original"]) == before
    assert copied.run("check", "--read-data").code == 0


def test_all_else_of_a_tree_of_everything_is_restored_as_it_was(
    imbfs: Imbfs, everything: Everything, tmp_path: Path
) -> None:
    """Hard links, holes, ACLs, times, names that are not UTF-8, a very large directory."""
    imbfs.run("init")
    imbfs.run("backup", everything.root)
    top = sorted(os.listdir(os.fsencode(everything.root)))[0]
    imbfs.run("rewrite", "latest", "--exclude", b"/" + top, "--forget")
    imbfs.run("restore", "latest", "--target", tmp_path / "back")
    left = [line for line in differences(everything.root, tmp_path / "back") if os.fsdecode(top) not in line]
    assert left == []


def test_the_figures_are_those_of_a_backup_without_the_paths(saved: Imbfs, source: Path) -> None:
    saved.run("tag", "latest", "--add", "kept", "--description", "why")
    original = saved.run("--json", "show", "latest").json()
    saved.run("rewrite", "latest", "--exclude", "deeper", "--exclude", "readme")
    new = next(each for each in saved.snapshots() if each["id"] != original["id"])
    shown = saved.run("--json", "show", new["id"]).json()
    assert shown["original"] == original["id"]
    same = ("time", "host", "user", "paths", "tags", "description", "top", "parent")
    assert {key: shown[key] for key in same} == {key: original[key] for key in same}
    (source / "readme").unlink()
    for path in (source / "sub/deeper").iterdir():
        path.unlink()
    (source / "sub/deeper").rmdir()
    fresh = saved.backup("--host", "another", source)
    for key in ("files", "bytes", "dirs"):
        assert shown["statistics"][key] == fresh["bytes_source" if key == "bytes" else key]


def test_the_next_backup_reads_only_what_was_left_out(saved: Imbfs, source: Path) -> None:
    saved.run("rewrite", "latest", "--exclude", "sub/one", "--forget")
    summary = saved.backup(source)
    assert (summary["files_new"], summary["files_changed"]) == (1, 0)
    assert summary["bytes_read"] == len(FILES[b"sub/one"])
    assert summary["bytes_added"] < 3_000  # trees


def test_nothing_that_fits_makes_no_snapshot_and_writes_nothing(copied: Imbfs) -> None:
    before = files_below(copied.repository)
    result = copied.run("rewrite", "latest", "--exclude", "no such name", "--forget")
    assert "nothing fits" in result.text
    after = files_below(copied.repository)
    assert {path for path in after if "index.lmdb" not in path.name} <= set(before)
    assert len(copied.snapshots()) == 1


def test_a_dry_run_names_the_paths_and_does_nothing(copied: Imbfs) -> None:
    before = files_below(copied.repository)
    result = copied.run("rewrite", "latest", "--exclude", "readme", "--exclude", "new*", "--dry-run")
    assert result.stdout.splitlines()[1:] == [b"  new\\nline", b"  readme"]
    assert files_below(copied.repository).keys() == before.keys()


def test_several_snapshots_are_rewritten_at_once_and_stay_a_chain(saved: Imbfs, source: Path) -> None:
    (source / "readme").write_bytes(b"changed\n")
    saved.run("backup", source)
    old = [snapshot["id"] for snapshot in saved.snapshots()]
    summary = saved.run("--json", "rewrite", *old, "--exclude", "large", "--forget").json()
    assert summary["forgotten"] == old
    first, second = saved.snapshots()
    assert not {first["id"], second["id"]} & set(old)
    assert second["parent"] == first["id"]
    assert saved.run("cat", f"{second['id']}:readme").stdout == b"changed\n"
    assert saved.run("check", "--read-data").errors == ""


def test_patterns_come_from_a_file(copied: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "patterns").write_bytes(b"# not wanted\nr*\n!readme\n\ncaf\xe9\n/sub/deeper/\n")
    before = paths(copied)
    copied.run("rewrite", "latest", "--exclude-file", tmp_path / "patterns", "--forget")
    gone = {b"caf\xe9", b"sub/deeper", b"sub/deeper/two", b"sub/deeper/same as readme"}
    assert paths(copied) == before - gone


def test_all_may_fall_out(copied: Imbfs) -> None:
    copied.run("rewrite", "latest", "--exclude", "*", "--forget")
    assert paths(copied) == set()
    assert copied.run("check").code == 0


@pytest.mark.parametrize("options", [[], ["--exclude", "!"], ["--forget"]], ids=repr)
def test_wrong_use_changes_nothing(copied: Imbfs, options: list[str]) -> None:
    assert_clear_error(copied.run("rewrite", "latest", *options, check=False), WRONG_USE)
    assert len(copied.snapshots()) == 1


def test_a_file_of_patterns_that_is_not_there_is_told(copied: Imbfs) -> None:
    result = copied.run("rewrite", "latest", "--exclude-file", "/no/such", check=False)
    assert_clear_error(result, FAILED, "/no/such")


def test_a_snapshot_too_damaged_to_be_rewritten_stays_and_the_others_are_rewritten(
    imbfs: Imbfs, tmp_path: Path
) -> None:
    source = build_small(tmp_path / "source")
    imbfs.run("init")
    imbfs.run("backup", source)
    sound = set(files_of(imbfs.repository, "pack"))
    (source / "sub/more").write_bytes(b"more")
    imbfs.run("backup", source)
    for path in set(files_of(imbfs.repository, "pack")) - sound:
        path.unlink()
    (imbfs.repository / "index.lmdb").unlink()
    result = imbfs.run("rewrite", "latest", "latest~1", "--exclude", "one", "--forget", check=False)
    assert result.code == DAMAGED
    assert "stays as it is" in result.errors
    listed = imbfs.snapshots()
    assert len(listed) == 2
    assert b"sub/one" not in paths(imbfs, min(listed, key=lambda each: each["files"])["id"])


def test_a_pattern_leaves_out_what_it_would_keep_out_of_a_backup(imbfs: Imbfs, tmp_path: Path) -> None:
    """From two sources: a path in a pattern begins at each of them, or at the root of all."""
    for source in ("one", "two"):
        build_small(tmp_path / "tops" / source)
    sources = [tmp_path / "tops" / "one", tmp_path / "tops" / "two"]
    options = [
        *("--exclude", "/sub/o*", "--exclude", "*e", "--include", "*readme", "--exclude", "deeper/two"),
        *("--exclude", f"{sources[1]}/sub/link*"),
    ]
    imbfs.run("init")
    imbfs.run("backup", "--host", "first", *sources)
    imbfs.run("rewrite", "latest", *options, "--forget")
    imbfs.run("backup", "--host", "second", *options, *sources)
    rewritten, fresh = imbfs.snapshots()
    assert paths(imbfs, rewritten["id"]) == paths(imbfs, fresh["id"])
    assert b"one/sub/link to readme" in paths(imbfs)
    assert b"two/sub/link to readme" not in paths(imbfs)


def test_a_source_among_several_can_be_left_out(imbfs: Imbfs, tmp_path: Path) -> None:
    for source in ("one", "two"):
        build_small(tmp_path / "tops" / source)
    imbfs.run("init")
    imbfs.run("backup", tmp_path / "tops/one", tmp_path / "tops/two")
    imbfs.run("rewrite", "latest", "--exclude", "/two/", "--forget")
    assert {path.split(b"/")[0] for path in paths(imbfs)} == {b"one"}
