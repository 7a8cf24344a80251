"""`imbfs run`: backup, forget, prune and check as a profile says, with hooks around them."""

import json
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_cli_profiles import Profiles
from tests.support.check import assert_clear_error
from tests.support.imbfs import Imbfs, wait_until

#: A hook that notes what it was told.
NOTE = """
import json, os, sys
told = {name: text for name, text in os.environ.items() if name.startswith("IMBFS_") and "TEST" not in name}
if "IMBFS_SUMMARY" in told:
    told["IMBFS_SUMMARY"] = json.load(open(told["IMBFS_SUMMARY"]))
with open(sys.argv[1], "a") as file:
    print(json.dumps(told), file=file)
print("said by the hook")
"""


@pytest.fixture
def profiles(imbfs: Imbfs) -> Profiles:
    imbfs.run("init")
    return Profiles(imbfs)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("a")
    return source


def command(*words: object) -> str:
    return json.dumps([str(word) for word in words])


def test_a_run_does_all_that_the_profile_says(profiles: Profiles, source: Path) -> None:
    profiles.sound("home", [source], "[forget]\nkeep-last = 2\n[prune]\n[check]\nread-data = true\n")
    for number in range(3):
        (source / "a.txt").write_text(str(number) * 100)
        summary = profiles.run("--json", "run").json()
    assert summary["profile"] == "home"
    assert summary["exit_code"] == 0
    assert len(profiles.imbfs.snapshots()) == 2
    assert len(summary["forget"]["forgotten"]) == 1
    assert summary["prune"]["objects_removed"] > 0
    assert summary["check"]["damage"] == []
    assert summary["check"]["bytes_read"] > 0


def test_forgetting_by_a_profile_touches_no_other_snapshots(profiles: Profiles, source: Path) -> None:
    (source / "below").mkdir()
    profiles.sound("home", [source], "[forget]\nkeep-last = 1\n")
    for _ in range(2):
        profiles.imbfs.run("backup", source / "below")
        profiles.imbfs.run("backup", source, "--host", "other")
        profiles.imbfs.run("backup", source, "/etc/hostname")
        profiles.run("run")
    assert len(profiles.imbfs.snapshots()) == 7
    profiles.imbfs.run("backup", source)
    profiles.run("forget", "--profile", "home")
    assert len(profiles.imbfs.snapshots()) == 7
    # Named, it goes whatever the profile keeps.
    profiles.run("forget", "--profile", "home", "--host", "other", "latest")
    assert len(profiles.imbfs.snapshots()) == 6


def test_prune_and_check_wait_until_they_are_due(profiles: Profiles, source: Path) -> None:
    profiles.sound("home", [source], '[prune]\nevery = "7d"\n[check]\nevery = "1h"\n')
    first, second = (profiles.run("--json", "run").json() for _ in range(2))
    assert (first["prune"] is None, first["check"] is None) == (False, False)
    assert (second["prune"], second["check"]) == (None, None)
    [note] = profiles.imbfs.home().glob(".local/state/imbfs/runs/home.json")
    times = json.loads(note.read_text())
    note.write_text(
        json.dumps(times | {"check": "2020-01-01T00:00:00+00:00", "prune": "2999-01-01T00:00:00+00:00"})
    )
    third = profiles.run("--json", "run").json()
    assert (third["prune"] is None, third["check"] is None) == (False, False)
    note.write_text("rubbish")
    assert profiles.run("--json", "run").json()["prune"] is not None


def test_hooks_are_told_what_happened(profiles: Profiles, source: Path, tmp_path: Path) -> None:
    noted = tmp_path / "noted by $(x)"
    hook = command(sys.executable, "-c", NOTE, noted)
    profiles.sound(
        "home", [source], f"[hooks]\nbefore = {hook}\nafter = [{hook}, {hook}]\non-failure = {hook}\n"
    )
    result = profiles.run("--json", "run")
    assert "said by the hook" in result.errors
    before, after, again = map(json.loads, noted.read_text().splitlines())
    assert before == {"IMBFS_HOOK": "before", "IMBFS_PROFILE": "home"}
    assert (after["IMBFS_HOOK"], after["IMBFS_EXIT_CODE"], after["IMBFS_ERROR"]) == ("after", "0", "")
    assert after["IMBFS_SNAPSHOT"] == result.json()["backup"]["snapshot"]
    assert after["IMBFS_SUMMARY"]["backup"] == result.json()["backup"]
    assert again["IMBFS_HOOK"] == "after"


def test_a_failed_run_calls_on_failure_after_after(profiles: Profiles, source: Path, tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    hook = command(sys.executable, "-c", NOTE, noted)
    gone = source / "gone"
    profiles.sound("home", [gone], f"[forget]\nkeep-last=1\n[hooks]\nafter = {hook}\non-failure = {hook}\n")
    result = profiles.run("run", check=False)
    assert (result.code, result.errors.count("does not exist")) == (1, 1)
    after, failure = map(json.loads, noted.read_text().splitlines())
    assert (after["IMBFS_HOOK"], failure["IMBFS_HOOK"]) == ("after", "on-failure")
    assert "does not exist" in failure["IMBFS_ERROR"]
    assert (failure["IMBFS_EXIT_CODE"], failure["IMBFS_SNAPSHOT"]) == ("1", "")


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        (["/no/such/program"], "cannot be started"),
        (["false"], "exit code 1"),
        (["sh", "-c", "kill -9 $$"], "signal 9"),
        (["sh", "-c", "sleep 1000 & wait"], "more than 0.2 s"),
    ],
)
def test_a_hook_that_fails_before_stops_the_run(
    profiles: Profiles, source: Path, hook: list[str], says: str
) -> None:
    profiles.sound(
        "home",
        [source],
        f"[hooks]\nbefore = {command(*hook)}\ntimeout = 0.2\n".replace(
            "0.2", "0.2" if "sleep" in hook[-1] else "100"
        ),
    )
    result = profiles.run("run", check=False)
    assert result.code == 1
    assert says in result.errors
    assert profiles.imbfs.snapshots() == []


def test_a_hook_that_fails_after_fails_the_run(profiles: Profiles, source: Path) -> None:
    profiles.sound("home", [source], '[hooks]\nafter = [["false"], ["touch", "done"]]\n')
    result = profiles.run("--json", "run", check=False)
    assert (result.code, result.json()["exit_code"]) == (1, 1)
    assert len(profiles.imbfs.snapshots()) == 1
    assert (profiles.imbfs.directory / "done").exists()


def test_a_profile_that_fails_does_not_stop_the_others(profiles: Profiles, source: Path) -> None:
    profiles.sound("bad", [source], '[hooks]\nbefore = ["false"]\n')
    profiles.sound("good", [source])
    result = profiles.run("--json", "run", "bad", "good", "bad", check=False)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.code == 1
    assert [(line["profile"], line["exit_code"]) for line in lines] == [("bad", 1), ("good", 0)]


def test_a_second_run_of_a_profile_is_refused_while_one_runs(
    profiles: Profiles, source: Path, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    hook = command("sh", "-c", f"touch '{begun}'; sleep 1000")
    profiles.sound("home", [source], f"[hooks]\nbefore = {hook}\n")
    with profiles.imbfs.start("run", "home") as running:
        wait_until(begun.exists, "the first run")
        result = profiles.run("run", "home", check=False)
        assert_clear_error(result, 11, "home", str(running.process.pid))
        running.process.terminate()
        assert running.result().code == 130
    profiles.sound("home", [source])
    profiles.run("run", "home")


def test_an_interrupted_run_ends_its_hook(profiles: Profiles, source: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    profiles.sound(
        "home", [source], f"[hooks]\nbefore = {command('sh', '-c', f'echo $$ > {begun}; sleep 1000')}\n"
    )
    started = time.monotonic()
    with profiles.imbfs.start("run", "home") as running:
        wait_until(lambda: begun.exists() and begun.read_text() != "", "the hook")
        process = Path(f"/proc/{begun.read_text().strip()}")
        running.process.terminate()
        assert running.result().code == 130
        assert not process.exists()
    assert time.monotonic() - started < 100


def test_run_says_which_profiles_there_are(profiles: Profiles, source: Path) -> None:
    assert_clear_error(profiles.run("run", check=False), 2, "imbfs profile init")
    profiles.sound("one", [source])
    profiles.sound("two", [source])
    assert_clear_error(profiles.run("run", check=False), 2, "one, two")
    profiles.sound("default", [source])
    assert json.loads(profiles.run("--json", "run").stdout)["profile"] == "default"
