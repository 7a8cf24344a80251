"""`stats`: what is stored, what it would take without each snapshot, and the export for ncdu."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest

from tests.support.calendar import add_snapshots
from tests.support.check import DAMAGED, FAILED, WRONG_USE, assert_clear_error, assert_no_traceback
from tests.support.damage import files_of
from tests.support.everything import Everything, noise
from tests.support.imbfs import Imbfs, command_of
from tests.support.small import build_small


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, mark: str) -> Imbfs:
    """Three snapshots: a tree, one file more, and that file replaced. Only queried."""
    imbfs = Imbfs(tmp_path_factory.mktemp("grown"), mark)
    source = build_small(imbfs.directory / "source")
    imbfs.run("init")
    for number, day in enumerate(("2026-01-01", "2026-02-01", "2026-03-01")):
        if number:
            (source / "sub" / "growing").write_bytes(noise(500_000 * number, 7 + number))
        imbfs.run("backup", "--time", f"{day}T12:00:00Z", source)
    return imbfs


def stats(imbfs: Imbfs, *arguments: str) -> Any:
    return imbfs.run("--json", "stats", *arguments).json()


def test_shares_add_up_and_unique_bytes_are_what_forgetting_frees(grown: Imbfs) -> None:
    """Parity row 6: figures of a run, of a store, and of each snapshot's share, which add up."""
    found = stats(grown)
    totals, snapshots = found["totals"], found["snapshots"]
    stored = totals["reached"]["stored"]
    assert abs(sum(each["share"] for each in snapshots) - stored) <= 3
    assert snapshots[-1]["grown_to"] == stored
    assert 500_000 <= snapshots[1]["unique"]["stored"] < 510_000
    assert 1_000_000 <= snapshots[2]["unique"]["stored"] == snapshots[2]["new"]["stored"] < 1_010_000
    assert snapshots[0]["unique"]["plain"] < 2_000  # trees
    assert totals["unreachable"] == {"objects": 0, "plain": 0, "stored": 0}
    assert totals["data"]["objects"] + totals["trees"]["objects"] == totals["reached"]["objects"]
    assert stored <= totals["packs"]["bytes"]


def test_the_figures_agree_with_what_check_counts(grown: Imbfs) -> None:
    found, checked = stats(grown), grown.run("--json", "check").json()
    assert found["totals"]["reached"]["objects"] == checked["objects"]
    assert found["totals"]["trees"]["objects"] == checked["trees"]
    assert found["totals"]["packs"]["number"] == checked["packs"]


def test_references_count_objects_by_the_snapshots_that_reach_them(grown: Imbfs) -> None:
    found = stats(grown)
    by_number = {each["snapshots"]: each for each in found["references"]}
    assert by_number.keys() == {1, 3}
    assert sum(each["objects"] for each in by_number.values()) == found["totals"]["reached"]["objects"]
    lines = grown.run("stats", "--references").text.split("\n\n")[1].splitlines()
    assert lines[0].split() == ["SNAPSHOTS", "OBJECTS", "PLAIN", "STORED"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "3"]


def test_chosen_snapshots_are_told_alone_with_what_only_they_hold(grown: Imbfs) -> None:
    found = stats(grown, "latest", "latest~1")
    assert [each["time"][:7] for each in found["snapshots"]] == ["2026-02", "2026-03"]
    apart = sum(each["unique"]["stored"] for each in found["snapshots"])
    assert apart <= found["only_here"]["stored"] < 1_520_000
    assert "only in this one: " in grown.run("stats", "latest").text
    assert len(stats(grown, "--host", "no-such")["snapshots"]) == 0


def test_what_is_forgotten_becomes_unreachable(saved: Imbfs, source: Path) -> None:
    (source / "more").write_bytes(noise(200_000, 9))
    saved.run("backup", source)
    unique = stats(saved)["snapshots"][1]["unique"]
    saved.run("forget", "latest")
    assert stats(saved)["totals"]["unreachable"] == unique


def test_a_tree_of_everything_is_counted_whole(imbfs: Imbfs, everything: Everything) -> None:
    imbfs.run("init")
    imbfs.run("backup", everything.root)
    found = stats(imbfs)
    assert found["totals"]["unreachable"]["objects"] == 0
    assert found["totals"]["missing"] == found["totals"]["damaged"] == 0


def test_an_empty_repository_has_figures(imbfs: Imbfs) -> None:
    imbfs.run("init")
    assert stats(imbfs)["totals"]["reached"] == {"objects": 0, "plain": 0, "stored": 0}
    assert "snapshots  0 of 0 sources" in imbfs.run("stats").text


def test_the_growth_is_drawn_on_a_terminal_alone(grown: Imbfs) -> None:
    assert "│" not in grown.run("stats").text
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(
        [*command_of(), "--repo", str(grown.repository), "stats"], stdout=theirs, env=grown.environment()
    )
    os.close(theirs)
    shown = b""
    while part := _read(ours):
        shown += part
    os.close(ours)
    assert process.wait() == 0
    chart = [line for line in shown.decode().splitlines() if "│" in line]
    assert len(chart) == 8
    assert all(len(line) <= 100 for line in shown.decode().splitlines())
    # The last snapshot brought the most: the top of the chart is drawn at its end only.
    assert chart[0].rstrip().endswith("█")
    assert " " * 50 in chart[0]
    assert chart[-1].count("█") > 80


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed
        return b""


def test_damage_is_told_and_the_rest_is_counted(saved: Imbfs, source: Path) -> None:
    sound = stats(saved)["totals"]["reached"]
    packs = set(files_of(saved.repository, "pack"))
    (source / "more").write_bytes(b"more")
    saved.run("backup", source)
    for path in set(files_of(saved.repository, "pack")) - packs:
        path.unlink()
    (saved.repository / "index.lmdb").unlink()
    result = saved.run("--json", "stats", check=False)
    assert result.code == DAMAGED
    assert "the figures are too low" in result.errors
    assert result.json()["totals"]["reached"] == sound
    assert result.json()["totals"]["damaged"] == 1
    exported = saved.run("stats", "--ncdu", "-", "latest", check=False)
    assert exported.code == DAMAGED
    assert_no_traceback(exported)


# ---- ncdu ----------------------------------------------------------------------------------------


def parse_ncdu(data: bytes) -> Any:
    """Names are bytes: latin-1 keeps them, where they are no JSON."""
    return json.loads(data.decode("latin-1"))


def flat(directory: list[Any], prefix: str = "") -> dict[bytes, dict[str, Any]]:
    found = {}
    for item in directory[1:]:
        info = item[0] if isinstance(item, list) else item
        path = prefix + info["name"]
        found[path.encode("latin-1")] = info
        if isinstance(item, list):
            found |= flat(item, path + "/")
    return found


def test_the_export_for_ncdu_has_every_name_as_its_bytes(copied: Imbfs) -> None:
    major, minor, program, top = parse_ncdu(copied.run("stats", "--ncdu", "-").stdout)
    assert (major, minor, program["progname"]) == (1, 2, "imbfs")
    assert top[0]["name"].endswith("/source")
    listed = copied.ls("latest", "-R")
    found = flat(top)
    assert found.keys() == listed.keys()
    for path, entry in listed.items():
        assert found[path]["asize"] == entry["size"]
        assert found[path].get("notreg", False) == (entry["kind"] not in ("file", "dir"))
    assert found[b"readme"]["hlnkc"]
    assert found[b"readme"]["ino"] == found[b"sub/link to readme"]["ino"]
    assert found[b"new\nline"]["dsize"] == 20


def test_the_export_is_written_to_a_file_from_any_directory(copied: Imbfs, tmp_path: Path) -> None:
    copied.run("stats", "--ncdu", tmp_path / "out", "latest:sub/deeper")
    assert flat(parse_ncdu((tmp_path / "out").read_bytes())[3]).keys() == {b"two", b"same as readme"}


def test_a_deep_tree_is_exported(imbfs: Imbfs, tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    subprocess.run(["mkdir", "-p", f"{deep}{'/d' * 400}"], check=True)
    imbfs.run("init")
    imbfs.run("backup", deep)
    assert imbfs.run("stats", "--ncdu", "-").stdout.count(b"[{") == 401
    assert stats(imbfs)["totals"]["trees"]["objects"] == 402


def test_wrong_use_of_the_export_is_told(copied: Imbfs) -> None:
    add_snapshots(copied, ["2027-01-01T00:00:00+00:00"])
    two = copied.run("stats", "--ncdu", "-", "latest", "latest~1", check=False)
    assert_clear_error(two, WRONG_USE)
    assert_clear_error(copied.run("stats", "--ncdu", "-", "latest:readme", check=False), FAILED, "directory")
    assert_clear_error(copied.run("stats", "--ncdu", "/no/such/file", check=False), FAILED)
