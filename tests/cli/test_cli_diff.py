"""`diff` and `status`: what differs, in lines and in JSON, and the verdict in the exit code."""

import os
import pty
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.check import DONE, FAILED, IN_PART, WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs, Result, command_of, name
from tests.support.opens import Opens
from tests.support.small import WRITTEN

CHANGES, ONLY_RENAMES = 4, 5

#: Runs a comparison of the first snapshot with the source as it is now.
Compare = Callable[..., Result]


@pytest.fixture(params=["diff", "status"])
def compare(request: pytest.FixtureRequest, saved: Imbfs, source: Path) -> Compare:
    """Both say the same, one of two snapshots, the other of a snapshot and the live tree."""

    def diff(*options: str) -> Result:
        saved.run("backup", source)
        return saved.run("diff", "latest~1", "latest", *options, check=False)

    def status(*options: str) -> Result:
        return saved.run("status", source, *options, check=False)

    return diff if request.param == "diff" else status


def summary(result: Result) -> dict[str, str]:
    """Of each path, its change; of what was renamed, `renamed FROM`."""
    found: dict[str, str] = {}
    for line in result.json():
        origin = line.get("from")
        word = line["change"] + ("" if origin is None else " " + os.fsdecode(name(origin)))
        path = os.fsdecode(name(line["path"]))
        found[path] = f"{found[path]}, {word}" if path in found else word
    return found


def test_an_unchanged_tree_is_no_change(compare: Compare) -> None:
    result = compare("--json")
    assert (result.code, result.json()) == (DONE, [])


def test_no_change_is_said_in_words(compare: Compare) -> None:
    assert compare().text == "no change\n"


def test_added_removed_and_changed_names_are_told(compare: Compare, source: Path) -> None:
    """Parity row 23: what was added, removed, modified."""
    (source / "new").write_text("new")
    (source / "sub/one").unlink()
    (source / "readme").write_text("other")
    (source / "large").chmod(0o600)
    result = compare("--json")
    assert result.code == CHANGES
    assert summary(result) == {
        "new": "added",
        "sub/one": "removed",
        # It has two names.
        "readme": "content",
        "sub/link to readme": "content",
        "large": "metadata",
    }


def test_each_line_has_what_was_before_and_what_is_after(compare: Compare, source: Path) -> None:
    (source / "large").write_text("small now")
    (source / "new").write_text("new")
    (source / "symlink").unlink()
    changed, added, removed = compare("--json").json()
    assert (changed["before"]["size"], changed["after"]["size"]) == (3 * 1024 * 1024 + 17, 9)
    assert changed["before"]["mtime"].startswith("2020-09-13T12:26:40")
    assert (added["after"]["kind"], "before" in added) == ("file", False)
    assert (removed["before"]["kind"], removed["before"]["target"]) == ("symlink", "sub/one")
    assert "after" not in removed


def test_a_renamed_file_is_only_a_rename(compare: Compare, source: Path) -> None:
    (source / "large").rename(source / "sub/deeper/moved")
    result = compare("--json")
    assert result.code == ONLY_RENAMES
    assert summary(result) == {"sub/deeper/moved": "renamed large"}


def test_swapped_and_chained_names_are_only_renames(compare: Compare, source: Path) -> None:
    (source / "large").rename(source / "t")
    (source / "sub/one").rename(source / "large")
    (source / "t").rename(source / "sub/one")
    (source / "sub/deeper/two").rename(source / "end")
    (source / "empty").rename(source / "sub/deeper/two")
    (source / "new\nline").rename(source / "empty")
    result = compare("--json")
    assert result.code == ONLY_RENAMES
    assert summary(result) == {
        "large": "renamed sub/one",
        "sub/one": "renamed large",
        "end": "renamed sub/deeper/two",
        "sub/deeper/two": "renamed empty",
        "empty": "renamed new\nline",
    }


def test_a_renamed_directory_is_one_line_with_a_count(compare: Compare, source: Path) -> None:
    (source / "sub").rename(source / "moved")
    result = compare("--json")
    assert result.code == ONLY_RENAMES
    assert summary(result) == {"moved": "renamed sub"}
    assert result.json()[0]["names"] == 5


def test_swapped_directories_are_two_lines(compare: Compare, source: Path) -> None:
    (source / "sub/deeper").rename(source / "t")
    (source / "empty-directory").rename(source / "sub/deeper")
    (source / "t").rename(source / "empty-directory")
    result = compare("--json")
    assert result.code == ONLY_RENAMES
    assert summary(result) == {
        "empty-directory": "renamed sub/deeper",
        "sub/deeper": "renamed empty-directory",
    }


def test_what_came_into_a_renamed_directory_has_a_line_of_its_own(compare: Compare, source: Path) -> None:
    (source / "sub").rename(source / "moved")
    (source / "moved/new").write_text("new")
    result = compare("--json")
    assert result.code == CHANGES
    assert summary(result) == {"moved": "renamed sub", "moved/new": "added"}


def test_a_renamed_directory_that_lost_a_file_is_told_file_by_file(compare: Compare, source: Path) -> None:
    (source / "sub").rename(source / "moved")
    (source / "moved/one").unlink()
    found = summary(compare("--json"))
    assert found["sub/one"] == "removed"
    assert found["moved/deeper"] == "renamed sub/deeper"


def test_a_file_moved_over_another_removes_that(compare: Compare, source: Path) -> None:
    (source / "large").rename(source / "sub/one")
    result = compare("--json")
    assert result.code == CHANGES
    assert summary(result) == {"sub/one": "removed, renamed large"}


def test_a_rotated_file_is_renamed_and_added(compare: Compare, source: Path) -> None:
    (source / "large").rename(source / "large.1")
    (source / "large").write_text("begins anew")
    assert summary(compare("--json")) == {"large": "added", "large.1": "renamed large"}


def test_a_rename_with_another_mode_is_more_than_a_rename(compare: Compare, source: Path) -> None:
    (source / "large").rename(source / "moved")
    (source / "moved").chmod(0o4755)
    result = compare()
    assert result.code == CHANGES
    assert "R  large → moved  (mode 0644 → 4755)" in result.text


def test_a_directory_that_became_a_file_went_and_came(compare: Compare, source: Path) -> None:
    (source / "empty-directory").rmdir()
    (source / "empty-directory").write_text("a file")
    assert summary(compare("--json")) == {"empty-directory": "removed, added"}


def test_an_edit_that_hides_itself_is_seen(compare: Compare, source: Path) -> None:
    """Same size, time put back: only the file system's own ctime tells, and then the file is read."""
    (source / "readme").write_text("HELLO\n")
    os.utime(source / "readme", (WRITTEN, WRITTEN))
    assert summary(compare("--json")) == {"readme": "content", "sub/link to readme": "content"}


def test_another_name_of_a_file_is_added_and_the_file_is_no_change(compare: Compare, source: Path) -> None:
    os.link(source / "large", source / "also large")
    assert summary(compare("--json")) == {"also large": "added"}


def test_names_are_quoted_where_they_could_be_mistaken(compare: Compare, source: Path) -> None:
    (source / "new\nline").unlink()
    os.unlink(os.fsencode(source) + b"/caf\xe9")
    (source / 'a "b" \x1b[31m').write_text("")
    (source / "plain name é").write_text("")
    text = compare().text
    assert r'D  "new\nline"' in text
    assert r'D  "caf\351"' in text
    assert r'A  "a \"b\" \033[31m"' in text
    assert "A  plain name é  (0 B)" in text
    assert "\x1b" not in text


def test_a_directory_that_came_whole_is_one_line_unless_more_is_asked_for(
    compare: Compare, source: Path
) -> None:
    shutil.copytree(source / "sub", source / "copy")
    text = compare().text
    assert text.startswith("A  copy/  (4 files, ")
    assert "copy/one" not in text
    assert text.rstrip().splitlines()[-1].startswith("only additions: 6 added; ")


def test_more_is_told_with_verbose(compare: Compare, source: Path) -> None:
    shutil.copytree(source / "sub", source / "copy")
    assert "A  copy/deeper/two" in compare("--verbose").text


# ---- two snapshots -------------------------------------------------------------------------------


def test_one_directory_of_two_snapshots_is_compared(saved: Imbfs, source: Path) -> None:
    (source / "readme").write_text("other")
    (source / "sub/new").write_text("new")
    saved.run("backup", source)
    expected = {"sub/new": "added", "sub/link to readme": "content"}
    for path in ("sub", "./sub/", source / "sub"):
        result = saved.run("--json", "diff", "latest~1", "latest", path, check=False)
        assert summary(result) == expected
    one = saved.run("--json", "diff", "latest~1", "latest", "sub/new", check=False)
    assert summary(one) == {"sub/new": "added"}


def test_a_path_that_neither_has_is_an_error(saved: Imbfs) -> None:
    assert_clear_error(saved.run("diff", "latest", "latest", "nothing", check=False), FAILED, "nothing")


def test_two_directories_of_one_snapshot_are_compared(saved: Imbfs) -> None:
    result = saved.run("--json", "diff", "latest:sub", "latest:sub/deeper", check=False)
    assert {"two": "renamed deeper/two", "one": "removed"}.items() <= summary(result).items()


def test_a_snapshot_of_a_directory_is_compared_with_one_that_holds_it(saved: Imbfs, source: Path) -> None:
    saved.run("backup", source / "sub")
    result = saved.run("--json", "diff", "latest~1", "latest", check=False)
    assert (result.code, result.json()) == (DONE, [])
    assert "which both hold" in result.errors


def test_files_copied_to_another_disk_and_renamed_there_are_renamed(
    saved: Imbfs, source: Path, tmp_path: Path
) -> None:
    """Nothing but the content is the same: even where several files are equal, their neighbours tell."""
    shutil.copytree(source, tmp_path / "copy", symlinks=True)
    (tmp_path / "copy/sub").rename(tmp_path / "copy/moved")
    saved.run("backup", tmp_path / "copy")
    result = saved.run("--json", "diff", "latest~1", "latest", check=False)
    assert summary(result)["moved"] == "renamed sub"
    assert {line["change"] for line in result.json()} <= {"renamed", "metadata"}


# ---- the live tree -------------------------------------------------------------------------------


def test_status_opens_no_file(saved: Imbfs, source: Path) -> None:
    (source / "new").write_text("new")
    (source / "readme").write_text("other")
    (source / "sub").rename(source / "moved")
    (source / "moved/one").chmod(0o600)
    with Opens(source) as opens:
        saved.run("status", source, check=False)
    assert opens.files == set()


def test_status_stores_nothing(saved: Imbfs, source: Path) -> None:
    (source / "new").write_text("new")

    def stored() -> list[Path]:
        return sorted(path for path in saved.repository.rglob("*") if "lmdb" not in path.name)

    before = stored()
    saved.run("status", source, check=False)
    assert stored() == before


def test_a_touched_file_may_be_another_until_it_is_read(saved: Imbfs, source: Path) -> None:
    os.utime(source / "large", (WRITTEN + 1, WRITTEN + 1))
    assert summary(saved.run("--json", "status", source, check=False)) == {"large": "content"}
    assert "--verify" in saved.run("status", source, check=False).text
    assert summary(saved.run("--json", "status", "--verify", source, check=False)) == {"large": "metadata"}


def test_without_paths_status_is_of_what_was_backed_up_last(saved: Imbfs, source: Path) -> None:
    (source / "new").write_text("new")
    assert summary(saved.run("--json", "status", check=False)) == {"new": "added"}


def test_status_of_a_path_inside_looks_there_alone(saved: Imbfs, source: Path) -> None:
    (source / "new").write_text("new")
    (source / "sub/new").write_text("new")
    (source / "sub/one").unlink()
    found = summary(saved.run("--json", "status", source / "sub", check=False))
    assert found == {"sub/new": "added", "sub/one": "removed"}
    assert summary(saved.run("--json", "status", source / "sub/one", check=False)) == {"sub/one": "removed"}


def test_status_of_what_was_never_backed_up_says_so(saved: Imbfs, tmp_path: Path) -> None:
    result = saved.run("status", tmp_path / "home", check=False)
    assert_clear_error(result, FAILED, "no snapshot", "imbfs backup")


def test_what_cannot_be_listed_is_no_change_and_exit_3(
    open_path: Path, ordinary_user: int, mark: str, source: Path
) -> None:
    imbfs = Imbfs(open_path, mark)
    own = open_path / "own"
    shutil.copytree(source / "sub", own / "sub")
    for path in (own, *own.rglob("*")):
        os.chown(path, ordinary_user, ordinary_user)
    open_path.chmod(0o777)
    imbfs.run("init", user=ordinary_user)
    imbfs.run("backup", own, user=ordinary_user)
    (own / "sub").chmod(0)
    result = imbfs.run("--json", "status", own, user=ordinary_user, check=False)
    assert result.code == IN_PART, result
    assert "removed" not in summary(result).values()
    (own / "sub").chmod(0o755)


@pytest.mark.parametrize("backwards", [False, True])
def test_diff_takes_the_live_tree_on_either_side(saved: Imbfs, source: Path, backwards: bool) -> None:
    (source / "new").write_text("new")
    sides = ("source", "latest") if backwards else ("latest", "source")
    result = saved.run("--json", "diff", *sides, check=False)
    assert result.code == CHANGES
    assert summary(result) == {"new": "removed" if backwards else "added"}


def test_the_live_tree_against_itself_is_wrong_use(saved: Imbfs) -> None:
    assert_clear_error(saved.run("diff", "source", "source", check=False), WRONG_USE)


def test_on_a_terminal_there_are_colours_unless_they_are_not_wanted(saved: Imbfs, source: Path) -> None:
    (source / "new").write_text("new")
    assert b"\x1b[32mA\x1b[0m" in on_terminal(saved, {"TERM": "xterm"})
    assert b"\x1b" not in on_terminal(saved, {"TERM": "xterm", "NO_COLOR": "1"})


def on_terminal(imbfs: Imbfs, more: dict[str, str]) -> bytes:
    """What `status` prints where stdout is a terminal."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(imbfs.directory)
        command = [*command_of(), "--repo", str(imbfs.repository), "--no-progress", "status"]
        os.execvpe(command[0], command, imbfs.environment() | more)
    shown = b""
    try:
        while data := os.read(fd, 65536):
            shown += data
    except OSError:  # how the kernel says that the other side is closed
        pass
    finally:
        os.close(fd)
        os.waitpid(pid, 0)
    return shown
