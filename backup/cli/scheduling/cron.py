"""A line for each profile in the user's crontab. All other lines stay as they are, to the byte."""

import re
import shlex
import shutil

from backup.cli.scheduling.program import Scheduled, call, environment, require, run_words
from backup.model.errors import ImbfsError, UsageError

_MARK = b"# imbfs run "
_FIELDS = 5


def is_there() -> bool:
    return shutil.which("crontab") is not None


def install(profile: str, when: str) -> None:
    """`when` has the five fields of crontab(5). Raises `UsageError`, `ImbfsError`."""
    require_fields(when)
    variables = [f"{name}={value}" for name, value in environment().items()]
    words = [*(["env", *variables] if variables else []), "nice", "-n", "19", *run_words(profile)]
    # cron itself takes a % for the end of the line.
    command = shlex.join(words).replace("%", "\\%")
    if "\n" in command:
        raise UsageError("a crontab cannot hold a path with a newline in it")
    line = f"{when} {command} ".encode(errors="surrogateescape") + _mark(profile) + b"\n"
    lines = _lines()
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    _write([*_others(lines, profile), line])


def remove(profile: str) -> bool:
    """Whether there was one."""
    lines = _lines()
    others = _others(lines, profile)
    if others == lines:
        return False
    _write(others)
    return True


def status() -> list[Scheduled]:
    found = []
    for line in _lines():
        fields, mark, profile = line.rstrip(b"\n").rpartition(_MARK)
        if mark and not line.startswith(b"#"):
            when = " ".join(fields.decode(errors="replace").split()[:_FIELDS])
            found.append(Scheduled(profile.decode(errors="replace"), "cron", when))
    return found


def require_fields(when: str) -> None:
    fields = when.split(" ")
    if len(fields) != _FIELDS or not all(re.fullmatch(r"[0-9A-Za-z*/,-]+", field) for field in fields):
        raise UsageError(f"{when!r} is no time for cron: give five fields, such as '0 3 * * *'")


def _mark(profile: str) -> bytes:
    return _MARK + profile.encode()


def _others(lines: list[bytes], profile: str) -> list[bytes]:
    return [line for line in lines if not line.rstrip(b"\n").endswith(b" " + _mark(profile))]


def _lines() -> list[bytes]:
    """Raises `ImbfsError` where it cannot be read: what is not known would be lost."""
    done = call(["crontab", "-l"])
    if done.returncode == 0:
        return done.stdout.splitlines(keepends=True)
    said = done.stderr.decode(errors="replace").strip()
    if "no crontab for" in said:
        return []
    raise ImbfsError(f"the crontab cannot be read, and is left alone: {said or 'crontab -l failed'}")


def _write(lines: list[bytes]) -> None:
    require(["crontab", "-"], b"".join(lines))
