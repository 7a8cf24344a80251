"""What a mount or a restore reads, held so that prune leaves it alone."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from backup.model.errors import NotFound
from backup.model.ids import SHORT_ID
from backup.repository.leases import HeldLease, take_lease
from backup.repository.repository import Repository
from backup.snapshots.manifest import Snapshot, manifest_key


class Reading:
    """A reader's lease, taken when the first snapshot is shown. Threads may share it.

    Where the repository takes no files there is none, and all works the same; but a prune by another
    machine does not know of this reader then.
    """

    def __init__(self, repository: Repository, command: str) -> None:
        self._storage = repository.storage
        self._command = command
        self._lease: HeldLease | None = None
        self._shown: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lease is not None:
            self._lease.release()

    def show(self, snapshots: Iterable[Snapshot]) -> None:
        """From now on these stay, forgotten or not. Raises `NotFound` where one was forgotten before."""
        new = [snapshot for snapshot in snapshots if snapshot.id not in self._shown]
        if not new:
            return
        self._note(new)
        # Only now: one that stands after the lease does stays.
        for snapshot in new:
            try:
                self._storage.size(manifest_key(snapshot.id))
            except FileNotFoundError:
                raise NotFound(f"snapshot {snapshot.id[:SHORT_ID]} was forgotten meanwhile") from None
        self._shown.update(snapshot.id for snapshot in new)

    def _note(self, snapshots: list[Snapshot]) -> None:
        try:
            if self._lease is None:
                self._lease = take_lease(self._storage, "reader", self._command, snapshots=snapshots)
                self._lease.keep_alive()
            else:
                self._lease.show(snapshots)
        except OSError:
            # Read-only, or full.
            return
