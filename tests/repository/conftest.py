"""A repository of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository.stored import Opened, make


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    made = make(tmp_path)
    yield made
    made.close()
