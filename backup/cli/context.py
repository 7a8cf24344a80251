"""What every command is given: the global options, the environment, and ways to speak."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from backup.cli.output import tell

if TYPE_CHECKING:
    from backup.repository import Repository


class Context:
    """One run of the program."""

    def __init__(self, arguments: Namespace) -> None:
        self.json: bool = arguments.json
        self.quiet: bool = arguments.quiet
        self.verbose: int = arguments.verbose
        self.progress: bool = not arguments.no_progress and not self.quiet and sys.stderr.isatty()
        named = arguments.repo or os.environ.get("IMBFS_REPOSITORY")
        #: Whether a person chose the place; the default one is made by the first backup.
        self.repository_named = bool(named)
        self.repository_path = Path(os.path.abspath(named) if named else _default_repository())

    def now(self) -> datetime:
        return datetime.now(UTC).astimezone()

    def notice(self, text: str) -> None:
        """Something worth knowing that is not an error."""
        if not self.quiet:
            tell(f"imbfs: {text}")

    def detail(self, text: str) -> None:
        """Something for those who ask for more."""
        if self.verbose:
            tell(f"imbfs: {text}")

    def warn(self, text: str) -> None:
        """Something that went wrong, and did not stop the rest."""
        tell(f"imbfs: {text}")

    def open_repository(self, tell: Callable[[str], None] | None = None) -> "Repository":
        """`tell` gets what a person should know; otherwise it is printed.

        Raises `NoRepository`, `Damaged`, or another `ImbfsError`.
        """
        from backup.repository import Repository

        return Repository.open(self.repository_path, cache_directory(), tell or self.warn)


def cache_directory() -> Path:
    return _base("XDG_CACHE_HOME", ".cache")


def _default_repository() -> Path:
    return _base("XDG_DATA_HOME", ".local/share") / "imbfs" / "repository"


def _base(variable: str, below_home: str) -> Path:
    """A base directory; the specification has relative values ignored."""
    value = os.environ.get(variable, "")
    return Path(value) if os.path.isabs(value) else Path.home() / below_home
