"""Small trees, written as dicts."""

import os
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

#: Older than any backup, so that nothing looks as if it were being written.
OLD = 1_600_000_000


class File(NamedTuple):
    data: bytes
    mode: int = 0o644
    mtime: int = OLD


class Link(NamedTuple):
    """A symlink."""

    target: str


Tree = Mapping[str, "bytes | File | Link | Tree"]


def grow(root: Path, tree: Tree) -> Path:
    """Makes `tree` in the directory `root`. As on a disk, directories of other names have other times."""
    root.mkdir(parents=True, exist_ok=True)
    for key, node in tree.items():
        path = root / key
        if isinstance(node, Link):
            path.symlink_to(node.target)
            os.utime(path, (OLD, OLD), follow_symlinks=False)
        elif isinstance(node, (bytes, File)):
            file = File(node) if isinstance(node, bytes) else node
            path.write_bytes(file.data)
            path.chmod(file.mode)
            os.utime(path, (file.mtime, file.mtime))
        else:
            grow(path, node)
    root.chmod(0o755)
    settle(root)
    return root


def settle(directory: Path) -> None:
    """Gives a directory a time that depends on what it holds, and on nothing else."""
    kinds = [f"{entry.name} {stat.S_IFMT(entry.lstat().st_mode)}" for entry in sorted(directory.iterdir())]
    seconds = OLD + zlib.crc32("\n".join(kinds).encode()) % 1_000_000
    os.utime(directory, (seconds, seconds))


def change(path: Path, data: bytes) -> None:
    """New content, and a new time that is still old."""
    path.write_bytes(data)
    os.utime(path, (OLD + 1, OLD + 1))
