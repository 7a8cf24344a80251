"""Why a path goes into a backup, or stays out."""

import os
import stat
from collections.abc import Callable, Iterable
from typing import NamedTuple

from backup.ops.storing.choosing import Chooser, Here
from backup.ops.storing.listing import Listing, list_directory
from backup.ops.storing.sources import absolute
from backup.ops.storing.unchanged import Comparison, Settings
from backup.source.descent import Identity, identity, open_directory
from backup.source.gitignore import Pattern
from backup.source.mounts import FileSystems
from backup.source.rules import Marker, Rules

_NOTHING = Listing(-1, [])
#: Directories that are kept in memory, for the next path in them.
MAX_LEVELS = 256


class Verdict(NamedTuple):
    """`at` is the path that the rule speaks of: `path`, or a directory above it.

    `rule` is the kind of rule: source, way, outside, pattern, size, marker, file-system, repository,
    or none where no rule speaks. `pattern` and `origin`, where it is one, are as it was written and where.
    """

    path: bytes
    included: bool
    exists: bool
    rule: str
    at: bytes
    reason: str
    pattern: str | None = None
    origin: str | None = None


class _Level(NamedTuple):
    """A directory on the way."""

    path: bytes
    here: Here
    device: int
    marker: Marker | None


class Reasons:
    """Goes the way that a backup of `sources` (absolute paths) would go, by the same rules.

    `skip` are directories that no backup takes: the repository. Problems with files of rules are told.
    """

    def __init__(
        self,
        sources: Iterable[bytes],
        rules: Rules,
        skip: frozenset[Identity],
        notice: Callable[[str], None],
    ) -> None:
        self._sources = sorted(sources)
        self._rules = rules
        self._skip = skip
        self._levels: dict[bytes, _Level] = {}
        comparison = Comparison(Settings(started_ns=0), lambda _: True)
        self._chooser = Chooser(
            rules,
            False,
            comparison,
            FileSystems(),
            lambda path, text: notice(f"{os.fsdecode(path)}: {text}"),
            notice,
        )

    def why(self, path: bytes) -> Verdict:
        """Raises `UsageError` for an empty path; OSError where a directory on the way cannot be read."""
        path = absolute(path)
        exists = os.path.lexists(path)
        source = next((each for each in self._sources if path == each or _inside(path, each)), None)
        if source is None:
            leads = next((each for each in self._sources if _inside(each, path)), None)
            if leads is not None:
                return Verdict(path, True, exists, "way", path, f"it leads to {os.fsdecode(leads)}")
            return Verdict(
                path, False, exists, "outside", path, "it is in none of the paths that are backed up"
            )
        if path == source:
            return Verdict(path, True, exists, "source", path, "it is named: no rule is asked")
        verdict = self._descend(source, path)
        if verdict is not None:
            return verdict._replace(path=path, exists=exists)
        return Verdict(path, True, exists, "none", path, "no rule keeps it out")

    def _descend(self, source: bytes, path: bytes) -> Verdict | None:
        """What the first rule says that keeps the path out, or else the last one that takes it in."""
        *way, last = path[len(source.rstrip(b"/")) + 1 :].split(b"/")
        level = self._level(source, None)
        for name in way:
            verdict = self._judge(level, name, inner=True)
            if verdict is not None and not verdict.included:
                return verdict
            level = self._level(os.path.join(level.path, name), level)
        return self._judge(level, last, inner=False)

    def _level(self, directory: bytes, above: _Level | None) -> _Level:
        level = self._levels.get(directory)
        if level is None:
            if len(self._levels) >= MAX_LEVELS:
                self._levels.clear()
            level = self._levels[directory] = self._enter(directory, above)
        return level

    def _enter(self, path: bytes, above: _Level | None) -> _Level:
        """A directory's rules; one that is not there has those of the directory above it."""
        up = None if above is None else above.here
        try:
            fd = open_directory(None, path)
        except (FileNotFoundError, NotADirectoryError):
            device = 0 if above is None else above.device
            here, _ = self._chooser.enter(-1, path, device, up, _NOTHING, None)
            return _Level(path, here, device, None)
        try:
            device, listing = os.fstat(fd).st_dev, list_directory(fd, None)
            here, _ = self._chooser.enter(fd, path, device, up, listing, None)
            return _Level(path, here, device, self._chooser.marker(fd, path, listing))
        finally:
            os.close(fd)

    def _judge(self, level: _Level, name: bytes, inner: bool) -> Verdict | None:
        """What is said of one name in a directory; `inner`: it is a directory on the way."""
        path = os.path.join(level.path, name)
        status = _status(path)
        is_dir = inner or (status is not None and stat.S_ISDIR(status.st_mode))
        if level.marker is not None and level.marker.name != name:
            shown = os.fsdecode(os.path.join(level.path, level.marker.name))
            return _out("marker", path, f"{shown} stands beside it ({level.marker.option})")
        spoken = _by_pattern(path, level.here.place.pattern(name, is_dir))
        if spoken is not None and not spoken.included:
            return spoken
        if status is not None and level.here.place.too_large(status):
            return _out("size", path, f"it has {status.st_size} bytes (--exclude-larger-than)")
        if status is not None and is_dir and identity(status) in self._skip:
            return _out("repository", path, "it is the repository, or its cache")
        # The directory itself is kept, empty.
        if status is not None and inner:
            why = self._chooser.bars(path, status.st_dev, level.here, level.device)
            return _out("file-system", path, why) if why else spoken
        return spoken


def _status(path: bytes) -> os.stat_result | None:
    """None where nothing is there, or it cannot be looked at."""
    try:
        return os.lstat(path)
    except OSError:
        return None


def _by_pattern(path: bytes, pattern: Pattern | None) -> Verdict | None:
    if pattern is None:
        return None
    does = "takes it in" if pattern.negative else "keeps it out"
    reason = f"the pattern {pattern.text} {does} ({pattern.origin})"
    return Verdict(path, pattern.negative, True, "pattern", path, reason, pattern.text, pattern.origin)


def _inside(path: bytes, other: bytes) -> bool:
    return path.startswith(other.rstrip(b"/") + b"/")


def _out(rule: str, at: bytes, reason: str) -> Verdict:
    return Verdict(at, False, True, rule, at, reason)
