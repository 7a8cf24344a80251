"""Lists of patterns that choose names, in the language of gitignore: the last one that fits decides."""

import os
import re
from collections.abc import Iterable, Sequence
from functools import cached_property

from backup.model.errors import UsageError
from backup.source.gitignore import Nonsense, Pattern, parse_pattern


class _Compiled:
    """One pattern, ready to be asked."""

    __slots__ = ("_fits", "pattern")

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self._fits = re.compile(pattern.regex, re.DOTALL).fullmatch

    def fits(self, name: str, paths: Sequence[str], is_dir: bool) -> bool:
        if self.pattern.directories_only and not is_dir:
            return False
        if self.pattern.by_name:
            return self._fits(name) is not None
        # Below the first path all patterns count, elsewhere those that are anchored.
        return any(self._fits(path) for path in paths[: None if self.pattern.anchored else 1])


class PatternList:
    """Asked for many names, of which few fit."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self.patterns = tuple(patterns)

    @cached_property
    def _compiled(self) -> list[_Compiled]:
        return [_Compiled(pattern) for pattern in reversed(self.patterns)]

    @cached_property
    def _name_fits(self) -> re.Pattern[str] | None:
        return _any_of(pattern.regex for pattern in self.patterns if pattern.by_name)

    @cached_property
    def _path_fits(self) -> re.Pattern[str] | None:
        return _any_of(pattern.regex for pattern in self.patterns if not pattern.by_name)

    def last(self, name: str, directories: Sequence[str], is_dir: bool) -> Pattern | None:
        """The last pattern that speaks of a name.

        `directories` are the ways to its directory, each empty or ended by a slash: relative to where
        the patterns stand, then others that count for patterns which begin with a slash.
        """
        by_path = self._path_fits is not None
        paths = [directory + name for directory in directories] if by_path else ()
        if not (
            (self._name_fits is not None and self._name_fits.fullmatch(name))
            or (self._path_fits is not None and any(map(self._path_fits.fullmatch, paths)))
        ):
            return None
        for each in self._compiled:
            if each.fits(name, paths, is_dir):
                return each.pattern
        return None

    def fits(self, path: bytes, is_dir: bool) -> bool:
        """Whether a path, relative to where the patterns stand, is chosen by the last one about it."""
        directory, slash, name = os.fsdecode(path).rpartition("/")
        pattern = self.last(name, [directory + slash], is_dir)
        return pattern is not None and not pattern.negative


def _any_of(regexes: Iterable[str]) -> re.Pattern[str] | None:
    """One expression for them all: far quicker to say no than one after the other."""
    together = "|".join(f"(?:{regex})" for regex in regexes)
    return re.compile(together, re.DOTALL) if together else None


def option_pattern(text: str, option: str) -> Pattern:
    """A pattern from the command line: never a comment, and trailing spaces count. Raises `UsageError`."""
    try:
        return parse_pattern(text, option)
    except Nonsense as error:
        raise UsageError(str(error)) from None
