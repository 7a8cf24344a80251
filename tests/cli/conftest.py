"""What the tests of the command line share."""

import shutil
from pathlib import Path

import pytest

from tests.support.imbfs import Imbfs
from tests.support.small import build_small


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small tree to back up."""
    return build_small(tmp_path / "source")


@pytest.fixture
def saved(imbfs: Imbfs, source: Path) -> Imbfs:
    """An imbfs with one snapshot of `source`."""
    imbfs.run("init")
    imbfs.run("backup", source)
    return imbfs


@pytest.fixture(scope="session")
def _small_template(tmp_path_factory: pytest.TempPathFactory, mark: str) -> Imbfs:
    template = Imbfs(tmp_path_factory.mktemp("template"), mark)
    template.run("init")
    template.run("backup", build_small(template.directory / "source"))
    return template


@pytest.fixture
def copied(imbfs: Imbfs, _small_template: Imbfs) -> Imbfs:
    """Like `saved`, and quick: a copy of a repository made once. Its source is gone."""
    shutil.copytree(_small_template.repository, imbfs.repository, symlinks=True)
    return imbfs
