"""`imbfs schedule`, with a systemctl and a crontab that only note what they are asked."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_cli_profiles import Profiles
from tests.support.check import WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs, Result

#: Notes its arguments. `show` answers as systemd does.
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$0.log"
case "$*" in
*.timer\\ --property*)
  echo ActiveState=active; echo NextElapseUSecRealtime=Sun 03:00; echo LastTriggerUSec=Sat 03:00;;
*.service\\ --property*) echo ExecMainStatus=3;;
esac
"""
CRONTAB = """#!/bin/sh
case "$1" in
-l) test -f "$0.tab" || { echo "no crontab for somebody" >&2; exit 1; }; cat "$0.tab";;
-) cat > "$0.tab";;
esac
"""
OTHERS = b"# mine \xff\nMAILTO=x\n5 4 * * * echo 'imbfs run home'\n0 0 * * 0 imbfs # imbfs run homely\n"


class Machine:
    """A PATH with the schedulers that a test wants, and the usual programs."""

    def __init__(self, profiles: Profiles, directory: Path) -> None:
        self.profiles = profiles
        self.bin = directory
        self.bin.mkdir()
        self.units = profiles.imbfs.home() / ".config/systemd/user"

    def add(self, name: str, script: str) -> Path:
        program = self.bin / name
        program.write_text(script)
        program.chmod(0o755)
        return program

    def schedule(self, *args: str, check: bool = True, **env: str) -> Result:
        for name in ("cat", "sh", "systemd-analyze"):
            if (real := shutil.which(name)) and not (self.bin / name).exists():
                (self.bin / name).symlink_to(real)
        return self.profiles.run("schedule", *args, check=check, env={"PATH": str(self.bin), **env})

    @property
    def crontab(self) -> bytes:
        return (self.bin / "crontab.tab").read_bytes()

    def asked(self) -> list[str]:
        lines = (self.bin / "systemctl.log").read_text().splitlines()
        return [line for line in lines if "show-environment" not in line]


@pytest.fixture
def machine(imbfs: Imbfs, tmp_path: Path) -> Machine:
    imbfs.run("init")
    profiles = Profiles(imbfs)
    (tmp_path / "source").mkdir()
    profiles.sound("home", [tmp_path / "source"])
    return Machine(profiles, tmp_path / "bin")


def test_a_profile_is_run_by_a_timer_of_systemd(machine: Machine) -> None:
    machine.add("systemctl", SYSTEMCTL)
    machine.schedule("install", "home", "--daily", "4:05")
    timer, service = (machine.units / f"imbfs-home.{kind}" for kind in ("timer", "service"))
    assert "OnCalendar=*-*-* 04:05:00\nPersistent=true\n" in timer.read_text()
    assert ' "run" "home"\nNice=19\n' in service.read_text()
    assert machine.asked() == ["--user daemon-reload", "--user enable --now imbfs-home.timer"]
    [status] = json.loads(machine.schedule("status", "--json").stdout)
    assert status == {
        "profile": "home",
        "by": "systemd",
        "when": "*-*-* 04:05:00",
        "next": "Sun 03:00",
        "last": "Sat 03:00 (exit code 3)",
    }
    machine.schedule("remove", "home")
    assert machine.asked()[-2:] == ["--user disable --now imbfs-home.timer", "--user daemon-reload"]
    assert os.listdir(machine.units) == []
    assert_clear_error(machine.schedule("remove", "home", check=False), 1, "not scheduled")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_finds_nothing_wrong_with_the_units(machine: Machine, tmp_path: Path) -> None:
    machine.add("systemctl", SYSTEMCTL)
    shutil.copy(machine.profiles.directory / "home.toml", machine.profiles.directory / "ä@b+c-d.toml")
    odd = tmp_path / 'with space, % $x "q"'
    machine.schedule("install", "ä@b+c-d", "--calendar", "Mon..Fri 12:00", XDG_STATE_HOME=str(odd))
    units = sorted(machine.units.iterdir())
    assert [unit.name for unit in units] == [
        f"imbfs-\\xc3\\xa4\\x40b\\x2bc\\x2dd.{kind}" for kind in ("service", "timer")
    ]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "imbfs" in line]
    assert (ours, done.returncode) == ([], 0), done.stderr
    [status] = json.loads(machine.schedule("status", "--json").stdout)
    assert status["profile"] == "ä@b+c-d"
    wrong = machine.schedule("install", "home", "--calendar", "Someday 12:00", check=False)
    assert_clear_error(wrong, WRONG_USE, "Someday")


def test_a_unit_that_imbfs_did_not_make_is_left_alone(machine: Machine) -> None:
    machine.add("systemctl", SYSTEMCTL)
    machine.units.mkdir(parents=True)
    unit = machine.units / "imbfs-home.timer"
    unit.write_text("[Timer]\n")
    for action in ("install", "remove"):
        assert_clear_error(machine.schedule(action, "home", check=False), WRONG_USE, "not made by imbfs")
    assert unit.read_text() == "[Timer]\n"
    assert os.listdir(machine.units) == ["imbfs-home.timer"]


@pytest.mark.parametrize("systemctl", [None, "#!/bin/sh\necho no bus >&2; exit 1\n"])
def test_without_systemd_it_is_a_line_in_the_crontab(machine: Machine, systemctl: str | None) -> None:
    machine.add("crontab", CRONTAB)
    if systemctl is not None:
        machine.add("systemctl", systemctl)
    (machine.bin / "crontab.tab").write_bytes(OTHERS)
    for minute in ("05", "07"):
        machine.schedule("install", "home", "--daily", f"4:{minute}", XDG_STATE_HOME="/a b/100%")
    assert machine.crontab.startswith(OTHERS + b"7 4 * * * env ")
    assert machine.crontab.count(b"\n") == OTHERS.count(b"\n") + 1
    line = machine.crontab.removeprefix(OTHERS + b"7 4 * * * ").decode().replace("\\%", "%")
    words = shlex.split(line, comments=True)
    assert words[-2:] == ["run", "home"]
    assert "XDG_STATE_HOME=/a b/100%" in words
    statuses = json.loads(machine.schedule("status", "home", "--json").stdout)
    assert [(each["by"], each["when"]) for each in statuses] == [("cron", "7 4 * * *")]
    machine.schedule("remove", "home")
    assert machine.crontab == OTHERS


def test_the_line_in_the_crontab_runs_the_profile(machine: Machine) -> None:
    machine.add("crontab", CRONTAB)
    machine.schedule("install", "home", "--cron", "0 3 * * 1-5")
    line = machine.crontab.decode().removeprefix("0 3 * * 1-5 ").replace("\\%", "%")
    imbfs = machine.profiles.imbfs
    subprocess.run(["sh", "-c", line], check=True, env=imbfs.environment(), capture_output=True)
    assert len(imbfs.snapshots()) == 1


def test_a_crontab_that_cannot_be_read_is_left_alone(machine: Machine) -> None:
    machine.add("crontab", '#!/bin/sh\ntest "$1" = -l || touch "$0.written"\necho not allowed >&2; exit 1\n')
    assert_clear_error(machine.schedule("install", "home", check=False), 1, "not allowed")
    assert not (machine.bin / "crontab.written").exists()


def test_going_from_systemd_to_cron_leaves_one_schedule(machine: Machine) -> None:
    machine.add("crontab", CRONTAB)
    machine.add("systemctl", SYSTEMCTL)
    machine.schedule("install", "home")
    machine.schedule("install", "home", "--cron", "0 3 * * *")
    assert [each["by"] for each in json.loads(machine.schedule("status", "--json").stdout)] == ["cron"]
    machine.schedule("install", "home")
    assert [each["by"] for each in json.loads(machine.schedule("status", "--json").stdout)] == ["systemd"]


def test_what_cannot_be_scheduled_is_told(machine: Machine) -> None:
    assert_clear_error(machine.schedule("install", "home", check=False), 1, "neither")
    machine.add("crontab", CRONTAB)
    assert_clear_error(machine.schedule("install", "hom", check=False), 1, "did you mean 'home'")
    for wrong in (["--daily", "25:00"], ["--cron", "0 3 * *"], ["--cron", "0 3 * * *\n* * * * *"]):
        assert_clear_error(machine.schedule("install", "home", *wrong, check=False), WRONG_USE)
    assert "nothing is scheduled" in machine.schedule("status").errors
