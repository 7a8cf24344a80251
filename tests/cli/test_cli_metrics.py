"""`--metrics FILE`: what commands came to, for Prometheus' node_exporter."""

import re
import shutil
import stat
import time
from pathlib import Path

import pytest

from backup.cli.metrics import write_metrics
from tests.cli.test_cli_profiles import Profiles
from tests.support.imbfs import Imbfs


def read(file: Path) -> dict[tuple[str, str, str], float]:
    """By name, command and profile. Every line has to be of the format."""
    found = {}
    for line in file.read_text().splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP imbfs_\w+ .+|TYPE imbfs_\w+ gauge)", line)
            continue
        match = re.fullmatch(r'(imbfs_\w+)\{command="(.*)",profile="(.*)"\} ([\d.e+-]+)', line)
        assert match is not None, line
        found[match[1], match[2], match[3]] = float(match[4])
    return found


def test_a_backup_writes_what_it_came_to(saved: Imbfs, source: Path) -> None:
    file = saved.directory / "metrics.prom"
    summary = saved.backup(source, "--metrics", file)
    known = read(file)
    assert known["imbfs_backup_files", "backup", ""] == summary["files"]
    assert known["imbfs_backup_bytes_source", "backup", ""] == summary["bytes_source"]
    assert known["imbfs_exit_code", "backup", ""] == 0
    assert known["imbfs_success_time_seconds", "backup", ""] == pytest.approx(time.time(), abs=100)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_failure_is_written_and_the_last_success_stays(saved: Imbfs, source: Path) -> None:
    file = saved.directory / "metrics.prom"
    saved.run("backup", source, "--metrics", file)
    saved.run("check", "--read-data", "--metrics", file)
    before = read(file)
    shutil.rmtree(source)
    assert saved.run("backup", source, "--metrics", file, check=False).code == 1
    after = read(file)
    success = ("imbfs_success_time_seconds", "backup", "")
    assert after["imbfs_exit_code", "backup", ""] == 1
    assert after[success] == before[success]
    assert ("imbfs_backup_files", "backup", "") not in after
    checked = {key: value for key, value in before.items() if key[1] == "check"}
    assert checked["imbfs_check_damage", "check", ""] == 0
    assert checked.items() <= after.items()


def test_a_run_writes_where_its_profile_says(imbfs: Imbfs, tmp_path: Path) -> None:
    imbfs.run("init")
    profiles = Profiles(imbfs)
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_text("a")
    for name in ("one", "two"):
        file = profiles.sound(name, [tmp_path / "source"], "[prune]\n[check]\n")
        file.write_text('metrics = "$HOME/metrics.prom"\n' + file.read_text())
    profiles.run("run", "one", "two")
    known = read(imbfs.home() / "metrics.prom")
    for name in ("one", "two"):
        assert known["imbfs_backup_files", "run", name] == 1
        assert known["imbfs_prune_bytes_freed", "run", name] == 0
        assert known["imbfs_check_damage", "run", name] == 0


def test_metrics_that_cannot_be_written_fail_the_command(saved: Imbfs, source: Path) -> None:
    result = saved.run("backup", source, "--metrics", "/no/such/file", check=False)
    assert (result.code, len(saved.snapshots())) == (1, 2)
    assert "metrics could not be written" in result.errors


def test_a_file_of_something_else_is_no_hindrance_and_labels_are_escaped(tmp_path: Path) -> None:
    file = tmp_path / "metrics.prom"
    file.write_bytes(b"rubbish \xff\nimbfs_exit_code{} x\n")
    labels = r'{command="run",profile="a\"b\\c"}'
    for code in (1.0, 2.0):
        write_metrics(str(file), {("imbfs_exit_code", labels): code})
    assert file.read_text().splitlines()[2:] == [f"imbfs_exit_code{labels} 2"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.prom"]
