"""Making the next reading a cold one."""

import contextlib
import os
from pathlib import Path

DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def can_drop_all() -> bool:
    return os.geteuid() == 0 and os.access(DROP_CACHES, os.W_OK)


def drop_all() -> None:
    """All that the machine holds: pages, directories and inodes, also other programs'."""
    os.sync()
    DROP_CACHES.write_text("3")


def drop_files(top: Path) -> None:
    """The pages of all files below; the kernel goes on knowing names and inodes."""
    for directory, _, names in os.walk(top):
        for name in names:
            drop_file(os.path.join(directory, name))


def drop_file(path: str | Path) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fsync(fd)  # pages not yet written stay
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
