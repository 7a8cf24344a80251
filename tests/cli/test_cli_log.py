"""`--log-file FILE`: what a command told, kept."""

import re
from pathlib import Path

from tests.support.check import FAILED, IN_PART, assert_clear_error
from tests.support.imbfs import Imbfs


def lines(file: Path) -> list[str]:
    """Without time and process, which each line has to have."""
    found = []
    for line in file.read_text(errors="surrogateescape").splitlines():
        match = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d \d+ (.*)", line)
        assert match is not None, line
        found.append(match[1])
    return found


def test_a_command_logs_itself_what_it_told_and_how_it_ended(saved: Imbfs, source: Path) -> None:
    """Parity row 49: `--log-file`, for every command, before it or after it."""
    log = saved.directory / "log"
    result = saved.run("--log-file", log, "backup", source, "--locked", source / "sub", check=False)
    assert result.code == IN_PART
    begins, *told, ends = lines(log)
    assert re.fullmatch(r"begins: imbfs --repo \S+ --log-file \S+ backup .*", begins)
    assert told == result.errors.splitlines()
    assert re.fullmatch(r"ends: exit code 3, \d+\.\d s", ends)
    assert_clear_error(saved.run("show", "nonsense", "--log-file", log, check=False), FAILED, "nonsense")
    more = lines(log)[len(told) + 2 :]
    assert len(more) == 3
    assert "nonsense" in more[1]


def test_a_quiet_command_logs_what_it_kept_to_itself(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    log = imbfs.directory / "log"
    result = imbfs.run("-q", "backup", source, source / "sub", "--log-file", log)
    assert result.errors == ""
    assert any("part of another path" in line for line in lines(log))


def test_a_name_of_several_lines_makes_none_without_a_time(saved: Imbfs) -> None:
    log = saved.directory / "log"
    saved.run("ls", "latest:no\nsuch \udce9", "--log-file", log, check=False)
    assert len(lines(log)) >= 3


def test_a_log_that_cannot_be_opened_is_the_reason_of_a_failure(saved: Imbfs, source: Path) -> None:
    result = saved.run("backup", source, "--log-file", "/no/such/log", check=False)
    assert_clear_error(result, FAILED, "/no/such/log")
    assert len(saved.snapshots()) == 1


def test_a_log_that_fills_its_disk_stops_no_backup(saved: Imbfs, source: Path) -> None:
    result = saved.run("backup", source, "--log-file", "/dev/full")
    assert "nothing more is logged" in result.errors
    assert len(saved.snapshots()) == 2
