"""Progress, and what operations have to say, in one way for all."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from backup.cli.context import Context
from backup.cli.displays import Display, Reading, Step, display_of
from backup.cli.eta import Estimate, Speed, share
from backup.cli.output import printable
from backup.model.errors import Stopped

if TYPE_CHECKING:
    from backup.ops.prune import Plan
    from backup.snapshots.manifest import Snapshot, Statistics


class Meter:
    """What is done so far, and how long the rest will take, on a display."""

    def __init__(
        self,
        context: Context,
        estimate: Estimate,
        display: Display,
        begin: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`begin` is called once, when the first bytes were read: not before has a backup forked, and
        where nothing is read, nobody waits for an estimate. `clock` in seconds.
        """
        self.context = context
        self.estimate = estimate
        self._display = display
        self._begin = begin
        self._clock = clock
        self.files = 0
        self.bytes = 0
        self.path = b""
        self._speed = Speed()
        self._started = clock()
        self._shown = 0.0
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
        asked = self._clock()
        try:
            with self._display.aside():
                yield
        finally:
            # Whoever thinks about it does not slow the work down.
            self._started += self._clock() - asked
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True

    def update(self) -> None:
        if self._stop:
            raise Stopped
        seconds = self._clock() - self._started
        if seconds - self._shown >= self._display.interval:
            self._shown = seconds
            self._show(seconds)

    def end(self) -> None:
        """Shows where it all ended."""
        self._show(self._clock() - self._started)

    def _show(self, seconds: float) -> None:
        self._speed.note(self.files, self.bytes, seconds)
        all_of_it = self.estimate
        left = None
        # More than there should be: nobody knows how much more.
        if all_of_it.done and self.files <= all_of_it.files and self.bytes <= all_of_it.bytes:
            left = self._speed.seconds(all_of_it.files - self.files, all_of_it.bytes - self.bytes)
        self._display.reading(
            Reading(
                self.files,
                self.bytes,
                all_of_it.files if all_of_it.done else None,
                all_of_it.bytes if all_of_it.done else None,
                share(self.files, self.bytes, all_of_it),
                self.path,
                seconds,
                left,
            )
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


@contextmanager
def backup_progress(
    context: Context, paths: Sequence[bytes], last: "Callable[[], Statistics | None]" = lambda: None
) -> Iterator[Meter]:
    """A backup's monitor. How much there is to do is what `last`, the snapshot before, tells; where there is
    none, and progress shows, the paths are counted beside the backup.
    """
    estimate = Estimate()
    stop = threading.Event()
    counting = threading.Thread(target=_count, args=(paths, estimate, stop), daemon=True)

    def begin() -> None:
        if (before := last()) is not None:
            estimate.set(before.files, before.bytes)
        else:
            counting.start()

    with display_of(context) as display:
        meter = Meter(context, estimate, display, begin if paths and _shows(context) else None)
        try:
            with meter.stoppable():
                yield meter
            meter.end()
        finally:
            stop.set()


def _shows(context: Context) -> bool:
    return context.progress or (context.json and context.verbose > 0)


@contextmanager
def scan_progress(context: Context) -> Iterator[Meter]:
    """The monitor of a look at the live tree."""
    with display_of(context, lines=False) as display:
        yield Meter(context, Estimate(), display)


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
def restore_progress(context: Context, whole: "Snapshot | None", lines: bool = True) -> Iterator[Meter]:
    """A restore's monitor; `whole` is the snapshot where all of it is restored. No JSON `lines` where stdout
    is for something else."""
    estimate = Estimate()
    if whole is not None:
        estimate.set(whole.body.statistics.files, whole.body.statistics.bytes)
    with display_of(context, lines) as display:
        meter = Meter(context, estimate, display)
        yield meter
        meter.end()


class Steps:
    """The steps of a check, a repair or a prune, one after the other."""

    def __init__(self, display: Display, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self._display = display
        self._clock = clock
        self._text = ""
        self._done = self._total = 0
        self._started = clock()
        self._shown = 0.0

    def step(self, text: str, total: int) -> None:
        self._text, self._done, self._total = text, 0, total
        self._started, self._shown = self._clock(), 0.0
        self._show(0.0)

    def advance(self, amount: int) -> None:
        self._done += amount
        seconds = self._clock() - self._started
        if seconds - self._shown >= self._display.interval or self._done == self._total:
            self._shown = seconds
            self._show(seconds)

    def _show(self, seconds: float) -> None:
        left = seconds / self._done * max(0, self._total - self._done) if self._done else None
        self._display.step(Step(self._text, self._done, self._total, seconds, left))


@contextmanager
def step_progress(context: Context) -> Iterator[Steps]:
    with display_of(context) as display:
        yield Steps(display)


class PruneSteps(Steps):
    """The steps of a prune; the plan is shown in between."""

    def __init__(self, display: Display, context: Context, show_plan: "Callable[[Plan], None]") -> None:
        super().__init__(display)
        self._context = context
        self._show_plan = show_plan

    def plan(self, plan: "Plan") -> None:
        with self._display.aside():
            self._show_plan(plan)

    def notice(self, text: str) -> None:
        self._context.warn(text)


@contextmanager
def prune_progress(context: Context, show_plan: "Callable[[Plan], None]") -> Iterator[PruneSteps]:
    with display_of(context) as display:
        yield PruneSteps(display, context, show_plan)
