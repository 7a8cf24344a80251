"""What the surroundings tell where a caller says nothing."""

import os
from pathlib import Path


def base_directory(variable: str, below_home: str) -> Path:
    """A base directory; the specification has relative values ignored."""
    value = os.environ.get(variable, "")
    return Path(value) if os.path.isabs(value) else Path.home() / below_home


def cache_directory() -> Path:
    return base_directory("XDG_CACHE_HOME", ".cache")


def user_name() -> str:
    # Slow to import, and seldom needed.
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())
