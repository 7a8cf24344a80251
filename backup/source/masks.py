"""Masks that choose names and paths, as a shell has them: `*`, `?`, `[a-z]`, `[!0-9]`, `[[:digit:]]`."""

import fnmatch
import re
from collections.abc import Sequence

from backup.model.errors import UsageError

_CLASSES = {
    "[:alnum:]": "0-9A-Za-z",
    "[:alpha:]": "A-Za-z",
    "[:blank:]": " \t",
    "[:digit:]": "0-9",
    "[:lower:]": "a-z",
    "[:space:]": " \t\r\n\v\f",
    "[:upper:]": "A-Z",
    "[:xdigit:]": "0-9A-Fa-f",
}


class Mask:
    """One without a slash fits a name; one with a slash fits a path, from its first name to its last.

    In a path, `*` stays within one name, and `**` stands for any number of names. One that begins with a
    slash fits paths as at the source, others those relative to the snapshot's root. Raises `UsageError`
    for an empty one, or a class that there is none of.
    """

    def __init__(self, text: str, *, ignore_case: bool = False) -> None:
        if not text.strip("/"):
            raise UsageError("a pattern needs a name: give one, such as '*.txt' or 'letters/*'")
        self._flags = re.IGNORECASE if ignore_case else 0
        self.absolute = text.startswith("/")
        parts = [part for part in text.split("/") if part]
        self._parts = [None if part == "**" else self._compiled(part) for part in parts]
        self._by_path = "/" in text.rstrip("/")

    def _compiled(self, part: str) -> re.Pattern[str]:
        for name, characters in _CLASSES.items():
            part = part.replace(name, characters)
        if unknown := re.search(r"\[:\w*:\]", part):
            known = " ".join(sorted(_CLASSES))
            raise UsageError(f"there is no class {unknown[0]} in a pattern: there are {known}")
        return re.compile(fnmatch.translate(part), self._flags)

    def may_be(self, name: str) -> bool:
        """Whether a path that ends in this name may fit: quicker to ask than `fits`."""
        last = self._parts[-1]
        return last is None or last.match(name) is not None

    def fits(self, names: Sequence[str]) -> bool:
        """Whether a path, by its names, fits."""
        return _fits(self._parts, names) if self._by_path else self.may_be(names[-1])


def _fits(parts: Sequence[re.Pattern[str] | None], names: Sequence[str]) -> bool:
    """By the set of positions in the mask that the names so far lead to."""
    reached = _closure(parts, {0})
    for name in names:
        step = set()
        for position in reached:
            part = parts[position] if position < len(parts) else None
            if position < len(parts) and part is None:
                step.add(position)
            elif part is not None and part.match(name):
                step.add(position + 1)
        reached = _closure(parts, step)
    return len(parts) in reached


def _closure(parts: Sequence[re.Pattern[str] | None], reached: set[int]) -> set[int]:
    """`**` may also stand for no name at all."""
    found = set(reached)
    for position in range(len(parts)):
        if position in found and parts[position] is None:
            found.add(position + 1)
    return found
