"""What the engine asks of a place that keeps files."""

from collections.abc import Iterator
from typing import Protocol


class Staged(Protocol):
    """A file being written. It has no key, and nobody sees it, before `publish`."""

    def append(self, data: bytes | memoryview) -> None: ...

    def publish(self, key: str, *, durable: bool = True) -> None:
        """Makes the file durable, then gives it its key. An existing file is replaced.

        Without `durable` it is whole as well, but may be lost with the machine's power.
        """

    def discard(self) -> None: ...


class Storage(Protocol):
    """Errors are `OSError`; a key that is not there is `FileNotFoundError`."""

    @property
    def writable(self) -> bool: ...

    def stage(self) -> Staged: ...

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Stages and publishes in one go: the whole file, or nothing."""

    def read(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        """At most `size` bytes from `offset` on: fewer where the file ends."""

    def size(self, key: str) -> int: ...

    def modified(self, key: str) -> int:
        """When the file was written or touched, in ns by the storage's own clock."""

    def touch(self, key: str) -> None:
        """Sets the time that `modified` tells to now."""

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Key and size of every file below the directory `prefix`, in no order."""

    def delete(self, key: str, *, durable: bool = True) -> None:
        """Without `durable`, the file may be back after the machine lost its power."""

    def move(self, key: str, new_key: str) -> None:
        """Gives a file another key, durably. An existing file is replaced."""
