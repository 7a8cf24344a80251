"""Leases: what running processes rely on, so that prune takes nothing from under them.

`docs/design.md`, "Neighbours", says who does what in which order, and why that is safe.
"""

import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, NamedTuple, Self, get_args

import msgspec

from backup.model.ids import SnapshotId
from backup.model.process import Process, this_process
from backup.repository.condemned import condemned_notes
from backup.snapshots.manifest import Snapshot
from backup.storage import Storage

PREFIX = "leases"
#: Seconds between two signs of life.
BEAT = 60.0
#: A lease whose process cannot be looked at counts for so long after its last sign of life, in ns.
EXPIRY_NS = 6 * 3600 * 1_000_000_000

#: A writer relies on all packs but those of the condemned notes that it has seen; a reader on what its
#: snapshots reach; a prune on being the only one.
Kind = Literal["writer", "reader", "prune"]


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """`seen` are condemned notes; `snapshots` are ids with the names of their root trees, in hex."""

    kind: Kind
    command: str
    process: Process
    since: str
    seen: list[str] = []
    snapshots: dict[SnapshotId, str] = {}

    def who(self) -> str:
        """For people: which process this is."""
        return f"{self.command} (process {self.process.pid} on {self.process.host})"

    def begun(self) -> float:
        """When it was taken, in seconds since 1970 by its process's clock; 0 where that is not told."""
        try:
            return datetime.fromisoformat(self.since).timestamp()
        except (ValueError, OverflowError):
            return 0.0

    def relies_on(self, note: str) -> bool:
        """Whether the process may count on packs that the note condemns, because it looked before."""
        return self.kind == "writer" and note not in self.seen


class HiddenLease(Lease, frozen=True, kw_only=True):
    """One that this user may not read: it may rely on everything."""

    def who(self) -> str:
        return f"{self.command} of another user, whose lease this one may not read"

    def relies_on(self, note: str) -> bool:
        return True


class HeldLease:
    """A lease of this process. Release it: what was written is no longer needed then, or a snapshot's."""

    def __init__(self, storage: Storage, lease: Lease) -> None:
        """Raises OSError."""
        #: The kind is in the name: it counts for those as well who may not read the rest.
        self.id = f"{secrets.token_hex(16)}.{lease.kind}"
        self.lease = lease
        self._storage = storage
        self._key = f"{PREFIX}/{self.id}"
        self._lock = threading.Lock()
        self._beaten = time.monotonic()
        self._released = threading.Event()
        self._put()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _put(self) -> None:
        self._storage.put(self._key, msgspec.json.encode(self.lease) + b"\n", durable=False)

    def stands(self) -> bool:
        """Whether nobody has taken it for a dead process's. True also renews it. Raises OSError."""
        self._beaten = time.monotonic()
        try:
            # Never written anew: a lease that was removed must not come back by itself.
            self._storage.touch(self._key)
        except FileNotFoundError:
            return False
        return True

    def beat(self) -> None:
        """Gives a sign of life where one is due."""
        if time.monotonic() - self._beaten > BEAT:
            with suppress(OSError):
                self.stands()

    def show(self, snapshots: Iterable[Snapshot]) -> None:
        """Adds snapshots. Whether they still stand is to be looked at afterwards. Raises OSError."""
        with self._lock:
            shown = self.lease.snapshots | {snapshot.id: snapshot.body.root for snapshot in snapshots}
            if shown != self.lease.snapshots and not self._released.is_set():
                self.lease = msgspec.structs.replace(self.lease, snapshots=shown)
                self._put()

    def time(self) -> int:
        """Now, in ns by the storage's clock. Raises OSError, FileNotFoundError where the lease is gone."""
        self._storage.touch(self._key)
        return self._storage.modified(self._key)

    def release(self) -> None:
        with self._lock:
            self._released.set()
            with suppress(OSError):
                self._storage.delete(self._key, durable=False)

    def keep_alive(self) -> None:
        """Gives signs of life from a thread of its own. Not for a process that is still to fork."""
        threading.Thread(target=self._beat_on, name="lease", daemon=True).start()

    def _beat_on(self) -> None:
        while not self._released.wait(BEAT):
            with self._lock, suppress(OSError):
                if not self._released.is_set() and not self.stands():
                    # It was suspended for hours, and its lease removed. What it shows may still be there.
                    self._put()


def take_lease(
    storage: Storage,
    kind: Kind,
    command: str,
    seen: Iterable[str] = (),
    snapshots: Iterable[Snapshot] = (),
) -> HeldLease:
    """Raises OSError where it cannot be written."""
    lease = Lease(
        kind=kind,
        command=command,
        process=this_process(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        seen=sorted(seen),
        snapshots={snapshot.id: snapshot.body.root for snapshot in snapshots},
    )
    return HeldLease(storage, lease)


def take_writer_lease(storage: Storage, command: str, snapshots: Iterable[Snapshot] = ()) -> HeldLease:
    """Look at what stands afterwards. Raises OSError where it cannot be written."""
    return take_lease(storage, "writer", command, condemned_notes(storage), snapshots)


def living_leases(storage: Storage, now: int) -> dict[str, Lease]:
    """Those whose process lives, or may: one that cannot be looked at has 6 hours from its last sign of life.

    `now` is in ns by the storage's clock.
    """
    return {each.id: each.lease for each in found_leases(storage, now) if each.lease and each.counts}


def remove_dead_leases(storage: Storage, now: int) -> dict[str, Lease]:
    """Removes the leases of processes that have ended; gives the others. Raises OSError."""
    living = {}
    for each in found_leases(storage, now):
        if each.lease and each.counts:
            living[each.id] = each.lease
        else:
            remove_lease(storage, each.id)
    return living


def remove_lease(storage: Storage, lease_id: str) -> None:
    with suppress(FileNotFoundError):
        storage.delete(f"{PREFIX}/{lease_id}")


class FoundLease(NamedTuple):
    """A lease as another process sees it. `lease` is None where its bytes tell nothing: leases are written
    whole, so the machine lost its power, and no process on it is left.

    `state`: whether its process is `running` or has `ended`; where this machine cannot tell, whether its last
    sign of life, `beaten` (ns by the storage's clock), is `recent` or the lease `expired`.
    """

    id: str
    lease: Lease | None
    beaten: int
    state: Literal["running", "ended", "recent", "expired"]

    @property
    def counts(self) -> bool:
        """Whether prune heeds it."""
        return self.state in ("running", "recent")


def found_leases(storage: Storage, now: int) -> Iterator[FoundLease]:
    """All that stand; `now` is in ns by the storage's clock."""
    for key, _ in storage.list(PREFIX):
        # One that goes meanwhile was given up.
        with suppress(FileNotFoundError):
            yield _look(storage, key, now)


def _look(storage: Storage, key: str, now: int) -> FoundLease:
    lease_id, beaten = key.rpartition("/")[2], storage.modified(key)
    try:
        lease = msgspec.json.decode(storage.read(key), type=Lease)
    except PermissionError:
        lease = _hidden(lease_id, beaten)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return FoundLease(lease_id, None, beaten, "ended")
    lives = lease.process.lives()
    if lives is not None:
        return FoundLease(lease_id, lease, beaten, "running" if lives else "ended")
    return FoundLease(lease_id, lease, beaten, "recent" if now - beaten <= EXPIRY_NS else "expired")


def _hidden(lease_id: str, beaten: int) -> HiddenLease:
    name = lease_id.rpartition(".")[2]
    kind: Kind = next((kind for kind in get_args(Kind) if kind == name), "writer")
    sign = datetime.fromtimestamp(beaten / 1e9, UTC).isoformat(timespec="seconds")
    return HiddenLease(kind=kind, command=f"a {kind}", process=Process("", 0, 0, "", ""), since=sign)
