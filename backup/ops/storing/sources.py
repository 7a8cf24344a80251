"""Which paths a backup takes, and the directory that its snapshot is shown from."""

import os
import stat
from collections.abc import Iterable
from types import MappingProxyType
from typing import NamedTuple

from backup.model.errors import ImbfsError, UsageError
from backup.snapshots.names import Names, names_used

#: Nested paths that are named one by one: a list made by find(1) has many.
MAX_TOLD = 10

#: A directory's chosen names: each with its own choice, or None where all below is taken.
Choice = dict[bytes, "Choice | None"]


class Sources(NamedTuple):
    """`paths` are absolute, sorted, none inside another. `choice` is None where all of `top` is taken.

    `missing` are paths inside another one that are not there: the walk would not miss them. `nested`
    are those that are there. `names` are those of places that hold any of the paths.
    """

    top: bytes
    paths: list[bytes]
    choice: "Choice | None"
    notices: list[str]
    missing: list[bytes]
    nested: list[bytes]
    names: Names = MappingProxyType({})


def absolute(path: bytes) -> bytes:
    """The path with every symlink resolved, except one that the path itself names.

    A path that ends in a slash, in `.` or in `..` names what it leads to. Raises `UsageError`.
    """
    if not path or b"\0" in path:
        raise UsageError("an empty path names nothing to back up")
    head, tail = os.path.split(path)
    if tail in (b"", b".", b".."):
        return os.path.realpath(path)
    return os.path.join(os.path.realpath(head or b"."), tail)


def plan_sources(paths: Iterable[bytes], names: Names | None = None) -> Sources:
    """Takes each path once: what lies inside another is part of that. Raises `UsageError`, `ImbfsError`."""
    # In this order, what lies inside a path follows it at once.
    wanted = sorted({absolute(path) for path in paths}, key=lambda path: path + b"/")
    if not wanted:
        raise UsageError("name at least one path to back up")
    if not any(map(os.path.lexists, wanted)):
        raise ImbfsError(f"{os.fsdecode(wanted[0])} does not exist: nothing was backed up")
    kept: list[bytes] = []
    missing, nested = [], []
    for path in wanted:
        outer = kept[-1] if kept and _inside(path, kept[-1]) else None
        if outer is None:
            kept.append(path)
        elif not os.path.lexists(path):
            missing.append(path)
        else:
            nested.append(path)
    kept.sort()
    used = names_used(kept, names or {})
    notices = [f"{os.fsdecode(path)} is part of another path: backed up once" for path in nested[:MAX_TOLD]]
    if len(nested) > MAX_TOLD:
        notices.append(f"so are {len(nested) - MAX_TOLD} more")
    notices += [
        f"{os.fsdecode(path)} is a symbolic link: the link is backed up; end the path in / to back up"
        " the directory that it leads to"
        for path in kept
        if os.path.islink(path) and os.path.isdir(path)
    ]
    if len(kept) == 1 and (_is_directory(kept[0]) or not os.path.lexists(kept[0])):
        return Sources(kept[0], kept, None, notices, missing, nested, used)
    top = os.path.commonpath([os.path.dirname(path) for path in kept])
    return Sources(top, kept, _choice(top, kept), notices, missing, nested, used)


def narrow(sources: Sources, path: bytes) -> Sources:
    """What lies at one path below the top, and nothing else."""
    if path == sources.top:
        return sources
    return sources._replace(choice=_choice(sources.top, [path]), notices=[], missing=[])


def _choice(top: bytes, paths: list[bytes]) -> "Choice":
    root: Choice = {}
    for path in paths:
        *directories, name = [part for part in path[len(top) :].split(b"/") if part]
        here = root
        for directory in directories:
            below = here.setdefault(directory, {})
            assert below is not None, "a source lies inside another"
            here = below
        here[name] = None
    return root


def _inside(path: bytes, other: bytes) -> bool:
    return path.startswith(other.rstrip(b"/") + b"/")


def _is_directory(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
