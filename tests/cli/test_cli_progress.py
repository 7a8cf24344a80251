"""Progress: for people at a terminal, for programs as JSON, for nobody else; and what a summary tells."""

import json
import os
import pty
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.imbfs import Argument, Imbfs, command_of

MIB = 1 << 20


def lines_of(imbfs: Imbfs, *args: Argument) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The lines of progress, and the summary."""
    *lines, summary = map(json.loads, imbfs.run("--json", "-v", *args).stdout.splitlines())
    assert "type" not in summary
    assert {line["type"] for line in lines} <= {"progress"}
    return lines, summary


def test_programs_get_lines_of_json_before_the_summary(imbfs: Imbfs, source: Path, tmp_path: Path) -> None:
    imbfs.run("init")
    lines, summary = lines_of(imbfs, "backup", source)
    last = lines[-1]
    assert (last["files"], last["bytes"]) == (summary["files"], summary["bytes_source"])
    assert last["seconds"] >= 0
    lines, _ = lines_of(imbfs, "restore", "latest", "--target", tmp_path / "out")
    assert (lines[-1]["files_total"], lines[-1]["bytes_total"]) == (
        summary["files"],
        summary["bytes_source"],
    )
    lines, _ = lines_of(imbfs, "check", "--read-data")
    ends = [(line["step"], line["done"], line["total"]) for line in lines if line["done"] == line["total"]]
    assert {"packs", "snapshots"} <= {step for step, _, _ in ends}
    lines, _ = lines_of(imbfs, "prune")
    assert {"packs", "snapshots"} <= {line["step"] for line in lines}


def test_the_total_is_what_the_last_snapshot_held(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    _, first = lines_of(imbfs, "backup", "--exclude", "sub", source)
    (source / "another").write_bytes(b"something new")
    lines, _ = lines_of(imbfs, "backup", "--exclude", "sub", source)
    assert (lines[-1]["files_total"], lines[-1]["bytes_total"]) == (first["files"], first["bytes_source"])


def test_a_query_is_one_document_all_the_same(saved: Imbfs, source: Path) -> None:
    for command in (["status", source], ["diff", "latest", "source"], ["snapshots"]):
        json.loads(saved.run("--json", "-v", *command, check=False).stdout)


def test_a_tar_on_stdout_has_no_lines_among_it(saved: Imbfs) -> None:
    plain = saved.run("export", "latest", "--tar", "-").stdout
    assert saved.run("--json", "-v", "export", "latest", "--tar", "-").stdout == plain


def test_quiet_json_is_the_summary_alone(saved: Imbfs, source: Path) -> None:
    assert len(saved.run("--json", "backup", source).stdout.splitlines()) == 1


def at_terminal(imbfs: Imbfs, args: Sequence[Argument]) -> bytes:
    """What a terminal gets on stderr."""
    ours, theirs = pty.openpty()
    command = [*command_of(), "--repo", str(imbfs.repository), *map(str, args)]
    environment = {**imbfs.environment(), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 65536):
                shown += data
        except OSError:  # how the kernel says that the other side is closed
            pass
    os.close(ours)
    assert process.returncode == 0, shown
    return shown


@pytest.mark.parametrize("command", ["backup", "check", "prune"])
def test_a_terminal_shows_progress_and_is_left_clean(saved: Imbfs, source: Path, command: str) -> None:
    (source / "[red]tricky\x1b[2J name").mkdir()
    (source / "new").write_bytes(b"new")
    shown = at_terminal(saved, [command, *([source] if command == "backup" else [])])
    assert (b"files, " if command == "backup" else b"packs") in shown
    assert b"\x1b[2K" in shown, "the line is gone at the end"
    assert b"\x1b[2J" not in shown
    assert b"\x1b" not in at_terminal(
        saved, ["--no-progress", command, *([source] if command == "backup" else [])]
    )


def test_a_summary_tells_what_was_there_already(imbfs: Imbfs, tmp_path: Path) -> None:
    data = random.Random(5).randbytes(3 * MIB)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(data)
    (tree / "b").write_bytes(data)
    imbfs.run("init")
    summary = imbfs.backup(tree)
    assert (summary["bytes_read"], summary["bytes_deduplicated"]) == (6 * MIB, 3 * MIB)
    (tree / "c").write_bytes(data)
    dry = json.loads(imbfs.run("--json", "backup", "--dry-run", tree).stdout)
    assert (dry["bytes_read"], dry["bytes_deduplicated"]) == (3 * MIB, 3 * MIB)
    told = imbfs.run("backup", tree).errors
    assert "1 new, 0 changed, 2 unchanged, 0 removed" in told
    assert "3.0 MiB read, 3.0 MiB of it stored already;" in told
    assert imbfs.run("--json", "backup", "--stdin", input=data).json()["bytes_deduplicated"] == 3 * MIB
