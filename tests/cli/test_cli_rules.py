"""What goes into a backup and what stays out; `why` says which rule it is."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.check import WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs
from tests.support.opens import Opens
from tests.support.small import make_old

CACHE_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")


def build(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(data)
    make_old(root)
    return root


@pytest.fixture
def tree(imbfs: Imbfs, tmp_path: Path) -> Path:
    imbfs.run("init")
    files = ("keep.txt", "one.o", "build/two.o", "build/deep/three.c", "src/build", "src/keep.o", "src/x.c")
    return build(tmp_path / "tree", dict.fromkeys(files, b"data"))


def stored(imbfs: Imbfs, selector: str = "latest") -> set[str]:
    """The files of a snapshot."""
    return {os.fsdecode(path) for path, entry in imbfs.ls(selector, "-R").items() if entry["kind"] == "file"}


def why(imbfs: Imbfs, *arguments: str | Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = imbfs.run("--json", "why", *arguments).json()
    return found


# Patterns.


def test_a_name_stays_out_wherever_it_is(imbfs: Imbfs, tree: Path) -> None:
    imbfs.run("backup", tree, "--exclude", "*.o", "--exclude", "build/")
    assert stored(imbfs) == {"keep.txt", "src/build", "src/x.c"}


def test_the_last_pattern_that_fits_decides(imbfs: Imbfs, tree: Path) -> None:
    imbfs.run("backup", tree, "--exclude", "*.o", "--include", "keep.o", "--exclude", "/build")
    assert stored(imbfs) == {"keep.txt", "src/build", "src/keep.o", "src/x.c"}


@pytest.mark.parametrize("pattern", ["/src/build", "src/build", "{tree}/src/build", "/**/src/build"])
def test_a_path_begins_at_the_source_or_at_the_root(imbfs: Imbfs, tree: Path, pattern: str) -> None:
    imbfs.run("backup", tree, "--exclude", pattern.format(tree=tree))
    assert "src/build" not in stored(imbfs)
    assert "build/two.o" in stored(imbfs)


def test_a_file_of_patterns_has_comments_and_gives_way_to_the_option(imbfs: Imbfs, tree: Path) -> None:
    rules = tree.parent / "rules"
    rules.write_bytes(b"# comment\n\n*.o  \r\nx.c\n")
    imbfs.run("backup", tree, "--exclude-file", rules, "--include", "x.c")
    assert stored(imbfs) == {"keep.txt", "build/deep/three.c", "src/build", "src/x.c"}


def test_names_that_are_no_text_are_matched(imbfs: Imbfs, tmp_path: Path) -> None:
    imbfs.run("init")
    root = os.fsencode(tmp_path / "tree")
    os.mkdir(root)
    names = [b"\xff\xfe", b"caf\xe9.o", b"new\nline", b"new", "\u00e4".encode(), b" lead", b"trail "]
    for name in names:
        Path(os.fsdecode(os.path.join(root, name))).touch()
    (tmp_path / "rules").write_bytes(b"caf\xe9*\n \xff?\nnew\n?\n lead\ntrail\\ \n")
    imbfs.run("backup", tmp_path / "tree", "--exclude-file", tmp_path / "rules")
    assert set(imbfs.ls("latest", "-R")) == {b"\xff\xfe", b"new\nline"}


@pytest.mark.parametrize("pattern", ["", "/", "!", "[abc", "a\\"])
def test_a_pattern_that_fits_nothing_is_refused(imbfs: Imbfs, tree: Path, pattern: str) -> None:
    assert_clear_error(imbfs.run("backup", tree, "--exclude", pattern, check=False), WRONG_USE, "--exclude")


def test_what_is_named_is_backed_up_whatever_the_rules_say(imbfs: Imbfs, tree: Path) -> None:
    imbfs.run("backup", tree / "build", tree / "one.o", "--exclude", "build", "--exclude", "*.o")
    assert stored(imbfs) == {"one.o", "build/deep/three.c"}


def test_a_named_path_that_the_rules_keep_out_of_another_is_told(imbfs: Imbfs, tree: Path) -> None:
    result = imbfs.run("backup", tree, tree / "build" / "deep", "--exclude", "build/")
    assert b"build/deep is left out, though it was named" in result.stderr


# Ignore files.


def test_ignore_files_hold_for_their_directory_and_deeper_ones_win(imbfs: Imbfs, tree: Path) -> None:
    (tree / ".imbfsignore").write_bytes(b"*.o\n/build/deep\n")
    (tree / "src" / ".imbfsignore").write_bytes(b"!keep.o\n/x.c\n")
    imbfs.run("backup", tree)
    assert stored(imbfs) == {".imbfsignore", "keep.txt", "src/.imbfsignore", "src/build", "src/keep.o"}


def test_ignore_files_can_have_other_names_or_none(imbfs: Imbfs, tree: Path) -> None:
    (tree / ".imbfsignore").write_bytes(b"*.o\n")
    (tree / ".gitignore").write_bytes(b"*.c\n")
    imbfs.run("backup", tree, "--ignore-file", ".gitignore", "--no-ignore-files")
    assert {"one.o", "build/two.o", "src/keep.o"} < stored(imbfs)
    assert not any(name.endswith(".c") for name in stored(imbfs))


def test_an_ignore_file_that_is_none_neither_hangs_nor_counts(imbfs: Imbfs, tree: Path) -> None:
    os.mkfifo(tree / ".imbfsignore")
    (tree / "src" / ".imbfsignore").symlink_to("x.c")
    (tree / "build" / ".imbfsignore").mkdir()
    imbfs.run("backup", tree)
    assert "one.o" in stored(imbfs)


def test_a_bad_line_of_an_ignore_file_is_told_and_the_others_count(imbfs: Imbfs, tree: Path) -> None:
    (tree / ".imbfsignore").write_bytes(b"[x\n*.o\n")
    result = imbfs.run("backup", tree)
    assert f"{tree}/.imbfsignore:1".encode() in result.stderr
    assert "one.o" not in stored(imbfs)


# Rules and the parent.


def test_names_that_were_in_go_out_and_come_back_as_the_rules_change(imbfs: Imbfs, tree: Path) -> None:
    imbfs.run("backup", tree)
    everything = stored(imbfs)
    summary = imbfs.backup(tree, "--exclude", "*.o")
    assert stored(imbfs) == {name for name in everything if not name.endswith(".o")}
    assert summary["files_removed"] == 3
    assert imbfs.backup(tree)["files_new"] == 3
    assert stored(imbfs) == everything


def test_an_edited_ignore_file_holds_for_all_below_it(imbfs: Imbfs, tree: Path) -> None:
    imbfs.run("backup", tree)
    for data in (b"*.o\n", b"*.c\n", b"*.o\n"):
        (tree / ".imbfsignore").write_bytes(data)
        imbfs.run("backup", tree)
        suffix = data.decode().strip("*\n")
        assert not any(name.endswith(suffix) for name in stored(imbfs))
        assert any(name.endswith({".o": ".c", ".c": ".o"}[suffix]) for name in stored(imbfs))
    (tree / ".imbfsignore").unlink()
    imbfs.run("backup", tree)
    assert {"one.o", "src/x.c"} < stored(imbfs)


def test_a_file_that_became_a_directory_is_judged_as_one(imbfs: Imbfs, tree: Path) -> None:
    imbfs.run("backup", tree, "--exclude", "build/")
    assert "src/build" in stored(imbfs)
    (tree / "src" / "build").unlink()
    build(tree / "src", {"build/new": b"x"})
    imbfs.run("backup", tree, "--exclude", "build/")
    assert b"src/build" not in imbfs.ls("latest", "-R")


def test_a_file_that_grew_too_large_goes_out(imbfs: Imbfs, tree: Path) -> None:
    imbfs.run("backup", tree, "--exclude-larger-than", "1K")
    (tree / "one.o").write_bytes(bytes(1024))
    (tree / "keep.txt").write_bytes(bytes(1025))
    summary = imbfs.backup(tree, "--exclude-larger-than", "1K")
    assert "one.o" in stored(imbfs)
    assert "keep.txt" not in stored(imbfs)
    assert summary["files_removed"] == 1


def test_an_unchanged_tree_with_rules_opens_no_file_and_keeps_its_trees(imbfs: Imbfs, tree: Path) -> None:
    imbfs.run("backup", tree, "--exclude", "*.o")
    with Opens(tree) as opens:
        summary = imbfs.backup(tree, "--exclude", "*.o", "--skip-unchanged")
    assert opens.files == set()
    assert summary["unchanged"]


# Markers and bounds.


def test_a_cache_keeps_its_tag_alone(imbfs: Imbfs, tree: Path) -> None:
    build(tree / "build", {"CACHEDIR.TAG": CACHE_TAG})
    build(tree / "src", {"CACHEDIR.TAG": b"no signature"})
    imbfs.run("backup", tree, "--exclude-caches")
    names = {
        "keep.txt",
        "one.o",
        "build/CACHEDIR.TAG",
        "src/CACHEDIR.TAG",
        "src/build",
        "src/keep.o",
        "src/x.c",
    }
    assert stored(imbfs) == names


def test_a_marker_keeps_its_directory_empty_but_for_itself(imbfs: Imbfs, tree: Path) -> None:
    build(tree, {"build/.nobackup": b"", "src/tag": b"HEAD and more"})
    options = ["--exclude-if-present", ".nobackup", "--exclude-if-present", "tag:OTHER"]
    imbfs.run("backup", tree, *options)
    assert {"build/.nobackup", "src/x.c"} <= stored(imbfs)
    assert "build/two.o" not in stored(imbfs)
    imbfs.run("backup", tree, *options, "--exclude-if-present", "tag:HEAD")
    assert {name for name in stored(imbfs) if name.startswith("src/")} == {"src/tag"}


@as_root
def test_other_file_systems_are_not_entered_where_asked_and_pseudo_ones_never(
    imbfs: Imbfs, tree: Path, mounted_tmpfs: Path
) -> None:
    assert mounted_tmpfs.is_relative_to(tree)
    (mounted_tmpfs / "inside").touch()
    (tree / "proc").mkdir()
    subprocess.run(["mount", "-t", "proc", "proc", tree / "proc"], check=True)
    try:
        result = imbfs.run("backup", tree)
        assert (
            f"not entered, because the system makes up what is shown there: {tree}/proc".encode()
            in result.stderr
        )
        assert "mnt/inside" in stored(imbfs)
        imbfs.run("backup", tree, "--one-file-system")
        found = imbfs.ls("latest", "-R")
        assert {b"mnt", b"proc"} <= set(found)
        assert not {path for path in found if path.startswith((b"mnt/", b"proc/"))}
        verdicts = why(imbfs, tree / "mnt" / "inside", tree / "proc" / "1", "--one-file-system")
        assert [verdict["rule"] for verdict in verdicts] == ["file-system", "file-system"]
    finally:
        subprocess.run(["umount", tree / "proc"], check=True)


@pytest.fixture
def mounted_tmpfs(tree: Path) -> Any:
    (tree / "mnt").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tree / "mnt"], check=True)
    yield tree / "mnt"
    subprocess.run(["umount", tree / "mnt"], check=True)


# Lists of paths.


def test_lists_of_paths_by_line_by_nul_and_from_stdin(imbfs: Imbfs, tree: Path) -> None:
    lines, nul = tree.parent / "lines", tree.parent / "nul"
    lines.write_bytes(os.fsencode(f"{tree}/one.o\n{tree}/src/x.c\n\n"))
    odd = os.fsencode(tree) + b"/new\nl\xffne"
    Path(os.fsdecode(odd)).touch()
    nul.write_bytes(odd + b"\0")
    listed = imbfs.run("backup", "--files-from", lines, "--files-from0", nul)
    assert set(imbfs.ls("latest", "-R")) == {b"one.o", b"src", b"src/x.c", b"new\nl\xffne"}, listed.stderr
    imbfs.run("backup", "--files-from", "-", input=os.fsencode(f"{tree}/keep.txt\n"))
    assert stored(imbfs) == {"keep.txt"}


# `why`.


def test_why_names_the_rule_and_where_it_stands(imbfs: Imbfs, tree: Path) -> None:
    """Parity row 49: logs, verbosity, why a decision was taken."""
    (tree / "src" / ".imbfsignore").write_bytes(b"# none\n!keep.o\n")
    imbfs.run("backup", tree)
    asked = [tree / name for name in ("one.o", "src/keep.o", "src/x.c", "build/deep/three.c", "gone/two.o")]
    verdicts = why(imbfs, *asked, "/etc", "--exclude", "*.o", "--exclude", "build/")
    assert [verdict["included"] for verdict in verdicts] == [False, False, True, False, False, False]
    assert [verdict["rule"] for verdict in verdicts] == [
        *("pattern", "pattern", "none"),
        *("pattern", "pattern", "outside"),
    ]
    assert verdicts[3]["at"] == str(tree / "build")
    assert not verdicts[4]["exists"]
    (verdict,) = why(imbfs, tree / "src" / "keep.o", "--exclude-file", os.devnull)
    assert (verdict["included"], verdict["origin"]) == (True, f"{tree}/src/.imbfsignore:2")


def test_why_says_what_a_backup_does(imbfs: Imbfs, tree: Path) -> None:
    (tree / ".imbfsignore").write_bytes(b"*.o\n!/src/*\nbuild/*\n!build/deep\n")
    build(tree / "cache", {"CACHEDIR.TAG": CACHE_TAG, "x": b""})
    options = ["--exclude-caches", "--exclude-larger-than", "1000", "--exclude", "x.c"]
    imbfs.run("backup", tree, *options)
    every = [path for path in tree.rglob("*") if path.is_file()]
    verdicts = why(imbfs, *every, *options)
    assert {
        str(path.relative_to(tree))
        for path, verdict in zip(every, verdicts, strict=True)
        if verdict["included"]
    } == stored(imbfs)


def test_why_and_status_go_by_the_rules_of_the_last_backup(imbfs: Imbfs, tree: Path) -> None:
    (tree / "src" / ".imbfsignore").write_bytes(b"*.c\n")
    imbfs.run("backup", tree, "--exclude", "*.o", "--exclude", "/build/")
    (verdict,) = why(imbfs, tree / "one.o")
    assert (verdict["included"], verdict["pattern"]) == (False, "*.o")
    assert imbfs.run("status").code == 0
    (tree / "src" / "new.c").touch()
    assert imbfs.run("status", tree / "src", check=False).code == 4  # the directory's own time
    assert b"new.c" not in imbfs.run("status", tree / "src", check=False).stdout
    (tree / "src" / "new.txt").touch()
    assert b"new.txt" in imbfs.run("status", tree / "src", check=False).stdout


def test_why_needs_to_know_what_is_backed_up(imbfs: Imbfs, tree: Path) -> None:
    assert_clear_error(imbfs.run("why", tree, check=False), WRONG_USE, "--source")
    assert why(imbfs, tree, "--source", tree)[0]["rule"] == "source"
