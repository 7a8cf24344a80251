"""What a backup tells of its progress, and what it counts."""

from dataclasses import dataclass
from typing import Protocol


class Monitor(Protocol):
    """Is told how a backup goes on. Paths are as at the source."""

    def entries(self, files: int, size: int) -> None:
        """So many names more are done; `size` is that of the files among them, in bytes."""

    def read(self, size: int) -> None:
        """So many bytes more were read."""

    def directory(self, path: bytes) -> None:
        """This directory is being walked."""

    def notice(self, text: str) -> None: ...

    def problem(self, path: bytes, text: str) -> None:
        """What is at the path could not be backed up as it is now."""


@dataclass(slots=True)
class Counts:
    """Files are all names but directories. Sizes in bytes, `bytes` those of regular files."""

    files: int = 0
    bytes: int = 0
    files_new: int = 0
    files_changed: int = 0
    files_unchanged: int = 0
    files_removed: int = 0
    dirs: int = 0
    bytes_read: int = 0
    #: Of those read, what the repository had already.
    bytes_deduplicated: int = 0
    errors: int = 0
    alarms: int = 0
