"""A thread for work whose result may be needed soon."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

Task = Callable[[], None]

#: Seconds without work after which the thread ends. The next task starts another.
IDLE = 1.0


class Background:
    """Runs tasks one after the other, in a thread that does not keep the process alive.

    To be called from one thread at a time. Tasks raise nothing.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._lock = threading.Lock()
        self._running = False

    def __call__(self, task: Task) -> None:
        self._tasks.put(task)
        with self._lock:
            if not self._running:
                self._running = True
                threading.Thread(target=self._work, daemon=True, name="imbfs-ahead").start()

    def _work(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=IDLE)
            except Empty:
                with self._lock:
                    if self._tasks.empty():
                        self._running = False
                        return
                continue
            task()
