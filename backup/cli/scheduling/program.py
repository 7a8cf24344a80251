"""How a scheduler is to start imbfs."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from backup.model.errors import ImbfsError

#: What says where imbfs finds its files: a scheduler starts it with an environment of its own.
VARIABLES = (
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
    "IMBFS_REPOSITORY",
)


class Scheduled(NamedTuple):
    """A profile that is run at set times. `next` and `last` are for people, '' where nobody knows."""

    profile: str
    by: str
    when: str
    next: str = ""
    last: str = ""


def run_words(profile: str) -> list[str]:
    """The command that runs a profile: this program, by an absolute path."""
    program = os.path.abspath(sys.argv[0])
    if os.path.basename(program) == "imbfs":
        return [program, "run", profile]
    return [sys.executable, "-m", "backup.cli.main", "run", profile]


def environment() -> dict[str, str]:
    return {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}


def call(words: Sequence[str], data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Raises `ImbfsError` where the program is not there."""
    try:
        return subprocess.run(
            words, input=data, capture_output=True, check=False, env=os.environ | {"LC_ALL": "C"}
        )
    except OSError as error:
        raise ImbfsError(f"{words[0]} cannot be started: {error.strerror}") from error


def require(words: Sequence[str], data: bytes | None = None) -> bytes:
    """What the program prints. Raises `ImbfsError` where it fails."""
    done = call(words, data)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise ImbfsError(f"`{' '.join(words)}` failed: {said}")
    return done.stdout
