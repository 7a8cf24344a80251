"""How a snapshot, and a path inside it, are named."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.check import FAILED, WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs
from tests.support.small import FILES, build_small

DAYS = [10, 5, 1]  # how long ago each snapshot was made


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, mark: str) -> Imbfs:
    """Three snapshots of one tree, whose file `number` tells which: 0 is the oldest. Only queried."""
    imbfs = Imbfs(tmp_path_factory.mktemp("three"), mark)
    source = build_small(imbfs.directory / "source")
    imbfs.run("init")
    for number, days in enumerate(DAYS):
        (source / "number").write_text(str(number))
        made = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        options = ["--tag", f"tag-{number}", "--tag", "all", "--host", f"host-{number}"]
        imbfs.run("backup", *options, "--time", made, source)
    return imbfs


def number_of(imbfs: Imbfs, selector: str, *options: str) -> str:
    return imbfs.run("cat", *options, f"{selector}:number").text


def day(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d")


SELECTORS = {
    "latest": "2",
    "latest~0": "2",
    "latest~1": "1",
    "latest~2": "0",
    "tag:tag-0": "0",
    "tag:all": "2",
    "@2 days ago": "1",
    "@7 days ago": "0",
}


@pytest.mark.parametrize("selector", SELECTORS)
def test_a_selector_finds_its_snapshot(three: Imbfs, selector: str) -> None:
    """Parity row 29: picked by position or date."""
    assert number_of(three, selector) == SELECTORS[selector]


def test_a_date_finds_the_newest_at_or_before_it(three: Imbfs) -> None:
    assert number_of(three, "@" + day(3)) == "1"
    assert number_of(three, "@" + day(3) + "T12:00") == "1"
    assert number_of(three, "@" + day(7) + "T00:00:00Z") == "0"
    assert number_of(three, "@" + day(-1)) == "2"


def test_the_exact_time_of_a_snapshot_finds_it(three: Imbfs) -> None:
    (_, second, _) = three.snapshots()
    assert three.run("--json", "show", "@" + second["time"]).json()["id"] == second["id"]


def test_a_date_before_all_snapshots_finds_none(three: Imbfs) -> None:
    assert_clear_error(three.run("show", "@2001-01-01", check=False), FAILED)


def test_an_id_and_any_unique_prefix_of_it_find_the_snapshot(three: Imbfs) -> None:
    for number, snapshot in enumerate(three.snapshots()):
        for length in (12, 20, len(snapshot["id"])):
            assert number_of(three, snapshot["id"][:length]) == str(number)


def test_host_and_tag_narrow_what_latest_means(three: Imbfs) -> None:
    assert number_of(three, "latest", "--host", "host-1") == "1"
    assert number_of(three, "latest", "--tag", "tag-0") == "0"
    assert number_of(three, "latest", "--path", str(three.directory / "source")) == "2"
    result = three.run("cat", "--path", "/somewhere/else", "latest:number", check=False)
    assert_clear_error(result, FAILED)


@pytest.mark.parametrize("selector", ["latest~3", "tag:none", "ffffffffffff0", "nonsense"])
def test_no_match_is_exit_1_in_one_line(three: Imbfs, selector: str) -> None:
    assert_clear_error(three.run("show", selector, check=False), FAILED)


def test_a_time_that_cannot_be_understood_is_said_to_be_so(three: Imbfs) -> None:
    result = three.run("show", "@yesteryear", check=False)
    assert_clear_error(result, result.code, "yesteryear")
    assert result.code in (FAILED, WRONG_USE)


def test_no_match_names_the_candidates(three: Imbfs) -> None:
    result = three.run("show", "tag:none", check=False)
    assert any(snapshot["id"][:8] in result.errors for snapshot in three.snapshots()), result


def test_an_empty_repository_has_no_latest(imbfs: Imbfs) -> None:
    imbfs.run("init")
    assert_clear_error(imbfs.run("show", "latest", check=False), FAILED)


def _first_digits(snapshots: list[dict[str, Any]]) -> dict[str, list[str]]:
    by_digit: dict[str, list[str]] = defaultdict(list)
    for snapshot in snapshots:
        by_digit[snapshot["id"][0]].append(snapshot["id"])
    return by_digit


def test_a_prefix_that_fits_two_is_exit_1_and_names_both(imbfs: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    imbfs.run("init")
    twins: list[str] = []
    while len(twins) < 2:  # 17 at the most: there are 16 digits
        imbfs.run("backup", tmp_path / "source")
        twins = max(_first_digits(imbfs.snapshots()).values(), key=len)
    result = imbfs.run("show", twins[0][0], check=False)
    assert_clear_error(result, FAILED, twins[0][:8], twins[1][:8])


def test_a_path_is_relative_to_the_root_of_the_snapshot(three: Imbfs) -> None:
    assert three.run("cat", "latest:sub/one").stdout == FILES[b"sub/one"]
    assert set(three.ls("latest:sub")) >= {b"sub/one"} or set(three.ls("latest:sub")) >= {b"one"}


def test_a_path_with_a_leading_slash_is_the_one_at_the_source(three: Imbfs) -> None:
    source = three.directory / "source"
    assert three.run("cat", f"latest:{source}/sub/one").stdout == FILES[b"sub/one"]
    assert (
        three.run("--json", "ls", f"latest:{source}/sub").json()
        == three.run("--json", "ls", "latest:sub").json()
    )


def test_an_absolute_path_outside_the_source_is_not_found(three: Imbfs) -> None:
    assert_clear_error(three.run("cat", "latest:/sub/one", check=False), FAILED)
    assert_clear_error(three.run("cat", "latest:/etc/hostname", check=False), FAILED)


def test_a_colon_in_a_path_belongs_to_the_path(imbfs: Imbfs, source: Path) -> None:
    (source / "a:b").write_text("colons")
    imbfs.run("init")
    imbfs.run("backup", source)
    assert imbfs.run("cat", "latest:a:b").text == "colons"


def test_a_date_with_a_time_and_a_path_is_told_apart(three: Imbfs) -> None:
    assert three.run("cat", f"@{day(3)}T12:00:number").text == "1"


def test_several_sources_are_shown_from_the_directory_that_holds_them_all(
    imbfs: Imbfs, tmp_path: Path
) -> None:
    for path in ("up/etc", "up/home/me"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "file").write_text(path)
    (tmp_path / "up" / "not-a-source").mkdir()
    imbfs.run("init")
    imbfs.run("backup", tmp_path / "up" / "etc", tmp_path / "up" / "home" / "me")
    assert imbfs.run("cat", "latest:etc/file").text == "up/etc"
    assert imbfs.run("cat", "latest:home/me/file").text == "up/home/me"
    assert set(imbfs.ls("latest")) - {b"", b"."} == {b"etc", b"home"}


def test_a_source_that_is_a_single_file_is_shown_in_its_directory(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    imbfs.run("backup", source / "sub" / "one")
    assert set(imbfs.ls("latest", "-R")) - {b"", b"."} == {b"one"}
    assert imbfs.run("cat", "latest:one").stdout == FILES[b"sub/one"]
    assert imbfs.run("cat", f"latest:{source}/sub/one").stdout == FILES[b"sub/one"]
