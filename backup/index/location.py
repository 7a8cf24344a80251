"""Where the index lives: in the repository where it can, else in the user's cache."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from backup.index.look import is_own_file

INDEX_NAME = "index.lmdb"

#: LMDB must not be mapped over these: their maps are not coherent, or their locks do not hold.
REMOTE = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "vboxsf", "virtiofs"),
    }
)


def index_paths(root: Path, repository_id: str, cache: Path, notice: Callable[[str], None]) -> list[Path]:
    """Where a repository's index file may be, the best place first. `root` is the repository's directory.

    In the repository when that is on a local file system and ours to write; else in
    `cache`/imbfs/`repository_id`/. `notice` is told where something else stands in its place.
    """
    elsewhere = cache / "imbfs" / repository_id / INDEX_NAME
    places = [root / INDEX_NAME] if _ours(root) and not _remote(root) else []
    return [path for path in (*places, elsewhere) if not _in_the_way(path, notice)]


def _ours(root: Path) -> bool:
    """Whoever else may write the directory could exchange the file between a look and its opening."""
    status = root.stat()
    return (
        os.access(root, os.W_OK | os.X_OK)
        and status.st_uid == os.geteuid()
        and not status.st_mode & stat.S_IWOTH
    )


def _in_the_way(path: Path, notice: Callable[[str], None]) -> bool:
    """Only a regular file of our own is opened: LMDB believes what it maps, and would follow a link."""
    for own in (path, path.with_name(path.name + "-lock")):
        try:
            ours = is_own_file(own)
        except PermissionError:
            # A home that this user may not enter.
            return True
        if ours is False:
            if own.lstat().st_uid == os.geteuid():
                notice(f"{own} is not a regular file, and the index is kept elsewhere: remove it")
            return True
    return False


def _remote(path: Path) -> bool:
    kind = file_system_kind(path)
    return kind in REMOTE or kind.startswith("fuse.") or kind == "fuse"


def file_system_kind(path: Path) -> str:
    """The kernel's name of the file system that `path` is on; '' where it cannot be told."""
    status = path.stat()
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields = line.split(" ")
                if fields[2] == device:
                    return fields[fields.index("-") + 1]
    except (OSError, ValueError, IndexError):
        pass
    return ""
