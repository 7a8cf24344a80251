"""Where in a TOML file something stands: tomllib tells that of wrong syntax alone."""

import tomllib
from collections.abc import Sequence

#: A key's way from the top: names of tables and keys, and positions in arrays.
Way = Sequence[str | int]


def line_of(text: str, way: Way, value: object = None) -> int:
    """The line, from 1, on which the statement begins that gives `way` its value.

    Of an array over several lines, the first of them that has `value` in it. 1 where there is none.
    """
    lines = text.split("\n")
    complete = 0
    for end in range(1, len(lines) + 1):
        try:
            known = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            # In the middle of a statement.
            continue
        if _has(known, way):
            statement = range(complete, end)
            fitting = (number for number in statement if isinstance(value, str) and value in lines[number])
            return next(fitting, complete) + 1
        complete = end
    return 1


def _has(known: object, way: Way) -> bool:
    for step in way:
        try:
            known = known[step]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return False
    return True
