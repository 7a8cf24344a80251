"""Where the index lives: in the repository where it can, else in the user's cache."""

import os
from pathlib import Path

INDEX_NAME = "index.lmdb"

#: LMDB must not be mapped over these: their maps are not coherent, or their locks do not hold.
REMOTE = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "vboxsf", "virtiofs"),
    }
)


def index_path(root: Path, repository_id: str, cache: Path) -> Path:
    """The path of a repository's index file. `root` is the repository's directory.

    In the repository when that is on a local file system and ours to write; else in
    `cache`/imbfs/`repository_id`/.
    """
    own = root / INDEX_NAME
    if os.access(root, os.W_OK | os.X_OK) and _ours(own) and not _remote(root):
        return own
    return cache / "imbfs" / repository_id / INDEX_NAME


def _ours(path: Path) -> bool:
    """Only a file of our own is opened: LMDB trusts what it maps."""
    try:
        return path.lstat().st_uid == os.geteuid() and not path.is_symlink()
    except FileNotFoundError:
        return True


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
