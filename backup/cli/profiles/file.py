"""Where profiles lie, and what they are called."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from backup.cli.context import Context, config_directory
from backup.cli.profiles.profile import Profile
from backup.cli.profiles.reading import ProfileError, read_profile
from backup.model.errors import NotFound, UsageError

_NAME = re.compile(r"[\w][\w.@+-]{0,99}")
SUFFIX = ".toml"


def profile_directory() -> Path:
    return config_directory() / "imbfs" / "profiles"


def profile_file(name: str) -> Path:
    """Where the profile of this name lies, or would. Raises `UsageError`."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a profile: use letters, digits and . _ - + @, with a letter or digit first"
        )
    return profile_directory() / (name + SUFFIX)


def profile_names() -> list[str]:
    """All that there are, sound or not, in order."""
    files = profile_directory().glob(f"*{SUFFIX}")
    return sorted(name for file in files if _NAME.fullmatch(name := file.name.removesuffix(SUFFIX)))


def profile_text(name: str) -> str:
    """Raises `NotFound`, `ProfileError`, OSError."""
    file = profile_file(name)
    try:
        return file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        known = profile_names()
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}" if known else ""
        raise NotFound(
            f"there is no profile {name!r}: {hint or f'`imbfs profile init {name}` makes it'}"
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ProfileError(f"{file}:{line}: a profile is UTF-8, and this is not") from None


def load(names: Iterable[str], context: Context) -> list[Profile]:
    """The profiles, each once, all checked. Raises as `profile_text` does, and `ProfileError`."""
    return [
        read_profile(name, profile_text(name), str(profile_file(name)), context)
        for name in dict.fromkeys(names)
    ]
