"""A small tree with a little of everything that any user has, for tests that look at one thing."""

import os
from pathlib import Path

from tests.support.everything import MIB, noise, text, write

#: Older than any backup of it, so that nothing looks as if it were being written.
WRITTEN = 1_600_000_000

FILES: dict[bytes, bytes] = {
    b"readme": b"hello\n",
    b"empty": b"",
    b"large": noise(3 * MIB + 17, 1),
    b"sub/one": text(5_000),
    b"sub/deeper/two": noise(300_000, 2),
    b"sub/deeper/same as readme": b"hello\n",
    b"new\nline": b"a name of two lines\n",
    b"caf\xe9": b"a name that is not UTF-8\n",
    "caf\u00e9".encode(): b"a name that is\n",
}


def build_small(root: Path) -> Path:
    for name, data in FILES.items():
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write(path, data)
    (root / "empty-directory").mkdir()
    os.symlink("sub/one", root / "symlink")
    os.link(root / "readme", root / "sub" / "link to readme")
    make_old(root)
    return root


def make_old(root: Path) -> None:
    """Give everything below, directories last, a time long before now."""
    for directory, subdirectories, files in os.walk(os.fsencode(root), topdown=False):
        for name in files + subdirectories:
            os.utime(os.path.join(directory, name), (WRITTEN, WRITTEN), follow_symlinks=False)
    os.utime(root, (WRITTEN, WRITTEN))


def bytes_of(root: Path) -> dict[bytes, bytes]:
    """Content by path of all regular files below `root`."""
    top = os.fsencode(root)
    found = {}
    for directory, _, files in os.walk(top):
        for name in files:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, top)] = file.read()
    return found
