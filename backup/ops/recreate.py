"""The list of an exported increment, made anew from its files: without a repository."""

import errno
import os
import stat
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from backup.model.entry import KIND_NOUNS, KINDS, Entry
from backup.model.errors import ImbfsError
from backup.model.text import to_bytes
from backup.ops.export import CHANGES, DELETED, FILES
from backup.ops.exporting.listing import Part, lines_of
from backup.ops.restoring.names import is_temporary
from backup.snapshots.changes import Line
from backup.source.attributes import Xattr, xattrs_of
from backup.source.descent import Descent, open_directory, open_file

#: What was there: no list, one that cannot be read as such, another one, or just what was to be made.
Found = Literal["missing", "damaged", "other", "same"]

_PARTIAL = CHANGES + b".partial"
_WORDS = {"added", "removed", "content", "metadata", "renamed", "damaged", "changed", "recreated"}


@dataclass(slots=True)
class RecreateSummary:
    found: Found
    written: bool
    #: How many lines there are of each kind of change.
    changes: dict[str, int] = field(default_factory=dict)


def recreate(directory: bytes, *, force: bool, dry_run: bool) -> RecreateSummary:
    """Writes `changes.jsonl` anew, as a whole or not at all. Symlinks in the directory are not followed.

    Raises `ImbfsError` for what is no exported increment, for what cannot be read in it, and without
    `force` for a sound list that says something else; OSError.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        shown = os.fsdecode(directory)
        files, deleted = (_part(fd, name, shown) for name in (FILES, DELETED))
        if not force:
            _require_finished(files, shown)
            _require_finished(deleted, shown)
        lines = lines_of(files, deleted)
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        found = _found(_read(fd, shown), data, len(lines) > 1)
        if found == "other" and not force:
            raise ImbfsError(
                f"{shown}/{os.fsdecode(CHANGES)} is sound, and tells other than one made anew,"
                " which knows less: it was left as it is (--force replaces it)"
            )
        written = found != "same" and not dry_run
        if written:
            _replace(fd, data)
        return RecreateSummary(found, written, dict(Counter(line.change for line in lines[1:])))
    finally:
        os.close(fd)


def _part(directory: int, name: bytes, shown: str) -> Part:
    """All that is in `files/` or `deleted/`. Raises `ImbfsError` where anything there cannot be looked at."""
    place = f"{shown}/{os.fsdecode(name)}"
    try:
        descent = Descent(open_directory(directory, name))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImbfsError(f"{shown} is no exported increment: {place} is no directory") from error
    except OSError as error:
        raise _unreadable(place, error) from error
    with descent:
        return _walk(descent, place)


def _walk(descent: Descent, place: str) -> Part:
    found: Part = {}
    levels: list[tuple[bytes, list[bytes]]] = []
    path = b""
    try:
        found[path] = _directory(descent.fd)
        levels.append((path, _names(descent.fd)))
        while levels:
            path, names = levels[-1]
            if not names:
                levels.pop()
                if levels:
                    descent.pop()
                continue
            name = names.pop()
            path = path + b"/" + name if path else name
            status = os.lstat(name, dir_fd=descent.fd)
            if stat.S_ISDIR(status.st_mode):
                below = descent.push(name)
                found[path] = _directory(below)
                levels.append((path, _names(below)))
            else:
                found[path] = _entry(status, ())
    except OSError as error:
        raise _unreadable(os.path.join(place, os.fsdecode(path)), error) from error
    return found


def _unreadable(place: str, error: OSError) -> ImbfsError:
    return ImbfsError(f"{place}: {error.strerror}: the list would not be whole, and nothing was written")


def _names(fd: int) -> list[bytes]:
    return list(map(os.fsencode, os.listdir(fd)))


def _directory(fd: int) -> Entry:
    return _entry(os.fstat(fd), xattrs_of(fd))


def _entry(status: os.stat_result, xattrs: tuple[Xattr, ...]) -> Entry:
    return Entry(
        name=b"",
        mode=status.st_mode,
        uid=status.st_uid,
        gid=status.st_gid,
        nlink=status.st_nlink,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        ino=status.st_ino,
        rdev=status.st_rdev,
        volume=0,
        flags=0,
        user="",
        group="",
        tree=None,
        target=b"",
        xattrs=xattrs,
        extents=(),
    )


def _require_finished(part: Part, shown: str) -> None:
    for path in part:
        if is_temporary(path.rpartition(b"/")[2]):
            raise ImbfsError(
                f"{shown}: an export into it was killed, or is under way, and left {os.fsdecode(path)}:"
                " export it again (--force makes a list of what is there)"
            )


def _read(directory: int, shown: str) -> bytes | None:
    """The list that is there; None where there is none. Raises `ImbfsError` where it is no file."""
    try:
        mode = os.lstat(CHANGES, dir_fd=directory).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        kind = KINDS[stat.S_IFMT(mode)]
        noun = KIND_NOUNS.get(kind, kind)
        raise ImbfsError(f"{shown}/{os.fsdecode(CHANGES)} is a {noun}, no file: move it away first")
    fd, _ = open_file(directory, CHANGES)
    with open(fd, "rb") as file:
        try:
            return file.read()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # The disk has lost it: as good as any other damage.
            return b"\0"


def _found(old: bytes | None, new: bytes, changes: bool) -> Found:
    if old is None:
        return "missing"
    if old == new:
        return "same"
    return "other" if _is_sound(old) and (old or not changes) else "damaged"


def _is_sound(data: bytes) -> bool:
    """Whether it is nothing but whole lines, each of which tells a change."""
    *whole, rest = data.split(b"\n")
    decoder = msgspec.json.Decoder(Line)
    try:
        for text in whole:
            line = decoder.decode(text)
            to_bytes(line.path)
            if line.change not in _WORDS:
                return False
    except (msgspec.MsgspecError, ValueError):
        return False
    return not rest


def _replace(directory: int, data: bytes) -> None:
    with suppress(FileNotFoundError):
        # Of one that was killed.
        os.unlink(_PARTIAL, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(_PARTIAL, flags, 0o666, dir_fd=directory)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(_PARTIAL, CHANGES, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(_PARTIAL, dir_fd=directory)
        raise
    os.fsync(directory)
