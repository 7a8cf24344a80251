"""A place in memory for what is built and thrown away hundreds of times."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def in_memory() -> Iterator[Path]:
    place = MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="imbfs-test-", dir=place))
    yield directory
    shutil.rmtree(directory)
