"""`--metrics FILE`: what commands came to, for Prometheus' node_exporter (its textfile collector)."""

import argparse
import fcntl
import os
import re
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from backup.cli import exits
from backup.cli.context import Context

_HELP = {
    "imbfs_end_time_seconds": "When the command last ended.",
    "imbfs_success_time_seconds": "When the command last ended with exit code 0.",
    "imbfs_exit_code": "The exit code.",
    "imbfs_duration_seconds": "How long it took.",
    "imbfs_backup_files": "Files in the snapshot.",
    "imbfs_backup_bytes_source": "Bytes of all files in the snapshot.",
    "imbfs_backup_bytes_added": "Bytes of new data, before compression.",
    "imbfs_backup_bytes_stored": "Bytes that the repository grew by.",
    "imbfs_backup_errors": "Items that could not be read.",
    "imbfs_backup_alarms": "Changes of what is immutable.",
    "imbfs_prune_bytes_freed": "Bytes that were freed on disk.",
    "imbfs_check_bytes_read": "Bytes of packs that were read.",
    "imbfs_check_damage": "Pieces of damage that were found.",
}
_SUCCESS = "imbfs_success_time_seconds"
_SAMPLE = re.compile(r'(imbfs_[a-z_]+)(\{command="(?:[^"\\]|\\.)*",profile="(?:[^"\\]|\\.)*"\}) (\S+)')

#: By a metric's name and its labels.
Samples = dict[tuple[str, str], float]


def add_metrics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--metrics", metavar="FILE", help="write figures for Prometheus' textfile collector")


def run_command(module: ModuleType, context: Context, arguments: argparse.Namespace) -> int:
    """Runs a command and, where that is wanted, writes what it came to, whatever that is."""
    file = getattr(arguments, "metrics", None)
    if file is None:
        return int(module.run(context, arguments))
    started = time.monotonic()
    code = exits.FAILED
    try:
        code = int(module.run(context, arguments))
    except BaseException as error:
        code = exits.code_of(error)
        raise
    finally:
        name = module.__name__.rpartition(".")[2]
        found = samples(name, context, code, time.time(), time.monotonic() - started)
        try:
            write_metrics(file, found)
        except OSError as error:
            context.warn(f"the metrics could not be written: {exits.message_of(error)}")
            code = code or exits.FAILED
    return code


def samples(command: str, context: Context, code: int, now: float, seconds: float) -> Samples:
    """`now` is in seconds since 1970."""
    profile = context.profile.name if context.profile else ""
    labels = f"{{command={_quoted(command)},profile={_quoted(profile)}}}"
    found = {
        "imbfs_end_time_seconds": round(now, 3),
        "imbfs_exit_code": code,
        "imbfs_duration_seconds": round(seconds, 3),
    }
    if code == exits.DONE:
        found[_SUCCESS] = round(now, 3)
    summary = context.summary or {}
    for part in ("backup", "prune", "check"):
        found |= _figures(part, summary if part == command else summary.get(part) or {})
    return {(name, labels): value for name, value in found.items()}


def _figures(part: str, summary: Mapping[str, Any]) -> dict[str, float]:
    prefix = f"imbfs_{part}_"
    known = {name: summary.get(name.removeprefix(prefix)) for name in _HELP if name.startswith(prefix)}
    return {
        name: len(value) if isinstance(value, list) else value
        for name, value in known.items()
        if value is not None
    }


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def write_metrics(file: str, found: Samples) -> None:
    """What other commands and profiles left in the file stays; it is replaced as a whole. Raises OSError."""
    path = os.path.abspath(file)
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Two that end at once must not lose one another's.
        fcntl.flock(directory, fcntl.LOCK_EX)
        _replace(path, _text(_merged(_read(path), found)))
    finally:
        os.close(directory)


def _merged(known: Samples, found: Samples) -> Samples:
    """The time of the last success outlives failures; nothing else of an earlier time does."""
    own = {labels for _, labels in found}
    stays = {key: value for key, value in known.items() if key[1] not in own or key[0] == _SUCCESS}
    return stays | found


def _read(path: str) -> Samples:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            matches = [_SAMPLE.fullmatch(line.rstrip("\n")) for line in file]
        return {(match[1], match[2]): float(match[3]) for match in matches if match is not None}
    except (FileNotFoundError, ValueError):
        return {}


def _text(known: Samples) -> str:
    lines = []
    for name, help_text in _HELP.items():
        own = sorted((labels, value) for (other, labels), value in known.items() if other == name)
        if own:
            lines += [f"# HELP {name} {help_text}", f"# TYPE {name} gauge"]
            lines += [f"{name}{labels} {value:.15g}" for labels, value in own]
    return "".join(f"{line}\n" for line in lines)


def _replace(path: str, text: str) -> None:
    import tempfile

    fd, temporary = tempfile.mkstemp(prefix=".imbfs-", dir=os.path.dirname(path))
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        # The collector is another user.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
