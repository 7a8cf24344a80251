"""What every command is given: the global options, the environment, and ways to speak."""

import copy
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backup.cli.output import note, show_json, tell
from backup.library.environment import base_directory, cache_directory

if TYPE_CHECKING:
    from backup.cli.profiles.profile import Profile
    from backup.repository import Repository


class Context:
    """One run of the program."""

    def __init__(self, arguments: Namespace, profile: "Profile | None" = None) -> None:
        self.profile = profile
        #: What the command came to, as JSON has it.
        self.summary: dict[str, Any] | None = None
        #: Whether the command is a step of another one.
        self.is_part = False
        self.json: bool = arguments.json
        self.quiet: bool = arguments.quiet
        self.verbose: int = arguments.verbose
        self.progress: bool = not arguments.no_progress and not self.quiet and sys.stderr.isatty()
        named = arguments.repo or os.environ.get("IMBFS_REPOSITORY") or (profile and profile.repository)
        #: Whether a person chose the place; the default one is made by the first backup.
        self.repository_named = bool(named)
        self.repository_path = Path(os.path.abspath(named) if named else _default_repository())

    def now(self) -> datetime:
        return datetime.now(UTC).astimezone()

    def notice(self, text: str) -> None:
        """Something worth knowing that is not an error."""
        (note if self.quiet else tell)(f"imbfs: {text}")

    def detail(self, text: str) -> None:
        """Something for those who ask for more."""
        (tell if self.verbose else note)(f"imbfs: {text}")

    def warn(self, text: str) -> None:
        """Something that went wrong, and did not stop the rest."""
        tell(f"imbfs: {text}")

    def report(self, summary: dict[str, Any]) -> None:
        """What a long operation came to: printed where JSON is wanted."""
        self.summary = summary
        if self.json and not self.is_part:
            show_json({"profile": self.profile.name, **summary} if self.profile else summary)

    def part(self) -> "Context":
        """For a command that is a part of this one: what it comes to is not printed."""
        part = copy.copy(self)
        part.summary, part.is_part = None, True
        return part

    def open_repository(self, tell: Callable[[str], None] | None = None) -> "Repository":
        """`tell` gets what a person should know; otherwise it is printed.

        Raises `NoRepository`, `Damaged`, or another `ImbfsError`.
        """
        from backup.repository import Repository

        return Repository.open(self.repository_path, cache_directory(), tell or self.warn)


def config_directory() -> Path:
    return base_directory("XDG_CONFIG_HOME", ".config")


def state_directory() -> Path:
    return base_directory("XDG_STATE_HOME", ".local/state")


def _default_repository() -> Path:
    return base_directory("XDG_DATA_HOME", ".local/share") / "imbfs" / "repository"
