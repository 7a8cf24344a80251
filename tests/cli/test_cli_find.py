"""`find`, `versions` and `duplicates`: looking through all snapshots at once."""

import os
import shlex
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.check import FAILED, WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs, command_of, name
from tests.support.small import FILES, build_small, bytes_of

NASTY = [b'$(touch pwned)"q', b"-rf", b"new\nline", b"it's", b"`id`", b"caf\xe9", b"back\\slash", b" blank "]


def build_history(imbfs: Imbfs) -> Imbfs:
    """Three snapshots of `source` beside it: one file was changed, one removed, one added."""
    source = build_small(imbfs.directory / "source")
    imbfs.run("init")
    imbfs.run("backup", source)
    (source / "sub/one").write_text("second version")
    (source / "large").unlink()
    imbfs.run("backup", source)
    (source / "sub/one").write_text("third version, longer")
    (source / "sub/later.txt").write_text("came late")
    imbfs.run("backup", source)
    return imbfs


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, mark: str) -> Imbfs:
    """Shared, and never written to."""
    return build_history(Imbfs(tmp_path_factory.mktemp("history"), mark))


def found(imbfs: Imbfs, *args: str | Path) -> list[dict[str, Any]]:
    rows = imbfs.run("--json", "find", *args).json()
    assert isinstance(rows, list)
    return rows


def paths(rows: list[dict[str, Any]]) -> list[bytes]:
    return sorted({name(row["path"]) for row in rows})


def test_each_distinct_version_is_a_row_with_its_snapshots(history: Imbfs) -> None:
    ids = [snapshot["id"] for snapshot in history.snapshots()]
    rows = found(history, "one")
    assert [(row["size"], row["snapshots"]) for row in rows] == [
        (len(FILES[b"sub/one"]), ids[:1]),
        (len("second version"), ids[1:2]),
        (len("third version, longer"), ids[2:]),
    ]
    assert [row["snapshots"] for row in found(history, "readme")] == [ids]


def test_the_table_has_the_path_once_and_a_row_for_each_version(history: Imbfs) -> None:
    lines = history.run("find", "one").text.splitlines()
    assert lines[0] == str(history.directory / "source/sub/one")
    assert len(lines) == 4
    assert "14 B" in lines[2]
    assert "3 snapshots" in history.run("find", "readme").text
    assert history.run("find", "no such name").text == "nothing found\n"


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*.txt"], [b"sub/later.txt"]),
        (["READ*", "-i"], [b"readme"]),
        (["[m-s]eadme"], [b"readme"]),
        (["[!a-q]eadme"], [b"readme"]),
        (["[[:alpha:]]ne"], [b"sub/one"]),
        (["sub/o*"], [b"sub/one"]),
        (["*/two"], []),
        (["**/two"], [b"sub/deeper/two"]),
        (["sub/**/two"], [b"sub/deeper/two"]),
        (["one", "two"], [b"sub/deeper/two", b"sub/one"]),
        (["caf?"], [b"caf\xe9", "café".encode()]),
    ],
)
def test_masks_fit_names_and_with_a_slash_paths(
    history: Imbfs, patterns: list[str], expected: list[bytes]
) -> None:
    """Parity row 37: search by mask, size, time, path."""
    assert paths(found(history, *patterns)) == sorted(expected)


def test_a_mask_with_a_leading_slash_is_a_path_at_the_source(history: Imbfs) -> None:
    assert paths(found(history, f"{history.directory}/source/sub/o*")) == [b"sub/one"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--size", "+1M"], [b"large"]),
        (["--size", "200k..400k"], [b"sub/deeper/two"]),
        (["--kind", "symlink"], [b"symlink"]),
        (["--kind", "dir", "e*"], [b"empty-directory"]),
        (["--size=-1", "--kind", "file"], [b"empty"]),
        (["--deleted"], [b"large"]),
        (["--time", "2020-09-13", "large"], [b"large"]),
        (["--time", "2020-09-14..", "*"], [b"sub", b"sub/later.txt", b"sub/one"]),
        (["--owner", str(os.geteuid()), "large"], [b"large"]),
        (["--owner", "no-such-user"], []),
        (["large", "--last", "2"], []),
        (["large", "--snapshot", "latest~2"], [b"large"]),
    ],
)
def test_filters_narrow_what_is_found(history: Imbfs, filters: list[str], expected: list[bytes]) -> None:
    assert paths(found(history, *filters)) == expected


def test_content_is_found_by_its_hash_whatever_its_name(history: Imbfs) -> None:
    digest = history.ls("latest")[b"readme"]["hash"]
    assert paths(found(history, "--hash", digest[:12].upper())) == [
        b"readme",
        b"sub/deeper/same as readme",
        b"sub/link to readme",
    ]


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--size", "big", "x"),
        ("--time", "someday", "x"),
        ("--kind", "folder", "x"),
        ("--hash", "xyz"),
        ("--owner", ":", "x"),
        ("--last", "0", "x"),
        ("[[:nothing:]]",),
        ("",),
    ],
    ids=str,
)
def test_a_filter_that_is_none_is_wrong_use(copied: Imbfs, args: tuple[str, ...]) -> None:
    assert_clear_error(copied.run("find", *args, check=False), WRONG_USE)


# ---- the restore script --------------------------------------------------------------------------


def run_script(imbfs: Imbfs, script: Path, *args: str) -> subprocess.CompletedProcess[bytes]:
    """As a user would, with the program on a PATH of its own."""
    wrapper = imbfs.directory / "imbfs"
    wrapper.write_text("#!/bin/sh\nexec " + shlex.join(command_of()) + ' "$@"\n')
    wrapper.chmod(0o755)
    environment = imbfs.environment() | {"IMBFS": str(wrapper)}
    return subprocess.run(
        ["sh", script, *args], cwd=imbfs.directory, env=environment, capture_output=True, timeout=120
    )


def test_a_restore_script_is_safe_for_every_name(imbfs: Imbfs, tmp_path: Path) -> None:
    """A name such as `$(x)"q` is a name, and never runs. Row 37."""
    source = tmp_path / "source"
    for directory in (source, source / "$(touch pwned)'d"):
        directory.mkdir()
        for entry in NASTY if directory == source else NASTY[:1]:
            (directory / os.fsdecode(entry)).write_bytes(entry)
    imbfs.run("init")
    imbfs.run("backup", source)
    script = tmp_path / "restore.sh"
    imbfs.run("find", "*", "--kind", "file", "--script", script)
    assert script.stat().st_mode & stat.S_IXUSR
    result = run_script(imbfs, script, "-back")
    assert result.returncode == 0, result
    assert bytes_of(tmp_path / "-back") == bytes_of(source)
    assert not list(tmp_path.glob("**/pwned"))


def test_a_restore_script_takes_the_newest_version(history: Imbfs, tmp_path: Path) -> None:
    script = tmp_path / "restore.sh"
    history.run("find", "one", "large", "--script", script)
    assert run_script(history, script, str(tmp_path / "back")).returncode == 0
    assert bytes_of(tmp_path / "back") == {b"sub/one": b"third version, longer", b"large": FILES[b"large"]}


def test_a_restore_script_fails_loudly(imbfs: Imbfs, tmp_path: Path) -> None:
    history = build_history(imbfs)
    script = tmp_path / "restore.sh"
    history.run("find", "one", "readme", "--script", script)
    assert run_script(history, script).returncode == 2
    shutil.move(history.repository, tmp_path / "elsewhere")
    result = run_script(history, script, "back")
    assert result.returncode == 1
    assert b"not restored: sub/one" in result.stderr
    assert b"2 could not be restored" in result.stderr


def test_a_restore_script_never_replaces_a_file(history: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    result = history.run("find", "one", "--script", tmp_path / "mine", check=False)
    assert_clear_error(result, FAILED, "exists")
    assert (tmp_path / "mine").read_text() == "mine"


# ---- versions ------------------------------------------------------------------------------------


def test_versions_lists_those_of_one_file_oldest_first(history: Imbfs) -> None:
    ids = [snapshot["id"] for snapshot in history.snapshots()]
    for path in (str(history.directory / "source/sub/one"), "source/sub/one", "sub/one", "latest:sub/one"):
        rows = history.run("--json", "versions", path).json()
        assert [row["snapshots"] for row in rows] == [[each] for each in ids]
        assert [row["size"] for row in rows][1:] == [14, 21]
        assert rows[0]["mtime"].startswith("2020-09-13")
        assert rows[0]["time"] == history.snapshots()[0]["time"]
        assert len({row["hash"] for row in rows}) == 3


def test_versions_of_what_was_never_there_is_an_error(copied: Imbfs) -> None:
    assert_clear_error(copied.run("versions", "no/such", check=False), FAILED, "no/such", "imbfs find")


def test_versions_follow_a_file_through_its_names_where_asked(imbfs: Imbfs) -> None:
    history = build_history(imbfs)
    source = imbfs.directory / "source"
    (source / "sub").rename(source / "moved")
    history.run("backup", source)
    (source / "moved/one").rename(source / "moved/two")
    history.run("backup", source)
    assert len(history.run("--json", "versions", "moved/two").json()) == 1
    rows = history.run("--json", "versions", "--follow", "moved/two").json()
    assert [row["path"] for row in rows] == ["sub/one"] * 3 + ["moved/one", "moved/two"]


# ---- duplicates ----------------------------------------------------------------------------------


def test_duplicates_are_files_of_equal_content_with_what_they_waste(saved: Imbfs, source: Path) -> None:
    """Parity row 27: duplicates reported."""
    shutil.copy(source / "large", source / "sub/copy of large")
    saved.run("backup", source)
    found = saved.run("--json", "duplicates").json()
    large, readme = found["groups"]
    assert large["paths"] == ["large", "sub/copy of large"]
    assert (large["files"], large["wasted"]) == (2, len(FILES[b"large"]))
    # A hard link takes no room.
    assert readme["paths"] == ["readme", "sub/deeper/same as readme", "sub/link to readme"]
    assert (readme["files"], readme["wasted"]) == (2, 6)
    assert found["wasted"] == len(FILES[b"large"]) + 6
    assert "2 × 3.0 MiB" in saved.run("duplicates").text


def test_duplicates_of_a_directory_and_of_a_size(saved: Imbfs) -> None:
    assert saved.run("duplicates", "latest:sub/deeper").text == "no duplicates\n"
    assert saved.run("duplicates", "--min-size", "1k").text == "no duplicates\n"
    assert_clear_error(saved.run("duplicates", "--min-size", "x", check=False), WRONG_USE)
