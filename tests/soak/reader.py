"""Reads in a mount all the while, and compares every byte."""

import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.sources import Truth, read_truth, truth_of

#: A new snapshot shows within a second; a machine under load gets more halves of one.
PATIENCE = 20
MISSING = "a path is missing"


@dataclass
class Known:
    """The snapshots that have to be there. Used by several threads."""

    truths: dict[str, Truth] = field(default_factory=dict)
    #: Forgotten: they may be there or not, but never wrong.
    forgotten: dict[str, Truth] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, snapshot: str, truth: Truth) -> None:
        with self.lock:
            self.truths[snapshot] = truth

    def forget(self, snapshot: str) -> None:
        with self.lock:
            self.forgotten[snapshot] = self.truths.pop(snapshot)

    def some(self, chance: random.Random) -> tuple[str, Truth] | None:
        with self.lock:
            every = sorted({**self.truths, **self.forgotten}.items())
        return chance.choice(every) if every else None


class Reader(threading.Thread):
    """A mount of the whole repository is read until `stop`. Errors while it is `moving` are none."""

    def __init__(self, mountpoint: Path, known: Known, chance: random.Random) -> None:
        super().__init__(daemon=True, name="reader")
        self._mountpoint = mountpoint
        self._known = known
        self._chance = chance
        self._stopped = threading.Event()
        #: Counts up with each time that the mount goes or comes: what was read across that does not count.
        self.moves = 0
        self.moving = True
        self.files = 0
        self.failures: list[str] = []

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.wait(0.01):
            moves, chosen = self.moves, self._known.some(self._chance)
            if self.moving or chosen is None:
                continue
            problem = self._look(*chosen)
            for _ in range(PATIENCE):
                if problem != MISSING:
                    break
                time.sleep(0.5)
                problem = self._look(*chosen)
            if problem and moves == self.moves and not self.moving:
                self.failures.append(f"in the mount, snapshot {chosen[0][:12]}: {problem}")

    def _look(self, snapshot: str, truth: Truth) -> str | None:
        """What is wrong with one file, or with a whole snapshot."""
        place = self._mountpoint / "snapshots" / snapshot
        try:
            if self._chance.random() < 0.1:
                found = read_truth(place)
                self.files += len(found)
                return None if found == truth else differing(truth, found)
            if not truth:
                return None
            path = self._chance.choice(sorted(truth))
            right = truth_of(place / path) == truth[path]
            self.files += 1
            return None if right else f"{path} has other bytes"
        except FileNotFoundError:
            with self._known.lock:
                gone = snapshot in self._known.forgotten
            return None if gone else MISSING
        except OSError as error:
            return str(error)


def differing(truth: Truth, found: Truth) -> str:
    names = sorted(path for path in truth.keys() | found.keys() if truth.get(path) != found.get(path))
    return f"{len(names)} paths differ, the first is {names[0]}"
