"""What the tests of the views share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.views.kept import Kept


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A repository without a snapshot."""
    made = Kept(tmp_path)
    yield made
    made.repository.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An empty directory to back up."""
    path = tmp_path / "source"
    path.mkdir()
    return path
