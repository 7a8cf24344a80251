"""Places of the live tree that options speak of: paths, in which wildcards may stand, and all below them."""

import os
import re
from collections.abc import Iterable
from functools import lru_cache

from backup.source.gitignore import Pattern
from backup.source.patterns import PatternList, option_pattern

_WILD = re.compile(rb"[*?\[]")


class Places:
    """Holds what lies at or below a chosen path. The pattern of the deepest path that one fits decides."""

    def __init__(self, patterns: Iterable[Pattern] = ()) -> None:
        """Patterns that begin with a slash: at the root."""
        self._patterns = PatternList(patterns)
        self._directory = lru_cache(1 << 16)(self._verdict)

    def __bool__(self) -> bool:
        return bool(self._patterns.patterns)

    def holds(self, path: bytes, is_dir: bool) -> bool:
        """Whether an absolute path is one of them."""
        verdict = self._verdict(path, is_dir)
        while verdict is None and len(path) > 1:
            path = os.path.dirname(path)
            verdict = self._directory(path, True)
        return bool(verdict)

    def _verdict(self, path: bytes, is_dir: bool) -> bool | None:
        """What is said of this very path."""
        directory, _, name = os.fsdecode(path).rpartition("/")
        pattern = self._patterns.last(name, [directory[1:] + "/" if directory else ""], is_dir)
        return None if pattern is None else not pattern.negative


def place_patterns(path: bytes, option: str, *, negative: bool = False) -> list[Pattern]:
    """Patterns for an absolute path as it is written, and for what its wildcards stand for.

    Raises `UsageError` for a wildcard that is none.
    """
    sign = "!" if negative else ""
    texts = [os.fsdecode(re.sub(rb"([\\*?\[])", rb"\\\1", path))]
    if _WILD.search(path):
        texts.append(os.fsdecode(path))
    return [option_pattern(sign + text, option) for text in texts]


def has_wildcard(path: bytes) -> bool:
    return _WILD.search(path) is not None
