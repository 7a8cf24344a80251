"""A wheel holds all that an installed imbfs needs: modules, marks for type checkers, manual pages."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PARTS = (
    "backup",
    "fusefs",
    "docs",
    "scripts",
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Built from a copy, without network, by the setuptools that is here."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, copy)
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, out], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        yield file


def test_a_wheel_has_every_module_and_says_that_it_has_types(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    modules = {
        str(path.relative_to(ROOT)) for top in ("backup", "fusefs") for path in ROOT.glob(f"{top}/**/*.py")
    }
    assert modules <= names
    assert {"backup/py.typed", "fusefs/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests/", "scripts/"))]


def test_a_wheel_has_a_manual_page_of_each_command(wheel: zipfile.ZipFile) -> None:
    pages = {Path(name).name for name in wheel.namelist() if "/share/man/man1/" in name}
    assert pages == {"imbfs.1", *(f"imbfs-{command}.1" for command in COMMANDS)}


@pytest.mark.skipif(shutil.which("groff") is None, reason="there is no groff here")
def test_the_manual_pages_are_set_without_a_warning(wheel: zipfile.ZipFile) -> None:
    pages = {name: wheel.read(name) for name in wheel.namelist() if "/share/man/man1/" in name}
    for name, data in pages.items():
        command = ["groff", "-man", "-Tutf8", "-ww", "-k"]
        shown = subprocess.run(command, input=data, capture_output=True, check=True)
        assert shown.stderr == b"", name
        assert b"`" not in shown.stdout, f"{name}: a mark of the page's source is left"
        assert b"\n.SH SYNOPSIS\n" in data
