"""Leases: whose process lives, and what becomes of those whose process does not."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from backup.model.process import Process, this_process
from backup.repository.condemned import condemn, condemned_notes, remove_note
from backup.repository.leases import (
    EXPIRY_NS,
    PREFIX,
    HeldLease,
    Kind,
    Lease,
    living_leases,
    remove_dead_leases,
    take_lease,
)
from backup.repository.strays import remove_strays
from backup.storage import LocalStorage, MemoryStorage

#: Prints which process it is.
TELL = """
import msgspec
from backup.model.process import this_process
print(msgspec.json.encode(this_process()).decode())
"""
#: Begins to write a file, tells its name, and ends.
STAGE = """
import os, sys
from pathlib import Path
from backup.storage import LocalStorage
LocalStorage(Path(sys.argv[1])).stage().append(b"some")
print(*[name for name in os.listdir(Path(sys.argv[1], "tmp")) if f".{os.getpid()}." in name])
"""
HOUR = 3600 * 10**9


class Clocked(MemoryStorage):
    """With a clock that a test sets, in ns."""

    def __init__(self) -> None:
        self.now = 1_000 * HOUR
        super().__init__(lambda: self.now)


@pytest.fixture
def storage() -> Clocked:
    return Clocked()


def lease_of(storage: Clocked, process: Process) -> str:
    lease = Lease(kind="writer", command="backup", process=process, since="2026-11-01T00:00:00+00:00")
    storage.put(f"{PREFIX}/aa", msgspec.json.encode(lease))
    return "aa"


def elsewhere() -> Process:
    return msgspec.structs.replace(this_process(), boot="another machine's")


def test_a_running_process_keeps_its_lease_however_old(storage: Clocked) -> None:
    held = take_lease(storage, "writer", "backup")
    storage.now += 1000 * HOUR
    assert set(living_leases(storage, storage.now)) == {held.id}


def test_a_lease_is_gone_when_it_is_released(storage: Clocked) -> None:
    with take_lease(storage, "writer", "backup"):
        assert len(living_leases(storage, storage.now)) == 1
    assert storage.files == {}


def test_a_process_that_has_ended_holds_nothing_at_once(storage: Clocked) -> None:
    ended = subprocess.run([sys.executable, "-c", TELL], stdout=subprocess.PIPE, check=True)
    lease_of(storage, msgspec.json.decode(ended.stdout, type=Process))
    assert living_leases(storage, storage.now) == {}


def test_a_later_process_of_the_same_number_is_another_one(storage: Clocked) -> None:
    lease_of(storage, msgspec.structs.replace(this_process(), start=1))
    assert living_leases(storage, storage.now) == {}


@pytest.mark.parametrize("field", ["boot", "namespace"])
def test_a_process_that_cannot_be_looked_at_is_believed_for_hours(storage: Clocked, field: str) -> None:
    name = lease_of(storage, msgspec.structs.replace(this_process(), **{field: "another"}, pid=1))
    assert set(living_leases(storage, storage.now + EXPIRY_NS)) == {name}
    assert living_leases(storage, storage.now + EXPIRY_NS + 1) == {}


def test_a_sign_of_life_counts_from_when_it_is_given(storage: Clocked) -> None:
    name = lease_of(storage, elsewhere())
    storage.now += 5 * HOUR
    storage.touch(f"{PREFIX}/{name}")
    assert set(living_leases(storage, storage.now + 5 * HOUR)) == {name}


@pytest.mark.parametrize("hours", [-1000, 1000])
def test_a_clock_that_is_wrong_ends_nobodys_lease(storage: Clocked, hours: int) -> None:
    """Ages are told by the storage's clock alone: `since` and the host's clock are for people."""
    process = elsewhere()
    lease = Lease(kind="writer", command="backup", process=process, since="1999-01-01T00:00:00+00:00")
    storage.now += hours * HOUR
    storage.put(f"{PREFIX}/aa", msgspec.json.encode(lease))
    with take_lease(storage, "prune", "prune") as own:
        assert "aa" in remove_dead_leases(storage, own.time())


def test_only_dead_leases_are_removed(storage: Clocked) -> None:
    held = take_lease(storage, "reader", "mount")
    lease_of(storage, msgspec.structs.replace(this_process(), start=1))
    storage.put(f"{PREFIX}/torn", b'{"kind": "wri')
    assert set(remove_dead_leases(storage, storage.now)) == {held.id}
    assert set(storage.files) == {f"{PREFIX}/{held.id}"}


def test_a_lease_that_was_removed_does_not_come_back_by_a_sign_of_life(storage: Clocked) -> None:
    held = take_lease(storage, "writer", "backup")
    assert held.stands()
    storage.delete(f"{PREFIX}/{held.id}")
    assert not held.stands()
    held.beat()
    assert storage.files == {}


def test_a_killed_process_that_waits_for_its_parent_is_dead(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = msgspec.structs.replace(this_process(), pid=child.pid)
    with open(f"/proc/{child.pid}/stat", "rb") as file:
        start = int(file.read().rpartition(b")")[2].split()[19])
    process = msgspec.structs.replace(process, start=start)
    assert process.lives()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.lives() is False
    child.wait()


def test_a_lease_takes_no_time(tmp_path: Path) -> None:
    """It is not synced: a mount takes one while somebody waits."""
    storage = LocalStorage(tmp_path)
    synced: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", synced.append)
        HeldLease(storage, Lease(kind="reader", command="mount", process=this_process(), since="")).release()
        first = len(synced)
        HeldLease(storage, Lease(kind="reader", command="mount", process=this_process(), since="")).release()
    assert len(synced) == first, "making directories is all that is synced"


def test_a_note_condemns_until_it_is_removed(storage: Clocked) -> None:
    from backup.model.ids import PackId

    packs = [PackId(bytes([number]) * 32) for number in range(3)]
    note = condemn(storage, packs)
    assert condemned_notes(storage) == {note: frozenset(packs)}
    condemn(storage, packs[:1], note)
    assert condemned_notes(storage) == {note: frozenset(packs[:1])}
    remove_note(storage, note)
    remove_note(storage, note)
    assert condemned_notes(storage) == {}


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"packs": ["xy"]}', b'{"packs": ["ab"]}', b"\xff"])
def test_a_note_that_is_none_condemns_nothing(storage: Clocked, data: bytes) -> None:
    storage.put("condemned/aa", data)
    assert condemned_notes(storage) == {"aa": frozenset()}


class Closed(Clocked):
    """Whose leases are another user's: they may be listed, not read."""

    closed = False
    age = 0

    def read(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        if self.closed:
            raise PermissionError(key)
        return super().read(key, offset, size)

    def modified(self, key: str) -> int:
        return self.now - self.age


@pytest.mark.parametrize("kind", ["writer", "reader", "prune"])
def test_a_lease_that_may_not_be_read_relies_on_everything_for_hours(kind: Kind) -> None:
    storage = Closed()
    held = take_lease(storage, kind, "backup", ["seen"])
    storage.closed, storage.age = True, EXPIRY_NS
    lease = living_leases(storage, storage.now)[held.id]
    assert (lease.kind, lease.relies_on("seen"), "another user" in lease.who()) == (kind, True, True)
    storage.age += 1
    assert remove_dead_leases(storage, storage.now) == {}
    assert storage.files == {}


def test_what_a_process_that_has_ended_was_writing_goes_at_once(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    mine = storage.stage()
    child = subprocess.run([sys.executable, "-c", STAGE, tmp_path], stdout=subprocess.PIPE, check=True)
    theirs = tmp_path / "tmp" / child.stdout.decode().strip()
    other = theirs.with_name(theirs.name[:-16] + "0" * 16)
    other.write_bytes(b"of another machine")
    unmarked = tmp_path / "tmp" / "of another program"
    unmarked.write_bytes(b"")
    remove_strays(storage, other.stat().st_mtime_ns)
    assert not theirs.exists()
    assert len(list((tmp_path / "tmp").iterdir())) == 3
    mine.publish("key")
    remove_strays(storage, other.stat().st_mtime_ns + EXPIRY_NS + HOUR)
    assert list((tmp_path / "tmp").iterdir()) == []
