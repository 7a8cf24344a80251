"""Names for places: what is below a named place is the same, wherever that is mounted."""

import os
from collections.abc import Iterable, Mapping

#: Absolute paths without symlinks, each under what it is called.
Names = Mapping[str, bytes]


def named(path: bytes, names: Names) -> bytes:
    """`NAME:REST` for a path at or below a named place, the innermost one; any other path itself."""
    holding = [(len(place), name) for name, place in names.items() if _holds(place, path)]
    if not holding:
        return path
    _, name = max(holding)
    return os.fsencode(name) + b":" + path[len(names[name]) :].strip(b"/")


def path_then(path: bytes, now: Names, then: Names) -> bytes:
    """Where a path lay when the names stood for other places."""
    name, _, rest = named(path, now).partition(b":")
    place = then.get(os.fsdecode(name))
    return path if place is None or not _holds(now[os.fsdecode(name)], path) else os.path.join(place, rest)


def names_used(paths: Iterable[bytes], names: Names) -> dict[str, bytes]:
    """The names of places that hold any of the paths."""
    known = list(paths)
    return {name: place for name, place in names.items() if any(_holds(place, path) for path in known)}


def _holds(place: bytes, path: bytes) -> bool:
    return path == place or path.startswith(place.rstrip(b"/") + b"/")
