"""The command in this very process: for tests that run it hundreds of times."""

import io
import itertools
import os
import signal
import sys
from pathlib import Path
from unittest import mock

from backup.cli.main import main
from tests.support.imbfs import Argument, Result

#: Each run counts as a process of its own: whatever lease it leaves is a dead one's for the next.
_RUNS = itertools.count(1)


class InProcess:
    """imbfs with a cache of its own. What it prints is kept; only one at a time, in the main thread."""

    def __init__(self, repository: Path, home: Path) -> None:
        self.repository = repository
        self.home = home

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    def run(self, *args: Argument, check: bool = True) -> Result:
        """`check`: any exit code but 0 fails the test."""
        stdout, stderr = _Stream(), _Stream()
        environment = {
            "XDG_CACHE_HOME": str(self.cache),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_STATE_HOME": str(self.home / "state"),
        }
        argv = ["--repo", os.fsdecode(self.repository), *map(os.fsdecode, args)]
        handler = signal.getsignal(signal.SIGTERM)
        run = next(_RUNS)
        with (
            mock.patch("backup.model.process.start_ticks", return_value=run),
            mock.patch.dict(os.environ, environment),
            mock.patch.multiple(sys, stdout=stdout, stderr=stderr),
        ):
            try:
                code = main(argv)
            except SystemExit as end:
                code = int(end.code or 0)
            finally:
                signal.signal(signal.SIGTERM, handler)
        result = Result(code, stdout.bytes(), stderr.bytes())
        assert not check or code == 0, f"imbfs {' '.join(argv)}: {result}"
        return result


class _Stream(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def bytes(self) -> bytes:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue()
