"""The manual pages of a wheel are made from docs/commands.md; all else is in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

from setuptools import setup

PAGES = Path("build/man")

subprocess.run([sys.executable, "scripts/man", str(PAGES)], check=True)
setup(data_files=[("share/man/man1", sorted(map(str, PAGES.glob("*.1"))))])
