"""Patterns that choose paths, in the language of gitignore."""

import os
from collections.abc import Sequence

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.base import GitIgnorePatternError

from backup.model.errors import UsageError


class Patterns:
    """`!` takes back, `/` anchors at the top, `**` spans directories, `dir/` means directories only.

    Raises `UsageError` for a pattern that is none.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        try:
            self._spec = GitIgnoreSpec.from_lines(lines, backend="simple")
        except (GitIgnorePatternError, ValueError) as error:
            raise UsageError(f"a pattern is not one: {error}") from error

    def fits(self, path: bytes, is_dir: bool) -> bool:
        """Whether a path, relative to the top, is chosen by the last pattern that speaks of it."""
        text = os.fsdecode(path)
        return self._spec.match_file(text + "/" if is_dir else text)
