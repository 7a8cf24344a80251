"""`ls` and `cat`."""

from pathlib import Path

import pytest

from tests.support.check import FAILED, assert_clear_error
from tests.support.imbfs import Imbfs, name
from tests.support.small import FILES


def test_ls_lists_one_directory(copied: Imbfs) -> None:
    paths = {path.rsplit(b"/")[-1] for path in copied.ls("latest")} - {b"", b"."}
    assert paths == {path.split(b"/")[0] for path in FILES} | {b"symlink", b"empty-directory"}


def test_ls_of_an_empty_directory_is_empty(copied: Imbfs) -> None:
    assert copied.run("--json", "ls", "latest:empty-directory").json() == []
    assert copied.run("ls", "latest:empty-directory").stdout == b""


def test_ls_of_a_file_lists_the_file(copied: Imbfs) -> None:
    (entry,) = copied.run("--json", "ls", "latest:sub/one").json()
    assert entry["kind"] == "file"
    assert name(entry["path"]) == b"sub/one"


def test_ls_for_people_has_a_line_a_name_even_for_a_name_of_two_lines(copied: Imbfs) -> None:
    lines = copied.run("ls", "latest").stdout.splitlines()
    assert len(lines) == len(copied.ls("latest"))


def test_ls_l_tells_mode_owner_and_size(copied: Imbfs) -> None:
    listing = copied.run("ls", "-l", "latest").stdout
    (line,) = [line for line in listing.splitlines() if b"large" in line]
    assert b"-rw-r--r--" in line
    assert str(len(FILES[b"large"])).encode() in line
    (line,) = [line for line in listing.splitlines() if b"symlink" in line]
    assert b"sub/one" in line


def test_ls_of_a_missing_path_is_exit_1(copied: Imbfs) -> None:
    assert_clear_error(copied.run("ls", "latest:no/such", check=False), FAILED, "no/such")


@pytest.mark.parametrize("path", FILES, ids=repr)
def test_cat_gives_exactly_the_bytes(copied: Imbfs, path: bytes) -> None:
    assert copied.run("cat", b"latest:" + path).stdout == FILES[path]


@pytest.mark.parametrize("path", ["sub", "", "no/such", "readme/below", "symlink", "../readme"])
def test_cat_of_what_is_no_file_is_exit_1(copied: Imbfs, path: str) -> None:
    assert_clear_error(copied.run("cat", f"latest:{path}", check=False), FAILED)


def test_cat_of_a_directory_says_so_in_whole_words(copied: Imbfs) -> None:
    assert "sub is a directory: name a file" in copied.run("cat", "latest:sub", check=False).errors


def test_cat_without_a_path_says_what_is_missing(copied: Imbfs) -> None:
    result = copied.run("cat", "latest", check=False)
    assert result.code in (1, 2), result
    assert "Traceback" not in result.errors


def test_a_file_in_a_directory_of_thousands_is_found(imbfs: Imbfs, tmp_path: Path) -> None:
    directory = tmp_path / "many"
    directory.mkdir()
    for number in range(3000):
        (directory / f"{number * 7919 % 3000:06}").write_text(str(number))
    imbfs.run("init")
    imbfs.run("backup", directory)
    assert len(imbfs.ls("latest")) == 3000
    assert imbfs.run("cat", "latest:000000").text == "0"
    assert imbfs.run("cat", "latest:002999").text == (directory / "002999").read_text()
