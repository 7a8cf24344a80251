"""Timers of the user's systemd: two files for each profile."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from backup.cli.context import config_directory
from backup.cli.profiles.editing import write_profile
from backup.cli.scheduling.program import Scheduled, call, environment, require, run_words
from backup.model.errors import UsageError

MARK = "# Made by `imbfs schedule install`; `imbfs schedule remove` removes it.\n"

_SERVICE = """\
{mark}[Unit]
Description=imbfs: run the profile {name}

[Service]
Type=oneshot
{environment}ExecStart={command}
Nice=19
CPUSchedulingPolicy=idle
IOSchedulingClass=idle
"""

_TIMER = """\
{mark}[Unit]
Description=imbfs: when the profile {name} is run

[Timer]
OnCalendar={when}
Persistent=true

[Install]
WantedBy=timers.target
"""


def is_there() -> bool:
    """Whether this user has a systemd to talk to."""
    return (
        bool(shutil.which("systemctl")) and call(["systemctl", "--user", "show-environment"]).returncode == 0
    )


def install(profile: str, when: str) -> None:
    """Raises `UsageError` for a time that is none; `ImbfsError`, OSError."""
    require_calendar(when)
    service, timer = _files(profile)
    for file in (service, timer):
        _require_own(file)
    write_profile(service, _service(profile))
    write_profile(timer, _TIMER.format(mark=MARK, name=_plain(profile), when=when))
    require(["systemctl", "--user", "daemon-reload"])
    require(["systemctl", "--user", "enable", "--now", timer.name])


def remove(profile: str) -> bool:
    """Whether there was one."""
    service, timer = _files(profile)
    if not timer.exists() and not service.exists():
        return False
    for file in (service, timer):
        _require_own(file)
    require(["systemctl", "--user", "disable", "--now", timer.name])
    for file in (service, timer):
        file.unlink(missing_ok=True)
    require(["systemctl", "--user", "daemon-reload"])
    return True


def status() -> list[Scheduled]:
    """All that were installed. Raises `ImbfsError` where systemd does not answer."""
    found = []
    for timer in sorted(_directory().glob("imbfs-*.timer")):
        text = timer.read_text(errors="replace")
        match = re.search(r"^OnCalendar=(.*)$", text, re.MULTILINE)
        if text.startswith(MARK) and match is not None:
            profile = _unescaped(timer.stem.removeprefix("imbfs-"))
            found.append(Scheduled(profile, "systemd", match[1], *_times(timer.stem)))
    return found


def require_calendar(when: str) -> None:
    """As systemd itself judges it, where it can be asked."""
    if "\n" in when or not when.strip():
        raise UsageError(f"{when!r} is no time for systemd: see systemd.time(7)")
    if shutil.which("systemd-analyze") and call(["systemd-analyze", "calendar", when]).returncode:
        raise UsageError(
            f"{when!r} is no time for systemd: write it as systemd.time(7) has it, such as 'Mon 03:00'"
        )


def _times(unit: str) -> tuple[str, str]:
    """When it is next started, and when it last was, with the exit code of that."""
    timer = _properties(f"{unit}.timer", ["ActiveState", "NextElapseUSecRealtime", "LastTriggerUSec"])
    service = _properties(f"{unit}.service", ["ExecMainStatus"])
    last = timer.get("LastTriggerUSec", "")
    if last and last != "n/a":
        last += f" (exit code {service.get('ExecMainStatus', '?')})"
    following = timer.get("NextElapseUSecRealtime", "")
    return following if timer.get("ActiveState") == "active" else "the timer is not active", last


def _properties(unit: str, names: Sequence[str]) -> dict[str, str]:
    words = ["systemctl", "--user", "show", unit, f"--property={','.join(names)}"]
    lines = require(words).decode(errors="replace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _service(profile: str) -> str:
    program, *arguments = run_words(profile)
    command = [_quoted(program), *(_quoted(word.replace("$", "$$")) for word in arguments)]
    variables = [f"Environment={_quoted(f'{name}={value}')}\n" for name, value in environment().items()]
    return _SERVICE.format(
        mark=MARK, name=_plain(profile), environment="".join(variables), command=" ".join(command)
    )


def _plain(text: str) -> str:
    """Without what systemd would replace."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    text = _plain(word).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _require_own(file: Path) -> None:
    if file.exists() and not file.read_text(errors="replace").startswith(MARK):
        raise UsageError(
            f"{file} was not made by imbfs, and is left alone: remove it, or name the profile otherwise"
        )


def _directory() -> Path:
    return config_directory() / "systemd" / "user"


def _files(profile: str) -> tuple[Path, Path]:
    unit = f"imbfs-{_escaped(profile)}"
    return _directory() / f"{unit}.service", _directory() / f"{unit}.timer"


def _escaped(profile: str) -> str:
    """As systemd-escape(1) does it: a unit's name takes few characters."""
    return "".join(
        chr(byte) if re.fullmatch(r"[A-Za-z0-9_.]", chr(byte)) else f"\\x{byte:02x}"
        for byte in profile.encode()
    )


def _unescaped(text: str) -> str:
    data = re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), text.encode())
    return data.decode(errors="replace")
