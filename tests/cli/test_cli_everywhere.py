"""What holds for every command: global options, streams, errors, exit codes."""

import shlex
import subprocess
from pathlib import Path

import pytest

import backup
from tests.support.check import WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs, command_of

WRONG_CALLS = [
    "",
    "no-such-command",
    "backup --no-such-option",
    "snapshots surplus argument",
    "show",
    "ls",
    "cat",
    "mount",
    "umount",
    "restore latest",
    "check --subset",
    "index",
    "index destroy",
]


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_wrong_use_is_exit_2_and_nothing_on_stdout(imbfs: Imbfs, call: str) -> None:
    assert_clear_error(imbfs.run(*call.split(), check=False), WRONG_USE)


def test_version_names_the_program_and_its_version(imbfs: Imbfs) -> None:
    result = imbfs.run("--version", repository=False)
    assert "imbfs" in result.text
    assert backup.__version__ in result.text


def test_help_lists_the_commands_on_stdout(imbfs: Imbfs) -> None:
    helped = imbfs.run("--help", repository=False).text
    for command in (
        "init",
        "backup",
        "snapshots",
        "show",
        "mount",
        "umount",
        "ls",
        "cat",
        "restore",
        "check",
    ):
        assert command in helped


def test_global_options_work_before_and_after_the_command(copied: Imbfs) -> None:
    repository = str(copied.repository)
    calls = [
        ["--repo", repository, "--json", "snapshots"],
        ["snapshots", "--repo", repository, "--json"],
        ["-r", repository, "snapshots", "--json"],
        ["--json", "snapshots", "-r", repository],
        ["--json", "-q", "--no-progress", f"--repo={repository}", "snapshots", "-v"],
    ]
    answers = [copied.run(*call, repository=False).stdout for call in calls]
    assert answers == [answers[0]] * len(calls)
    assert len(copied.run(*calls[0], repository=False).json()) == 1


def test_a_global_option_after_the_command_keeps_those_before_it(copied: Imbfs) -> None:
    result = copied.run("--json", "--repo", copied.repository, "ls", "latest", "-q", repository=False)
    assert isinstance(result.json(), list)


def test_the_repository_comes_from_the_environment(copied: Imbfs) -> None:
    env = {"IMBFS_REPOSITORY": str(copied.repository)}
    assert len(copied.run("--json", "snapshots", repository=False, env=env).json()) == 1


def test_the_option_goes_before_the_environment(copied: Imbfs) -> None:
    env = {"IMBFS_REPOSITORY": str(copied.directory / "nowhere")}
    assert copied.run("snapshots", env=env).code == 0


def test_quiet_says_nothing_at_all(saved: Imbfs, source: Path) -> None:
    result = saved.run("-q", "backup", source)
    assert result.stderr == b""


def test_no_progress_is_shown_where_there_is_no_terminal(saved: Imbfs, source: Path) -> None:
    result = saved.run("--json", "backup", source)
    assert b"\r" not in result.stderr
    assert b"\x1b" not in result.stderr
    assert len(result.stdout.splitlines()) == 1


def test_queries_write_nothing_to_stderr(copied: Imbfs) -> None:
    for command in (["snapshots"], ["show", "latest"], ["ls", "-R", "latest"], ["cat", "latest:readme"]):
        assert copied.run(*command).stderr == b""


@pytest.mark.parametrize("call", ["snapshots", "ls latest", "cat latest:readme", "backup repository/.."])
def test_output_that_cannot_be_written_is_no_traceback(copied: Imbfs, call: str) -> None:
    command = shlex.join([*command_of(), "--repo", str(copied.repository), *call.split()])
    for outlet in (">&-", "> /dev/full"):
        result = subprocess.run(
            ["sh", "-c", f"{command} {outlet}"],
            cwd=copied.directory,
            env=copied.environment(),
            capture_output=True,
        )
        assert b"Traceback" not in result.stderr, result.stderr.decode()
        assert result.returncode != 0 or call.startswith("backup")


def test_a_closed_pipe_is_no_traceback(copied: Imbfs) -> None:
    with copied.start("cat", "latest:large") as running:
        assert running.process.stdout is not None
        running.process.stdout.read(10)
        running.process.stdout.close()
        running.process.wait(20)
        assert running.process.stderr is not None
        assert b"Traceback" not in running.process.stderr.read()
