"""The language of gitignore: from a pattern to a regular expression.

As gitignore(5) has it, and as git matches: a pattern says yes or no to one name, and what lies below an
excluded directory is never asked about. So, unlike the libraries that match whole paths, a pattern
here never fits because a directory above does. Matched is text (`os.fsdecode`): `?` is one character.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from backup.model.errors import ImbfsError

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t-\\r ",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class Nonsense(ImbfsError):
    """A pattern that can fit nothing."""


class Pattern(NamedTuple):
    """`regex` is for a name where `by_name`, else for a path relative to where the pattern stands.

    `text` is as it was written, `origin` where: an option, or `FILE:LINE`. `anchored` began with a slash.
    """

    text: str
    origin: str
    negative: bool
    directories_only: bool
    by_name: bool
    anchored: bool
    regex: str


def parse_lines(data: bytes, origin: str, complain: Callable[[str], None]) -> list[Pattern]:
    """The patterns of a file: one a line, `#` begins a comment. What is none is told, and left out."""
    found = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        text = _without_trailing_spaces(line.removesuffix(b"\r").decode(errors="surrogateescape"))
        if not text or text.startswith("#"):
            continue
        try:
            found.append(parse_pattern(text, f"{origin}:{number}"))
        except Nonsense as error:
            complain(str(error))
    return found


def parse_pattern(text: str, origin: str) -> Pattern:
    """Raises `Nonsense`."""
    negative = text.startswith("!")
    body = text[negative:]
    directories_only = body.endswith("/")
    body = body.removesuffix("/")
    by_name = "/" not in body
    anchored = body.startswith("/")
    body = body.removeprefix("/")
    if not body:
        raise Nonsense(f"{origin}: the pattern {text!r} fits nothing: it names nothing")
    try:
        regex = _quick(_translate(body))
    except ValueError as error:
        raise Nonsense(f"{origin}: the pattern {text!r} fits nothing: {error}") from None
    return Pattern(text, origin, negative, directories_only, by_name, anchored, regex)


def _without_trailing_spaces(line: str) -> str:
    """A space counts at the end where a backslash stands before it."""
    bare = line.rstrip(" ")
    escaped = (len(bare) - len(bare.rstrip("\\"))) % 2
    return line[: len(bare) + escaped]


def _translate(text: str) -> Iterator[str]:
    """Raises ValueError."""
    at = 0
    while at < len(text):
        character = text[at]
        if character == "*":
            fragment, at = _asterisks(text, at)
            yield fragment
            continue
        at += 1
        if character == "?":
            yield "[^/]"
        elif character == "[":
            fragment, at = _bracket(text, at)
            yield fragment
        elif character == "\\":
            if at == len(text):
                raise ValueError("nothing follows its last backslash")
            yield re.escape(text[at])
            at += 1
        else:
            yield re.escape(character)


def _asterisks(text: str, at: int) -> tuple[str, int]:
    """`**` spans directories where it stands alone between slashes; else it is as `*`."""
    start = at
    while text[at : at + 1] == "*":
        at += 1
    alone = at - start > 1 and (start == 0 or text[start - 1] == "/")
    if alone and at == len(text):
        return ".*", at
    if alone and text[at] == "/":
        return _DIRECTORIES, at + 1
    return _CHARACTERS, at


#: What `*` and `**/` stand for, as few as will do.
_CHARACTERS, _DIRECTORIES = "[^/]*", "(?:[^/]*/)*"


def _quick(fragments: Iterable[str]) -> str:
    """One expression that takes no exponential time: ignore files may be anyone's.

    Of several `*` in a name, all but the last take the fewest characters that do, and that is never gone
    back on: whatever would fit later, fits then as well. So it is with `**/` in a path.
    """
    parts: list[list[str]] = [[]]
    star: list[str] | None = None
    for fragment in (*fragments, ""):
        if star is not None and fragment in (_CHARACTERS, _DIRECTORIES, ".*", "/", ""):
            held = "".join(star)
            parts[-1].append(f"(?>[^/]*?{held})" if fragment == _CHARACTERS else _CHARACTERS + held)
            star = None
        if fragment == _CHARACTERS:
            star = []
        elif fragment == _DIRECTORIES:
            parts.append([])
        else:
            (parts[-1] if star is None else star).append(fragment)
    first, *rest = map("".join, parts)
    if not rest:
        return first
    between = "".join(f"(?>{_DIRECTORIES}?{part})" for part in rest[:-1])
    return first + between + _DIRECTORIES + rest[-1]


def _bracket(text: str, at: int) -> tuple[str, int]:
    """A class of characters, from behind its `[`; never a slash. Raises ValueError."""
    negated = text[at : at + 1] in ("!", "^")
    at += negated
    first, parts = at, []
    while True:
        if at >= len(text):
            raise ValueError("its [ is never closed")
        if text[at] == "]" and at > first:
            break
        part, at = _member(text, at)
        parts.append(part)
    members = "".join(parts)
    if not members:  # of ranges that end before they begin
        return "[^/]" if negated else r"[^\s\S]", at + 1
    return rf"(?!/)[{'^' if negated else ''}{members}]", at + 1


def _member(text: str, at: int) -> tuple[str, int]:
    """One character, one range, or one named class such as `[:digit:]`."""
    named = re.match(r"\[:([^\]]*):\]", text[at:])
    if named is not None:
        if named[1] not in _POSIX:
            raise ValueError(f"there is no class [:{named[1]}:]")
        return _POSIX[named[1]], at + named.end()
    low, at = _character(text, at)
    if text[at : at + 1] != "-" or text[at + 1 : at + 2] in ("", "]"):
        return re.escape(low), at
    high, at = _character(text, at + 1)
    return (f"{re.escape(low)}-{re.escape(high)}" if low <= high else ""), at


def _character(text: str, at: int) -> tuple[str, int]:
    if text[at] == "\\":
        at += 1
        if at >= len(text):
            raise ValueError("its [ is never closed")
    return text[at], at + 1
