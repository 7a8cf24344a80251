"""scripts/bench on tiny trees, with imbfs alone: the tables come out, and nothing is left behind."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmarks.meter import memory
from scripts.benchmarks.mounting import shares
from scripts.benchmarks.programs import Imbfs, imbfs_command
from scripts.benchmarks.report import DISK, IMBFS, Report, Run, ratio, significant, with_derived
from scripts.benchmarks.stage import Stage, StepFailed
from tests.support.imbfs import MARK, ROOT, mounts_below, processes_marked, wait_until


def start(directory: Path, mark: str, *arguments: str) -> "subprocess.Popen[str]":
    (directory / "work").mkdir()
    return subprocess.Popen(
        [sys.executable, ROOT / "scripts/bench", *arguments, "--quick", "--peers=", "--work", "work"],
        cwd=directory,
        env=os.environ | {MARK: mark, "TMPDIR": str(directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def table_of(directory: Path, mark: str, *arguments: str) -> str:
    process = start(directory, mark, *arguments, "--json", "runs.json")
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 0, stdout + stderr
    assert_nothing_left(directory, mark, process.pid)
    assert Report.load(directory / "runs.json").markdown() == stdout.removesuffix("\n")
    return stdout


def assert_nothing_left(directory: Path, mark: str, pid: int) -> None:
    assert mounts_below(directory) == []
    assert processes_marked(mark) == {}
    assert list((directory / "work").iterdir()) == []
    assert list(directory.glob("imbfs-bench*")) == []
    assert not list(Path("/dev/shm").glob(f"imbfs-bench-{pid}-*"))


def row(table: str, step: str) -> list[str]:
    found = [line for line in table.splitlines() if line.startswith(f"| {step} |")]
    assert found, f"no row {step!r} in:\n{table}"
    return [cell.strip() for cell in found[0].strip("|").split("|")[1:]]


@pytest.fixture
def own_mark(mark: str, tmp_path: Path) -> str:
    return f"{mark}/{tmp_path.name}"


def test_bench_mount_prints_what_each_step_took_and_cost(tmp_path: Path, own_mark: str) -> None:
    table = table_of(tmp_path, own_mark, "mount", "--only", "small")
    disk, seconds, times = row(table, "find -printf, cold")
    assert disk.endswith(" s")
    assert seconds.endswith(" s")
    assert times.endswith("×")
    assert row(table, "one file: open, read, close, warm")[1].endswith(" ms")
    assert row(table, "mount to first ls, cold")[0] == "–"
    assert "imbfs: CPU, private memory" in table


def test_bench_backup_prints_what_each_step_took_and_cost(tmp_path: Path, own_mark: str) -> None:
    table = table_of(tmp_path, own_mark, "backup", "--only", "small")
    assert row(table, "1 % changed")[1].endswith(" s")
    assert row(table, "restore to the disk (reference: tar x)")[2].endswith("×")
    assert row(table, "repository")[1].endswith(" MB")
    assert "imbfs: CPU, memory (PSS)" in table


def test_a_benchmark_that_is_ended_leaves_nothing_mounted_or_running(tmp_path: Path, own_mark: str) -> None:
    process = start(tmp_path, own_mark, "mount", "--only", "media", "--seconds", "60")
    with process:
        wait_until(lambda: bool(mounts_below(tmp_path)), "a mount")
        time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode in {128 + signal.SIGTERM, 128 + signal.SIGINT}
    assert_nothing_left(tmp_path, own_mark, process.pid)


def test_readers_read_what_they_are_told_and_tell_how_much(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(3 << 20))
    path = str(tmp_path / "file")
    jobs: list[dict[str, Any]] = [
        {"kind": "parts", "parts": [[path, 1, 5], [path, 1 << 20, 2 << 20]]},
        {"kind": "random", "path": path, "seconds": 0.01, "seed": 1},
        {"kind": "small", "paths": [path, path]},
    ]
    with Stage(tmp_path) as stage:
        seconds, done = stage.readers(jobs)
        with pytest.raises(StepFailed, match="No such file"):
            stage.readers([{"kind": "small", "paths": [f"{path} is gone"]}])
    assert [done[0]["amount"], done[2]["amount"]] == [5 + (2 << 20), 2]
    assert done[1]["amount"] > 0
    assert seconds >= 0.01


def run(step: str, program: str, value: float, unit: str = "s", pair: int = 0) -> Run:
    return Run("kernel", step, program, value, unit, pair)


def test_a_ratio_is_the_median_over_pairs_not_the_quotient_of_medians() -> None:
    slow_machine = [run("find", IMBFS, 20, pair=1), run("find", DISK, 10, pair=1)]
    fast_machine = [
        run("find", IMBFS, 4, pair=2),
        run("find", DISK, 2, pair=2),
        run("find", IMBFS, 5, pair=3),
    ]
    assert ratio(slow_machine + fast_machine, "find", IMBFS, DISK) == 2


def test_a_ratio_of_rates_tells_how_many_times_the_time_is_taken() -> None:
    runs = [run("read", IMBFS, 500, "MB/s"), run("read", DISK, 1000, "MB/s")]
    assert ratio(runs, "read", IMBFS, DISK) == 2


def test_copying_is_also_told_without_what_copying_the_source_takes() -> None:
    runs = with_derived([run("cp -a, cold", IMBFS, 15), run("cp -a, cold", DISK, 10)])
    assert [(one.step, one.value) for one in runs[2:]] == [("cp -a, cold, less the source's", 5)]


def test_eight_readers_are_compared_with_one_in_the_same_state() -> None:
    runs = [
        run(f"{who}, {state}", IMBFS, speed)
        for who, state, speed in (
            ("1 reader", "cold", 100),
            ("1 reader", "warm", 1),
            ("8 readers", "cold", 150),
        )
    ]
    assert [(one.step, one.value) for one in with_derived(runs)[3:]] == [("8 readers : 1, cold", 1.5)]


def test_readers_share_all_bytes_and_none_twice() -> None:
    assert shares([("a", 10)], 4) == [[("a", 0, 2)], [("a", 2, 3)], [("a", 5, 2)], [("a", 7, 3)]]
    assert shares([("a", 1), ("b", 2), ("c", 3)], 2) == [[("a", 0, 1), ("c", 0, 3)], [("b", 0, 2)]]


def test_figures_have_three_digits_that_count() -> None:
    assert [significant(value) for value in (0.0123, 1.234, 12.34, 1234.5)] == [
        "0.012",
        "1.23",
        "12.3",
        "1,234",
    ]


def test_memory_is_read_of_a_real_process() -> None:
    sums = memory([os.getpid()])
    assert sums["pss"] >= sums["private"] > 1_000_000
    assert memory([]) == {"private": 0, "anonymous": 0, "pss": 0}


def test_scale_prints_a_row_for_each_number(tmp_path: Path) -> None:
    result = subprocess.run(
        [
            sys.executable,
            ROOT / "scripts/bench",
            "scale",
            "--files=30",
            "--snapshots=1,2",
            "--data",
            tmp_path,
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    rows = [line.split("|")[1].strip() for line in result.stdout.splitlines() if line]
    assert {"30", "30, in one directory", "1", "2"} <= set(rows)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("scale-")] == []


def test_imbfs_is_measured_as_it_is_installed(tmp_path: Path) -> None:
    program = Imbfs(imbfs_command(None))
    assert program.environment(tmp_path)["PYTHONDONTWRITEBYTECODE"] == "", "as if it were not set"
    if program.command[0] == sys.executable:
        module = ROOT / "backup/ops/backup.py"
        assert Path(importlib.util.cache_from_source(str(module))).exists()
