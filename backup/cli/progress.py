"""Progress on a terminal, and what operations have to say."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from backup.cli.context import Context
from backup.cli.output import count, printable, size
from backup.model.errors import Stopped

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from backup.ops.prune import Plan
    from backup.repository import Repository
    from backup.snapshots.manifest import Snapshot

#: A name costs as much time as so many bytes do: with both counted, the estimate holds for trees of
#: small files and of large ones alike.
BYTES_PER_NAME = 64 << 10
#: Seconds between two updates of the screen.
INTERVAL = 0.1


class Estimate:
    """How much there is to do: names and bytes; unknown until `done`."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.done = False

    def set(self, files: int, size: int) -> None:
        self.files, self.bytes, self.done = files, size, True


class Meter:
    """What is done so far, shown on one line of the terminal where that is wanted."""

    def __init__(self, context: Context, estimate: Estimate, begin: Callable[[], None] | None = None) -> None:
        """`begin` is called once, when the first bytes were read: not before has a backup forked, and
        where nothing is read, nobody waits for an estimate.
        """
        self.context = context
        self.estimate = estimate
        self._begin = begin
        self.files = 0
        self.bytes = 0
        self.path = b""
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._shown = 0.0
        self._started = time.monotonic()
        self._stop = False

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """SIGINT and SIGTERM stop the operation at the next clean place; a second one at once."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, self._ask_to_stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def question(self) -> Iterator[None]:
        """While someone is asked at the terminal: nothing else is shown there, and Ctrl-C is an answer."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, signal.default_int_handler)
        if self._progress is not None:
            self._progress.stop()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._progress is not None:
                self._progress.start()

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True

    @contextmanager
    def shown(self) -> Iterator[None]:
        if not self.context.progress:
            yield
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(24), TextColumn("{task.description}"), TextColumn("ETA"), TimeRemainingColumn())
        # No thread of its own that refreshes it: a backup may still have to fork.
        with Progress(*columns, transient=True, console=_console(), auto_refresh=False) as progress:
            self._progress = progress
            self._task = progress.add_task("", total=None)
            yield
        self._progress = None

    def update(self) -> None:
        if self._stop:
            raise Stopped
        if self._progress is None or time.monotonic() - self._shown < INTERVAL:
            return
        self._shown = now = time.monotonic()
        rate = size(self.bytes / max(now - self._started, 0.001))
        text = f"{count(self.files, 'file')}, {size(self.bytes)}, {rate}/s  {_short(self.path)}"
        assert self._task is not None
        known = self.estimate.done
        self._progress.update(
            self._task,
            description=_plain(text),
            completed=_cost(self.files, self.bytes),
            total=max(_cost(self.estimate.files, self.estimate.bytes), 1) if known else None,
            refresh=True,
        )

    # What operations tell

    def entries(self, files: int, size: int) -> None:
        self.files += files
        self.bytes += size
        self.update()

    def read(self, size: int) -> None:
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()
        self.update()

    def directory(self, path: bytes) -> None:
        self.path = path
        self.update()

    def progress(self, files: int, size: int, path: bytes) -> None:
        self.files, self.bytes, self.path = files, size, path
        self.update()

    def notice(self, text: str) -> None:
        self.context.notice(text)

    def problem(self, path: bytes, text: str) -> None:
        self.context.warn(f"{printable(path)}: {text}")


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _plain(text: str) -> str:
    """Square brackets would be markup, and lone surrogates cannot be printed."""
    return text.replace("[", r"\[").encode(errors="replace").decode()


def _short(path: bytes, width: int = 40) -> str:
    text = printable(path)
    return text if len(text) <= width else "…" + text[1 - width :]


def _cost(files: int, size: int) -> int:
    return files * BYTES_PER_NAME + size


@contextmanager
def backup_progress(context: Context, repository: "Repository", paths: Sequence[bytes]) -> Iterator[Meter]:
    """A backup's monitor. Where progress shows, the paths are counted beside the backup."""
    estimate = Estimate()
    stop = threading.Event()
    counting = threading.Thread(target=_count, args=(paths, estimate, stop), daemon=True)
    meter = Meter(context, estimate, counting.start if context.progress else None)
    try:
        with meter.shown(), meter.stoppable():
            yield meter
    finally:
        stop.set()


@contextmanager
def scan_progress(context: Context) -> Iterator[Meter]:
    """The monitor of a look at the live tree."""
    meter = Meter(context, Estimate())
    with meter.shown():
        yield meter


def _count(paths: Sequence[bytes], estimate: Estimate, stop: threading.Event) -> None:
    files = size = 0
    waiting = list(paths)
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if stop.is_set():
                        return
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        continue
                    files += 1
                    if entry.is_file(follow_symlinks=False):
                        size += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    estimate.set(files, size)


@contextmanager
def restore_progress(context: Context, whole: "Snapshot | None") -> Iterator[Meter]:
    """A restore's monitor; `whole` is the snapshot where all of it is restored."""
    estimate = Estimate()
    if whole is not None:
        estimate.set(whole.body.statistics.files, whole.body.statistics.bytes)
    meter = Meter(context, estimate)
    with meter.shown():
        yield meter


class Steps:
    """The steps of a check, one bar each."""

    def __init__(self, progress: "Progress | None") -> None:
        self.progress = progress
        self._task: TaskID | None = None

    def step(self, text: str, total: int) -> None:
        if self.progress is not None:
            self._task = self.progress.add_task(text, total=total)

    def advance(self, amount: int) -> None:
        if self.progress is not None and self._task is not None:
            self.progress.advance(self._task, amount)


@contextmanager
def step_progress(context: Context) -> Iterator[Steps]:
    if not context.progress:
        yield Steps(None)
        return
    from rich.progress import Progress

    with Progress(transient=True, console=_console()) as progress:
        yield Steps(progress)


class PruneSteps(Steps):
    """The steps of a prune; the plan is shown in between."""

    def __init__(
        self, progress: "Progress | None", context: Context, show_plan: "Callable[[Plan], None]"
    ) -> None:
        super().__init__(progress)
        self._context = context
        self.plan = show_plan

    def notice(self, text: str) -> None:
        self._context.warn(text)


@contextmanager
def prune_progress(context: Context, show_plan: "Callable[[Plan], None]") -> Iterator[PruneSteps]:
    with step_progress(context) as steps:
        yield PruneSteps(steps.progress, context, show_plan)
