"""`backup --stdin` and `--stdin-from-command`: a stream is a snapshot of one file, whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.check import FAILED, WRONG_USE, assert_clear_error
from tests.support.everything import MIB, noise
from tests.support.imbfs import Imbfs


@pytest.fixture
def ready(imbfs: Imbfs) -> Imbfs:
    imbfs.run("init")
    return imbfs


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 9 * MIB + 5])
def test_a_stream_comes_back_as_it_was(ready: Imbfs, size: int) -> None:
    data = noise(size, 7)
    summary = ready.run("--json", "backup", "--stdin", "--stdin-name", "dump.sql", input=data).json()
    assert (summary["files"], summary["bytes_source"], summary["bytes_read"]) == (1, size, size)
    assert ready.run("cat", "latest:dump.sql").stdout == data
    assert ready.run("cat", "latest:/dump.sql").stdout == data
    assert ready.snapshots()[0]["paths"] == ["/dump.sql"]
    ready.run("check", "--read-data")


def test_a_stream_is_cut_like_a_file_and_stored_once(ready: Imbfs, tmp_path: Path) -> None:
    data = noise(5 * MIB, 8)
    (tmp_path / "file").write_bytes(data)
    ready.run("backup", tmp_path / "file")
    summary = ready.run("--json", "backup", "--stdin", input=data).json()
    assert summary["bytes_added"] < 4096
    again = ready.run("--json", "backup", "--stdin", input=b"x" + data).json()
    assert again["bytes_added"] < 4 * MIB
    assert again["parent"] == summary["snapshot"]
    listed = {
        entry["hash"] for name in ("latest", "latest~1", "latest~2") for entry in ready.ls(name).values()
    }
    assert len(listed) == 2


def test_a_stream_is_never_in_memory_whole(ready: Imbfs) -> None:
    feed = "import sys; [sys.stdout.buffer.write(bytes([n]) * (1 << 20)) for n in range(250)]"
    arguments = ["--repo", str(ready.repository), "backup", "--stdin-from-command", "--stdin-name", "long"]
    run = (
        "import resource; resource.setrlimit(resource.RLIMIT_DATA, (120 << 20, 120 << 20));"
        "from backup.cli.main import main;"
        f"raise SystemExit(main({[*arguments, '--', sys.executable, '-c', feed]!r}))"
    )
    subprocess.run([sys.executable, "-c", run], env=ready.environment(), check=True, timeout=60)
    assert ready.ls("latest")[b"long"]["size"] == 250 * MIB


def test_what_stands_behind_two_dashes_is_no_option(ready: Imbfs, tmp_path: Path) -> None:
    for name in ("-v", "--tag", "plain"):
        (tmp_path / name).touch()
    ready.run("backup", "plain", "--tag", "t", "--", "-v", "--tag")
    assert set(ready.ls("latest")) == {b"-v", b"--tag", b"plain"}


def test_a_command_that_fails_makes_no_snapshot(ready: Imbfs) -> None:
    feed = "print('half of it', flush=True); raise SystemExit(3)"
    failed = ready.run("backup", "--stdin-from-command", "--", sys.executable, "-c", feed, check=False)
    assert_clear_error(failed, FAILED, "exit code 3", "no snapshot")
    killed = ready.run("backup", "--stdin-from-command", "--", "sh", "-c", "kill -9 $$", check=False)
    assert_clear_error(killed, FAILED, "signal 9")
    missing = ready.run("backup", "--stdin-from-command", "--", "/no/such/command", check=False)
    assert_clear_error(missing, FAILED, "/no/such/command")
    assert ready.snapshots() == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "x" * 256])
def test_a_name_that_no_file_has_is_refused(ready: Imbfs, name: str) -> None:
    result = ready.run("backup", "--stdin", "--stdin-name", name, input=b"", check=False)
    assert_clear_error(result, WRONG_USE, "--stdin-name")


def test_a_name_may_be_of_any_bytes(ready: Imbfs) -> None:
    ready.run("backup", "--stdin", b"--stdin-name", b"caf\xe9", input=b"data")
    assert ready.run("cat", b"latest:caf\xe9").stdout == b"data"


def test_a_stream_goes_with_nothing_else(ready: Imbfs) -> None:
    for options in (["--stdin", os.getcwd()], ["--stdin-from-command"], ["--stdin", "--files-from", "-"]):
        assert_clear_error(ready.run("backup", *options, input=b"", check=False), WRONG_USE)
