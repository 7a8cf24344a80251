"""A file system of our own that fails where a test wants it to, and records every change.

    with FaultyFs(backing, mountpoint, mark) as disk:
        disk.fail(Fault(("fsync",), errno.EIO, nth=3))

What is in `backing` shows at `mountpoint`.
"""

import gc
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from tests.support.imbfs import MARK, ROOT, mounts_below
from tests.support.steps import Fault, Step


class FaultyFs:
    """Mounted inside the `with`. To be used by one thread."""

    def __init__(self, backing: Path, mountpoint: Path, mark: str) -> None:
        self.backing = backing
        self.mountpoint = mountpoint
        self._environment = os.environ | {MARK: mark, "PYTHONPATH": str(ROOT)}

    def __enter__(self) -> "FaultyFs":
        self.backing.mkdir(exist_ok=True)
        self.mountpoint.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.faulty_driver", self.backing, self.mountpoint],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            cwd=ROOT,
        )
        if self._output.readline() != b"ready\n":
            self.__exit__()
            raise AssertionError("the faulty file system does not mount")
        return self

    def __exit__(self, *_: object) -> None:
        # As the end of a process would: what this one has open on it, and has let go of, is closed.
        gc.collect()
        self._input.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()
        if self.mountpoint in mounts_below(self.mountpoint.parent):
            subprocess.run(["umount", "--lazy", self.mountpoint], check=True)

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _ask(self, command: dict[str, Any]) -> Any:
        self._input.write(json.dumps(command).encode() + b"\n")
        self._input.flush()
        return json.loads(self._output.readline())

    def fail(self, *faults: Fault) -> None:
        """From now on these; without any, nothing fails. Counts begin anew."""
        self._ask({"faults": [list(fault) for fault in faults]})

    def counts(self) -> dict[str, int]:
        """How often each operation was asked for since the last `fail`."""
        counts = self._ask({})[1]
        assert isinstance(counts, dict)
        return counts

    def hits(self) -> int:
        """How many operations the faults have hit since the last `fail`."""
        hits = self._ask({})[0]
        assert isinstance(hits, int)
        return hits

    def take(self) -> list[Step]:
        """What was recorded since the last time."""
        file = self.mountpoint.parent / f"{self.mountpoint.name}.steps"
        self._ask({"take": str(file)})
        # Written by our own driver.
        steps = [Step(*step) for step in pickle.loads(file.read_bytes())]
        file.unlink()
        return steps
