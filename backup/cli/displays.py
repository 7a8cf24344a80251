"""Where progress shows: on a terminal's last line, as lines of JSON, or nowhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from backup.cli.context import Context
from backup.cli.eta import duration
from backup.cli.output import count, printable, show_json, size
from backup.cli.output import flush as flush_output
from backup.model.text import to_name

if TYPE_CHECKING:
    from rich.progress import Progress

#: Cells of the terminal for the path.
PATH_WIDTH = 40


class Reading(NamedTuple):
    """Names and bytes done, and in all, None where that is unknown; times in seconds."""

    files: int
    size: int
    files_total: int | None
    size_total: int | None
    share: float
    path: bytes
    seconds: float
    seconds_left: float | None

    @property
    def rate(self) -> float:
        return self.size / max(self.seconds, 0.001)


class Step(NamedTuple):
    """A part of the work; `done` and `total` are in the same unit, whatever that is."""

    text: str
    done: int
    total: int
    seconds: float
    seconds_left: float | None


class Display(Protocol):
    #: Seconds between two updates.
    interval: float

    def reading(self, reading: Reading) -> None: ...

    def step(self, step: Step) -> None: ...

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Meanwhile something else is on the terminal."""


class Nowhere:
    interval = 1.0

    def reading(self, reading: Reading) -> None:
        """Nobody looks."""

    def step(self, step: Step) -> None:
        """Nobody looks."""

    @contextmanager
    def aside(self) -> Iterator[None]:
        yield


class JsonLines(Nowhere):
    """On stdout, before the summary."""

    def reading(self, reading: Reading) -> None:
        self._show(
            {
                "files": reading.files,
                "bytes": reading.size,
                "files_total": reading.files_total,
                "bytes_total": reading.size_total,
                "path": to_name(reading.path),
                "bytes_per_second": round(reading.rate),
            },
            reading.seconds,
            reading.seconds_left,
        )

    def step(self, step: Step) -> None:
        fields = {"step": step.text, "done": step.done, "total": step.total}
        self._show(fields, step.seconds, step.seconds_left)

    def _show(self, fields: dict[str, Any], seconds: float, left: float | None) -> None:
        left = None if left is None else round(left, 1)
        show_json({"type": "progress", **fields, "seconds": round(seconds, 3), "seconds_left": left})
        # Whoever reads them wants them now.
        flush_output()


class Line:
    """The last line of a terminal, gone when all is done."""

    interval = 0.1

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def reading(self, reading: Reading) -> None:
        text = f"{count(reading.files, 'file')}, {size(reading.size)}, {size(reading.rate)}/s"
        known = reading.files_total is not None
        self._update(f"{text}{_eta(reading.seconds_left)}  {_short(reading.path)}", known, reading.share)

    def step(self, step: Step) -> None:
        share = step.done / step.total if step.total else 1.0
        self._update(f"{step.text}{_eta(step.seconds_left)}", True, share)

    def _update(self, text: str, known: bool, share: float) -> None:
        self._progress.update(
            self._task, description=_plain(text), completed=share, total=1 if known else None, refresh=True
        )

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()


@contextmanager
def display_of(context: Context, lines: bool = True) -> Iterator[Display]:
    """Where this run shows progress. JSON lines only with `lines`: a query prints one document."""
    if context.json and context.verbose and lines:
        yield JsonLines()
    elif not context.progress:
        yield Nowhere()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        text = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis"))
        # No thread of its own that refreshes it: a backup may still have to fork.
        with Progress(
            BarColumn(24), text, transient=True, console=Console(stderr=True), auto_refresh=False
        ) as progress:
            yield Line(progress)


def _eta(seconds: float | None) -> str:
    return "" if seconds is None else f", {duration(seconds)} left"


def _plain(text: str) -> str:
    """Square brackets would be markup, and lone surrogates cannot be printed."""
    return text.replace("[", r"\[").encode(errors="replace").decode()


def _short(path: bytes) -> str:
    text = printable(path)
    return text if len(text) <= PATH_WIDTH else "…" + text[1 - PATH_WIDTH :]
