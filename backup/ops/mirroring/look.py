"""A look at a mirror before anything is changed: what is foreign there, what is gone, what is missing."""

import os
import stat
from dataclasses import dataclass, field

from backup.model.entry import Entry
from backup.ops.mirroring.held import Held, looks_like
from backup.snapshots.difference import Read
from backup.snapshots.directory import Directory
from backup.source.descent import Descent


@dataclass(slots=True)
class Look:
    """Paths relative to the mirror. `foreign`: would be replaced or removed, and no snapshot holds it.

    `gone`: what the snapshot does not have, `missing`: what is not there; of both, the topmost names alone.
    """

    foreign: list[bytes] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)
    missing: dict[bytes, Entry] = field(default_factory=dict)


@dataclass(slots=True)
class _Level:
    path: bytes
    #: What the snapshot has here; None where all of the directory is to go.
    entries: dict[bytes, Entry] | None
    #: Still to be looked at.
    names: list[bytes]


def look(descent: Descent, root: Entry, held: Held, read: Read) -> Look:
    """Goes through the directory that the descent starts at, and opens no file. Raises OSError, `Damaged`."""
    found = Look()
    levels = [_level(descent, b"", root, read, found)]
    while levels:
        level = levels[-1]
        if not level.names:
            levels.pop()
            if levels:
                descent.pop()
            continue
        name = level.names.pop()
        path = level.path + b"/" + name if level.path else name
        status = os.lstat(name, dir_fd=descent.fd)
        entry = None if level.entries is None else level.entries.get(name)
        if entry is None and level.entries is not None:
            found.gone.append(path)
        if stat.S_ISDIR(status.st_mode):
            descent.push(name)
            levels.append(_level(descent, path, entry, read, found))
            continue
        target = os.readlink(name, dir_fd=descent.fd) if stat.S_ISLNK(status.st_mode) else b""
        same = entry is not None and looks_like(entry, status, target)
        if not same and not held.has(path, status, target):
            found.foreign.append(path)
    return found


def _level(descent: Descent, path: bytes, entry: Entry | None, read: Read, found: Look) -> _Level:
    names = sorted(map(os.fsencode, os.listdir(descent.fd)), reverse=True)
    if entry is None or entry.tree is None:
        return _Level(path, None, names)
    entries = {below.name: below for below in Directory(entry.tree, read).entries()}
    for name in entries.keys() - set(names):
        found.missing[path + b"/" + name if path else name] = entries[name]
    return _Level(path, entries, names)
