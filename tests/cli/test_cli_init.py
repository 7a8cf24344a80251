"""`init`, the default repository, and what happens where there is none."""

import json
from pathlib import Path

import pytest

from tests.support.check import FAILED, NO_REPOSITORY, WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs


def test_init_makes_an_empty_repository(imbfs: Imbfs) -> None:
    imbfs.run("init")
    assert json.loads((imbfs.repository / "config.json").read_bytes())
    assert imbfs.snapshots() == []
    assert imbfs.run("check", "--read-data").code == 0


def test_init_makes_missing_parents(imbfs: Imbfs) -> None:
    place = imbfs.directory / "not" / "there" / "yet"
    imbfs.run("--repo", place, "init", repository=False)
    assert (place / "config.json").is_file()


def test_init_takes_an_empty_directory(imbfs: Imbfs) -> None:
    imbfs.repository.mkdir()
    imbfs.run("init")
    assert imbfs.snapshots() == []


def test_init_refuses_a_repository_that_exists(imbfs: Imbfs) -> None:
    imbfs.run("init")
    before = (imbfs.repository / "config.json").read_bytes()
    assert_clear_error(imbfs.run("init", check=False), FAILED, str(imbfs.repository))
    assert (imbfs.repository / "config.json").read_bytes() == before


def test_init_refuses_a_directory_that_holds_something_else(imbfs: Imbfs) -> None:
    imbfs.repository.mkdir()
    (imbfs.repository / "letter").write_text("dear")
    assert_clear_error(imbfs.run("init", check=False), FAILED, str(imbfs.repository))
    assert [path.name for path in imbfs.repository.iterdir()] == ["letter"]


def test_init_refuses_a_file(imbfs: Imbfs) -> None:
    imbfs.repository.write_text("a file")
    assert_clear_error(imbfs.run("init", check=False), FAILED, str(imbfs.repository))
    assert imbfs.repository.read_text() == "a file"


@pytest.mark.parametrize(
    "options",
    [
        ["--hash", "sha256"],
        ["--compression", "none"],
        ["--compression", "zstd:9"],
        ["--pack-size", "4194304"],
    ],
    ids=" ".join,
)
def test_each_choice_of_init_brings_back_the_same_bytes(
    imbfs: Imbfs, source: Path, options: list[str]
) -> None:
    """Parity row 3: compression on or off for each repository, mixed contents readable."""
    imbfs.run("init", *options)
    imbfs.run("backup", source)
    assert imbfs.run("cat", "latest:large").stdout == (source / "large").read_bytes()
    assert imbfs.run("check", "--read-data").code == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--hash", "md5"],
        ["--compression", "zip"],
        ["--compression", "zstd:99"],
        ["--compression", "zstd:fast"],
        ["--pack-size", "-1"],
        ["--pack-size", "much"],
        ["--no-such-option"],
        ["an", "argument"],
    ],
    ids=" ".join,
)
def test_wrong_choices_of_init_make_nothing(imbfs: Imbfs, options: list[str]) -> None:
    assert_clear_error(imbfs.run("init", *options, check=False), WRONG_USE)
    assert not imbfs.repository.exists()


def test_the_first_backup_makes_the_default_repository_and_says_so(imbfs: Imbfs, source: Path) -> None:
    result = imbfs.run("backup", source, repository=False)
    default = imbfs.home() / ".local/share/imbfs/repository"
    assert (default / "config.json").is_file()
    assert str(default) in result.errors
    assert str(default) not in imbfs.run("backup", source, repository=False).errors
    assert len(imbfs.run("--json", "snapshots", repository=False).json()) == 2


def test_no_other_command_makes_the_default_repository(imbfs: Imbfs) -> None:
    for command in (["snapshots"], ["ls", "latest"], ["cat", "latest:x"], ["check"], ["show", "latest"]):
        assert_clear_error(imbfs.run(*command, repository=False, check=False), NO_REPOSITORY)
    assert not (imbfs.home() / ".local/share/imbfs").exists()


def test_backup_does_not_make_a_repository_that_was_named(imbfs: Imbfs, source: Path) -> None:
    assert_clear_error(imbfs.run("backup", source, check=False), NO_REPOSITORY, str(imbfs.repository))
    assert not imbfs.repository.exists()


@pytest.mark.parametrize("command", ["snapshots", "show latest", "ls latest", "cat latest:a", "check"])
def test_a_missing_repository_is_exit_10(imbfs: Imbfs, command: str) -> None:
    assert_clear_error(imbfs.run(*command.split(), check=False), NO_REPOSITORY, str(imbfs.repository))


def test_mount_of_a_missing_repository_is_exit_10(imbfs: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "mountpoint").mkdir()
    result = imbfs.run("mount", "latest", tmp_path / "mountpoint", check=False)
    assert_clear_error(result, NO_REPOSITORY, str(imbfs.repository))


def test_a_directory_that_is_no_repository_is_exit_10(imbfs: Imbfs) -> None:
    imbfs.repository.mkdir()
    (imbfs.repository / "letter").write_text("dear")
    assert_clear_error(imbfs.run("snapshots", check=False), NO_REPOSITORY, str(imbfs.repository))


def test_a_format_of_the_future_is_refused_by_name(saved: Imbfs) -> None:
    config = saved.repository / "config.json"
    settings = json.loads(config.read_bytes())
    assert settings["format"] == 1
    config.chmod(0o600)
    config.write_text(json.dumps({**settings, "format": 99}))
    assert_clear_error(saved.run("snapshots", check=False), FAILED, "99")
