"""Which paths a backup takes, and from where its snapshot is shown."""

import os
from pathlib import Path

import pytest

from backup.model.errors import ImbfsError, UsageError
from backup.ops.storing.sources import Choice, Sources, plan_sources


@pytest.fixture
def top(tmp_path: Path) -> bytes:
    for directory in ("a/inner/deep", "b", "a-b"):
        (tmp_path / directory).mkdir(parents=True)
    for file in ("file", "a/file", "b/file"):
        (tmp_path / file).write_bytes(b"")
    (tmp_path / "to-a").symlink_to("a")
    (tmp_path / "to-file").symlink_to("file")
    (tmp_path / "broken").symlink_to("nowhere")
    return os.fsencode(tmp_path.resolve())


def plan(top: bytes, *paths: str | bytes) -> Sources:
    return plan_sources([os.path.join(top, os.fsencode(path)) for path in paths])


def chosen(choice: Choice | None, above: bytes = b"") -> list[bytes]:
    """The paths of a choice, each as one."""
    found: list[bytes] = []
    for name, below in (choice or {}).items():
        path = os.path.join(above, name)
        found += [path] if below is None else chosen(below, path)
    return sorted(found)


def test_one_directory_is_shown_from_itself_and_taken_whole(top: bytes) -> None:
    assert plan(top, "a") == (top + b"/a", [top + b"/a"], None, [], [], [], {})


def test_one_file_is_shown_in_its_directory(top: bytes) -> None:
    sources = plan(top, "a/file")
    assert (sources.top, sources.choice) == (top + b"/a", {b"file": None})


def test_several_paths_are_shown_from_the_deepest_directory_that_holds_them(top: bytes) -> None:
    sources = plan(top, "b", "a/inner/deep", "a/file")
    assert sources.top == top
    assert chosen(sources.choice) == [b"a/file", b"a/inner/deep", b"b"]
    assert plan(top, "a/file", "a/inner").top == top + b"/a"


def test_a_path_given_twice_is_taken_once(top: bytes) -> None:
    for same in ("a/", "a/.", "./a", "b/../a", "a/inner/.."):
        sources = plan(top, "a", same)
        assert (sources.paths, sources.choice, sources.notices) == ([top + b"/a"], None, []), same


def test_a_path_inside_another_is_part_of_that_and_told(top: bytes) -> None:
    sources = plan(top, "a/inner/deep", "a", "a/file")
    assert sources.paths == [top + b"/a"]
    assert len(sources.notices) == 2
    assert all("part of" in notice for notice in sources.notices)


def test_a_name_that_only_begins_like_another_is_not_inside_it(top: bytes) -> None:
    assert plan(top, "a", "a-b").paths == [top + b"/a", top + b"/a-b"]


def test_the_root_directory_holds_everything(top: bytes) -> None:
    sources = plan_sources([b"/", top])
    assert (sources.top, sources.paths, sources.choice) == (b"/", [b"/"], None)


def test_paths_that_share_nothing_are_shown_from_the_root_directory(top: bytes) -> None:
    sources = plan_sources([top, b"/proc/version"])
    assert sources.top == b"/"
    assert chosen(sources.choice) == sorted([top[1:], b"proc/version"])


def test_a_path_relative_to_the_working_directory_is_made_absolute(
    top: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(os.fsdecode(top) + "/a/inner")
    assert plan_sources([b"."]).paths == [top + b"/a/inner"]
    assert plan_sources([b".."]).paths == [top + b"/a"]
    assert plan_sources([b"deep", b"../file"]).paths == [top + b"/a/file", top + b"/a/inner/deep"]


def test_a_symlink_is_backed_up_as_a_link_and_told(top: bytes) -> None:
    sources = plan(top, "to-a")
    assert (sources.top, sources.choice) == (top, {b"to-a": None})
    assert "symbolic link" in sources.notices[0]


@pytest.mark.parametrize("link", ["to-file", "broken"])
def test_a_symlink_to_no_directory_needs_no_word(top: bytes, link: str) -> None:
    sources = plan(top, link)
    assert (sources.choice, sources.notices) == ({link.encode(): None}, [])


@pytest.mark.parametrize("path", ["to-a/", "to-a/.", "to-a/inner/.."])
def test_a_symlink_with_something_behind_it_is_what_it_leads_to(top: bytes, path: str) -> None:
    assert plan(top, path).paths == [top + b"/a"]


def test_a_path_through_a_symlink_is_taken_where_it_really_is(top: bytes) -> None:
    assert plan(top, "to-a/inner").paths == [top + b"/a/inner"]
    assert plan(top, "to-a/inner", "a").paths == [top + b"/a"]


def test_a_symlink_and_its_target_are_two_sources(top: bytes) -> None:
    assert plan(top, "to-a", "a").paths == [top + b"/a", top + b"/to-a"]


@pytest.mark.parametrize(
    "paths", [["file", "file/below"], ["nowhere", "nowhere/below", "a"], ["file", "file/x/y"]]
)
def test_a_path_below_what_is_no_directory_is_not_there_and_does_no_harm(
    top: bytes, paths: list[str]
) -> None:
    sources = plan(top, *paths)
    assert top + b"/" + paths[0].encode() in sources.paths


def test_a_missing_path_beside_others_is_kept_for_the_walk_to_report(top: bytes) -> None:
    assert plan(top, "a", "missing").paths == [top + b"/a", top + b"/missing"]
    assert plan(top, "a", "a/missing").missing == [top + b"/a/missing"]


def test_where_nothing_is_there_nothing_can_be_backed_up(top: bytes) -> None:
    with pytest.raises(ImbfsError, match="does not exist"):
        plan(top, "missing", "missing too")


@pytest.mark.parametrize("paths", [[], [b""], [b"nul\0"]])
def test_a_path_that_is_none_is_wrong_usage(paths: list[bytes]) -> None:
    with pytest.raises(UsageError):
        plan_sources(paths)


@pytest.mark.parametrize("name", [b"new\nline", b"caf\xe9", b" ", b"-r", b"@latest"])
def test_a_name_of_any_bytes_is_a_path(top: bytes, name: bytes) -> None:
    os.mkdir(os.path.join(top, name))
    assert plan(top, name).paths == [os.path.join(top, name)]
