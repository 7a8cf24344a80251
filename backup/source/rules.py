"""What goes into a backup and what stays out: the rules, and those that hold in one directory."""

import os
import stat
from dataclasses import dataclass
from typing import NamedTuple

from backup.source.descent import open_file
from backup.source.gitignore import Pattern
from backup.source.patterns import PatternList

IGNORE_NAME = b".imbfsignore"
#: Bytes read of an ignore file.
MAX_IGNORE_FILE = 16 << 20


class Marker(NamedTuple):
    """A file whose directory has no content worth keeping. `header` is how the file begins."""

    name: bytes
    header: bytes
    option: str


#: As bford.info/cachedir has it.
CACHE_MARKER = Marker(b"CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55", "--exclude-caches")


@dataclass(frozen=True)
class Rules:
    """`patterns` win over ignore files, and those over `weak_patterns`: as in git.

    `ignore_names` are names of files that hold patterns for their directory and all below, a later
    name winning over an earlier one. `larger_than` is in bytes.
    """

    patterns: tuple[Pattern, ...] = ()
    weak_patterns: tuple[Pattern, ...] = ()
    ignore_names: tuple[bytes, ...] = (IGNORE_NAME,)
    markers: tuple[Marker, ...] = ()
    larger_than: int | None = None
    one_file_system: bool = False


#: But for ignore files.
NO_RULES = Rules()


class Layer(NamedTuple):
    """Patterns, and the directory that they stand in. `absolute`: a leading slash may mean the real root."""

    patterns: PatternList
    base: bytes
    absolute: bool


class Scope:
    """The rules that hold in a directory and below, down to the next ignore file. Never changes."""

    def __init__(self, rules: Rules, layers: tuple[Layer, ...], ignore_layers: int = 0) -> None:
        """`layers`: those that win first. Of them, after the first, so many are of ignore files."""
        self.rules = rules
        self._layers = layers
        self._ignore_layers = ignore_layers

    @classmethod
    def of_source(cls, rules: Rules, path: bytes) -> "Scope":
        """At a path that is backed up."""
        base = path.rstrip(b"/") + b"/"
        strong = Layer(PatternList(rules.patterns), base, absolute=True)
        weak = Layer(PatternList(rules.weak_patterns), base, absolute=True)
        return cls(rules, (strong, weak))

    def below(self, directory: bytes, patterns: list[Pattern]) -> "Scope":
        """With the patterns of an ignore file in `directory`."""
        layer = Layer(PatternList(patterns), directory.rstrip(b"/") + b"/", absolute=False)
        layers = (self._layers[0], layer, *self._layers[1:])
        return Scope(self.rules, layers, self._ignore_layers + 1)

    def at(self, directory: bytes) -> "Place":
        """In `directory`, an absolute path."""
        place = os.fsdecode(directory.rstrip(b"/") + b"/")
        layers = [
            (
                layer.patterns,
                (place[len(os.fsdecode(layer.base)) :], *([place[1:]] if layer.absolute else ())),
            )
            for layer in self._layers
            if layer.patterns.patterns
        ]
        return Place(layers, self.rules.larger_than)


class Place:
    """Says what stays out of one directory."""

    def __init__(self, layers: list[tuple[PatternList, tuple[str, ...]]], larger_than: int | None) -> None:
        self._layers = layers
        self._larger_than = larger_than

    def __bool__(self) -> bool:
        """Whether anything may stay out."""
        return bool(self._layers) or self._larger_than is not None

    def excludes(self, name: bytes, status: os.stat_result | OSError) -> bool:
        mode = 0 if isinstance(status, OSError) else status.st_mode
        if self._layers and (pattern := self.pattern(name, stat.S_ISDIR(mode))) is not None:
            return not pattern.negative or self.too_large(status)
        return self.too_large(status)

    def pattern(self, name: bytes, is_dir: bool) -> Pattern | None:
        """The pattern that decides about a name."""
        text = os.fsdecode(name)
        for patterns, directories in self._layers:
            pattern = patterns.last(text, directories, is_dir)
            if pattern is not None:
                return pattern
        return None

    def too_large(self, status: os.stat_result | OSError) -> bool:
        return (
            self._larger_than is not None
            and not isinstance(status, OSError)
            and stat.S_ISREG(status.st_mode)
            and status.st_size > self._larger_than
        )


def has_header(dir_fd: int, name: bytes, header: bytes) -> bool:
    """Whether a marker is one: any file where no header is asked for. Raises OSError."""
    if not header:
        return True
    fd, _ = open_file(dir_fd, name)
    try:
        return os.pread(fd, len(header), 0) == header
    finally:
        os.close(fd)


def read_ignore_file(dir_fd: int, name: bytes) -> bytes:
    """Raises OSError; where it is larger than any list of rules, too."""
    fd, status = open_file(dir_fd, name)
    try:
        if status.st_size > MAX_IGNORE_FILE:
            raise OSError(0, "is too large to be read as rules")
        with open(fd, "rb", closefd=False) as file:
            return file.read(MAX_IGNORE_FILE)
    finally:
        os.close(fd)
