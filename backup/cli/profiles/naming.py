"""Names that a profile gives to places: `NAME:REST` stands for what lies there."""

import argparse
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from backup.cli.profiles.profile import Profile

if TYPE_CHECKING:
    from backup.snapshots.names import Names

NAME = re.compile(r"\w[\w.-]{0,99}")
#: What of a command line is a path at the source, or may be one.
_PLACES: Mapping[str, tuple[str, ...]] = {
    "backup": ("paths", "immutable", "locked", "accept_changes"),
    "source": ("paths",),
    "status": ("paths",),
    "versions": ("file",),
    "why": ("paths", "source"),
}


def expand_name(text: str, names: Mapping[str, str]) -> str | None:
    """The path that `NAME:REST` stands for; None where the text does not begin with one of the names."""
    name, colon, rest = text.partition(":")
    if not colon or name not in names:
        return None
    return os.path.join(names[name], rest.lstrip("/"))


def expand_arguments(command: str, arguments: argparse.Namespace, names: Mapping[str, str]) -> None:
    """Puts paths in the place of names, in what was given on the command line as well."""
    for key in _PLACES.get(command, ()):
        given = getattr(arguments, key)
        if isinstance(given, str):
            setattr(arguments, key, _expanded(given, names))
        else:
            setattr(arguments, key, [_expanded(text, names) for text in given])


def _expanded(text: str, names: Mapping[str, str]) -> str:
    negative = "!" if text.startswith("!") else ""
    found = expand_name(text.removeprefix(negative), names)
    return text if found is None else negative + found


def names_of(profile: Profile | None) -> "Names":
    """The profile's names as snapshots note them: another user's, or another profile's, are others."""
    from backup.library.environment import user_name
    from backup.ops.storing.sources import absolute

    if profile is None:
        return {}
    return {
        f"{user_name()}/{profile.name}/{name}": absolute(os.fsencode(os.path.join(place, "")))
        for name, place in profile.names.items()
    }
