"""For scripts that need imbfs's packages: the Python that has them."""

import importlib.util
import os
import sys
from pathlib import Path

_PYTHON = Path(__file__).resolve().parent.parent / ".venv/bin/python"


def use_own_python() -> None:
    """Begins the script again with the Python of .venv, where the one that runs it lacks the packages."""
    if importlib.util.find_spec("msgspec") is not None:
        return
    if sys.executable == str(_PYTHON) or not _PYTHON.exists():
        sys.exit(f"{sys.argv[0]}: the packages that imbfs needs are missing: run scripts/setup --test first")
    os.execv(_PYTHON, [str(_PYTHON), *sys.argv])
