"""The files of a live tree, each beside what a snapshot has at its path."""

import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from backup.model.entry import Entry
from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.snapshots.directory import Directory, Read
from backup.source.descent import Descent, Identity, identity, open_directory
from backup.source.mounts import PSEUDO, FileSystems

#: Told of what cannot be looked at.
Problem = Callable[[bytes, str], None]


class LiveFile(NamedTuple):
    """A regular file in the directory `dir_fd`, and its entry in the snapshot, where there is one."""

    dir_fd: int
    name: bytes
    path: bytes
    status: os.stat_result
    entry: Entry | None


def live_files(
    path: bytes, tree: ObjectId | None, read: Read, skip: frozenset[Identity], problem: Problem
) -> Iterator[LiveFile]:
    """All files below a directory, or the one at `path`, in the order of their names.

    `tree` is what the snapshot has of the directory, or of that which holds the file. Directories in `skip`,
    and what the system makes up, are passed over. Raises OSError where the first directory cannot be opened.
    """
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        fd = open_directory(None, os.path.dirname(path))
        try:
            yield from _files(fd, os.path.dirname(path), [os.path.basename(path)], tree, read, problem, [])
        finally:
            os.close(fd)
        return
    with Descent(open_directory(None, path)) as descent:
        yield from _below(descent, path, tree, read, skip, problem)


class _Level(NamedTuple):
    """A directory that is being walked; `below` are those in it that are still to come, the next one last."""

    path: bytes
    below: list[tuple[bytes, os.stat_result, ObjectId | None]]


def _below(
    descent: Descent,
    path: bytes,
    tree: ObjectId | None,
    read: Read,
    skip: frozenset[Identity],
    problem: Problem,
) -> Iterator[LiveFile]:
    systems = FileSystems()
    top = _Level(path, [])
    yield from _files(descent.fd, path, os.listdir(descent.fd), tree, read, problem, top.below)
    levels = [top]
    while levels:
        level = levels[-1]
        if not level.below:
            levels.pop()
            if levels:
                descent.pop()
            continue
        name, status, tree = level.below.pop()
        here = os.path.join(level.path, name)
        if identity(status) in skip or systems.kind(status.st_dev) in PSEUDO:
            continue
        try:
            fd = descent.push(name)
        except OSError as error:
            problem(here, error.strerror or str(error))
            continue
        levels.append(_Level(here, []))
        try:
            names = os.listdir(fd)
        except OSError as error:
            problem(here, error.strerror or str(error))
            continue
        yield from _files(fd, here, names, tree, read, problem, levels[-1].below)


def _files(
    fd: int,
    path: bytes,
    names: list[bytes] | list[str],
    tree: ObjectId | None,
    read: Read,
    problem: Problem,
    below: list[tuple[bytes, os.stat_result, ObjectId | None]],
) -> Iterator[LiveFile]:
    """The files among the names; directories are added to `below`, in reverse order."""
    directory = _directory(tree, read, path, problem)
    for name in sorted(map(os.fsencode, names)):
        here = os.path.join(path, name)
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            problem(here, error.strerror or str(error))
            continue
        if stat.S_ISREG(status.st_mode):
            yield LiveFile(fd, name, here, status, _entry(directory, name, here, problem))
        elif stat.S_ISDIR(status.st_mode):
            entry = _entry(directory, name, here, problem)
            below.append((name, status, None if entry is None else entry.tree))
    below.reverse()


def _directory(tree: ObjectId | None, read: Read, path: bytes, problem: Problem) -> Directory | None:
    try:
        return None if tree is None else Directory(tree, read)
    except Damaged as error:
        problem(path, f"the snapshot's listing cannot be read: {error}")
        return None


def _entry(directory: Directory | None, name: bytes, path: bytes, problem: Problem) -> Entry | None:
    try:
        position = -1 if directory is None else directory.find(name)
        return None if directory is None or position < 0 else directory.entry(position)
    except Damaged as error:
        problem(path, f"the snapshot's entry cannot be read: {error}")
        return None
