"""What processes cost: CPU seconds, and memory watched while they run."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

INTERVAL = 0.05
#: Reading the kernel's sums of a large process takes milliseconds: watching may use this part of one core.
SHARE = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


def family(pids: Iterable[int]) -> list[int]:
    """These processes and all that they started, as far as they still belong to them."""
    found = list(dict.fromkeys(pids))
    for pid in found:
        for thread in Path(f"/proc/{pid}/task").glob("*"):
            with contextlib.suppress(OSError):
                children = map(int, (thread / "children").read_text().split())
                found += [child for child in children if child not in found]
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes and of the children that they have waited for."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / _TICKS


def memory(pids: Iterable[int]) -> dict[str, int]:
    """Bytes that these processes hold: `private` to each, `anonymous`, and `pss`, their share of all."""
    sums = {"private": 0, "anonymous": 0, "pss": 0}
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
                name, _, rest = line.partition(":")
                key = "private" if name.startswith("Private_") else name.lower()
                if key in sums:
                    sums[key] += int(rest.split()[0]) * 1024
    return sums


class MemoryWatch:
    """The highest of each sum of `memory` while a `with` lasts; `kind` is the one that tables show."""

    def __init__(self, pids: Callable[[], list[int]], kind: str) -> None:
        self._pids, self._kind = pids, kind
        self._highest: dict[str, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    @property
    def highest(self) -> dict[str, int]:
        return self._highest | {"peak": self._highest.get(self._kind, 0)}

    def _watch(self) -> None:
        wait = INTERVAL / 10  # the first look early: some commands are done in less
        while not self._ended.wait(wait):
            wait = max(INTERVAL, self._look() / SHARE)

    def _look(self) -> float:
        began = time.thread_time()
        now = memory(self._pids())
        self._highest = {key: max(value, self._highest.get(key, 0)) for key, value in now.items()}
        return time.thread_time() - began
