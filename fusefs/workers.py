"""Threads for what would hold up the loop."""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from fusefs.device import Device
from fusefs.errors import told_errno

#: Decoding gives up Python's lock; more threads than this would wait for the disk.
MOST = 8

Task = Callable[[], Callable[[], None]]


class Workers:
    """Runs tasks in threads that do not keep the process alive: a disk that hangs must not.

    A task works, and gives what is to be done with the result. That part is done unless the
    workers were closed before: after `close`, no thread touches the session's descriptor.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._locks: list[threading.Lock] = []
        self._closed = False
        #: Tasks that are not done.
        self.pending = 0
        self._counter = threading.Lock()

    def start(self, task: Task) -> None:
        """Called from the loop's thread only."""
        with self._counter:
            self.pending += 1
        if self.pending > len(self._locks) < self._most:
            lock = threading.Lock()
            self._locks.append(lock)
            threading.Thread(target=self._work, args=(lock,), daemon=True, name="imbfs-reader").start()
        self._tasks.put(task)

    def answer(
        self,
        device: Device,
        unique: int,
        doing: str,
        make: Callable[[], bytes | memoryview],
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Makes the reply to a request in a thread, and sends it. `doing` is for messages; `then` is called
        after a reply that is no error."""

        def task() -> Callable[[], None]:
            try:
                data = make()
            except BaseException as error:
                number = told_errno(error, doing)
                return lambda: device.refuse(unique, number)

            def finish() -> None:
                device.reply(unique, data)
                then()

            return finish

        self.start(task)

    def _work(self, finishing: threading.Lock) -> None:
        while True:
            finish = self._tasks.get()()
            with finishing:
                if not self._closed:
                    finish()
            with self._counter:
                self.pending -= 1

    def wait(self, seconds: float) -> None:
        """Waits for tasks to be done, at most so long."""
        end = time.monotonic() + seconds
        while self.pending and time.monotonic() < end:
            time.sleep(0.005)

    def close(self) -> None:
        """Nothing is finished after this; waits for what is being finished."""
        self._closed = True
        for lock in self._locks:
            with lock:
                pass
