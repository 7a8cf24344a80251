"""Printing: results to stdout, all else to stderr."""

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

from backup.model.errors import ImbfsError


def show(text: str) -> None:
    """A line of a result. Names that are not UTF-8 come out as the bytes that they are."""
    write(os.fsencode(text) + b"\n")


class OutputFailed(ImbfsError):
    """stdout cannot be written: a result is lost, which is not to go unnoticed."""


def write(data: bytes | memoryview) -> None:
    """Bytes of a result. Raises `OutputFailed`; BrokenPipeError where the reader has gone."""
    with _output():
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed")
        sys.stdout.buffer.write(data)


def flush() -> None:
    """Raises as `write` does."""
    if sys.stdout is not None:
        with _output():
            sys.stdout.flush()


@contextmanager
def _output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        give_up_output()
        raise
    except OSError as error:
        give_up_output()
        raise OutputFailed(f"the result cannot be written to stdout: {error.strerror}") from error


def give_up_output() -> None:
    """What is still buffered goes nowhere, or the interpreter's end would fail on it once more."""
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def show_json(value: object) -> None:
    import msgspec

    show(msgspec.json.encode(value).decode())


def show_json_array(records: Iterable[object]) -> None:
    """One document, written as it is made: a listing of millions fits."""
    import msgspec

    show("[")
    comma = ""
    for item in records:
        show(comma + msgspec.json.encode(item).decode())
        comma = ","
    show("]")


def paints(stream: TextIO | None) -> bool:
    """Whether colours may be shown: on a terminal that takes them, unless NO_COLOR is set."""
    return (
        stream is not None
        and stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") != "dumb"
    )


#: Hears of all that is told, and of what would be to somebody who asked for more.
_listener: Callable[[str], None] | None = None


def listen(listener: Callable[[str], None] | None) -> None:
    """There is one at a time; None: nobody listens any more."""
    global _listener
    _listener = listener


def note(text: str) -> None:
    """A line that nobody at the terminal wants to see."""
    if _listener is not None:
        _listener(text)


def tell(text: str) -> None:
    """A line for the person at the terminal."""
    note(text)
    if sys.stderr is None:
        return
    with suppress(ImbfsError, OSError):
        flush()
    sys.stderr.buffer.write(os.fsencode(text) + b"\n")
    sys.stderr.buffer.flush()


def printable(name: bytes) -> str:
    """A name on one line: control characters are escaped, all else stands as it is."""
    text = os.fsdecode(name)
    if text.isprintable():
        return text
    return "".join(_printable(character) for character in text)


def _printable(character: str) -> str:
    # A lone surrogate is a byte that is not UTF-8: it goes out as that byte.
    if character.isprintable() or "\udc80" <= character <= "\udcff":
        return character
    return character.encode("unicode_escape").decode()


def quoted(name: bytes) -> str:
    """A name that cannot be mistaken, in text that names stand in: as git does it, `"new\\nline"`.

    Left as it is where it is UTF-8, printable, and has neither quotes, backslashes nor blanks at its ends.
    """
    text = name.decode(errors="surrogateescape")
    if text.isprintable() and text.strip() == text != "" and not set('"\\') & set(text):
        return text
    return '"' + "".join(_quoted(character) for character in text) + '"'


_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def _quoted(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode(errors="surrogateescape"))


def size(number: float) -> str:
    """Bytes as people read them: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} PiB"


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> None:
    """Columns, aligned; those in `right` to the right. Nothing is cut."""
    lines = [tuple(heads), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        cells = (
            cell.rjust(width) if column in set(right) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        show("  ".join(cells).rstrip())
