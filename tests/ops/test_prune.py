"""Pruning: what goes, what stays, and what every other process may rely on meanwhile."""

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backup.model.errors import Damaged, ImbfsError, RepositoryBusy
from backup.model.ids import ObjectId, SnapshotId
from backup.model.process import this_process
from backup.ops.check import check
from backup.ops.prune import Plan, PruneOptions, PruneSummary, prune
from backup.repository import Repository, Writer
from backup.repository.condemned import condemned_notes
from backup.repository.leases import take_lease
from backup.repository.segments import replace_segments
from backup.snapshots.manifest import Labels, manifest_key
from backup.snapshots.tree import STAT, Row
from backup.snapshots.tree_writer import write_tree
from tests.repository.stored import MIB, Opened, Silent, back_up, body_of, make, noise, snapshot_of
from tests.snapshots.rows import no_name, plain_row


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    made = make(tmp_path)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_pack_is_young(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """As if all had been written long before the backups that run."""
    if "has_written_so_far" not in request.node.name:
        monkeypatch.setattr("backup.ops.prune.CLOCKS", -3600)


class Listener(Silent):
    """A monitor that keeps the plan."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: list[Plan] = []

    def plan(self, plan: Plan) -> None:
        self.plans.append(plan)


def run(opened: Opened, max_unused: float = 0.0, dry_run: bool = False) -> PruneSummary:
    return prune(opened.repository, PruneOptions(max_unused, dry_run), Listener())


def snapshot(opened: Opened, *data: bytes, tree: int = 0) -> SnapshotId:
    """A backup of a directory with these files."""
    source = opened.path.parent / f"source-{tree}"
    source.mkdir(exist_ok=True)
    for old in source.iterdir():
        old.unlink()
    for number, piece in enumerate(data):
        (source / f"file-{number}").write_bytes(piece)
    made = back_up(opened.repository, source).snapshot
    assert made is not None
    return made


def forget(opened: Opened, *snapshots: SnapshotId) -> None:
    opened.repository.index.drop_snapshots(snapshots)
    for each in snapshots:
        opened.repository.storage.delete(manifest_key(each))


def require_sound(opened: Opened) -> None:
    report = check(opened.reopen(), True, Silent())
    assert [(each.what, each.text) for each in report.damage] == []


def names(opened: Opened) -> set[str]:
    return {path.name for part in ("packs", "index") for path in opened.files(part)}


# What goes and what stays


def test_nothing_goes_while_snapshots_need_it(opened: Opened) -> None:
    snapshot(opened, noise(1), b"small")
    before = names(opened)
    summary = run(opened)
    assert (summary.packs_removed, summary.plan.objects_removed) == (0, 0)
    assert names(opened) == before


def test_what_only_a_forgotten_snapshot_had_goes(opened: Opened) -> None:
    kept = snapshot(opened, noise(1), b"small")
    gone = snapshot(opened, noise(2), b"another", tree=1)
    forget(opened, gone)
    summary = run(opened)
    assert summary.packs_removed > 0
    assert summary.plan.bytes_plain > MIB
    assert opened.repository.catalogue.ids() == [kept]
    require_sound(opened)
    assert opened.repository.lookup.place(opened.repository.name(noise(2))) is None
    assert opened.read(opened.repository.name(noise(1))) == noise(1)


def test_with_no_snapshot_left_nothing_stays(opened: Opened) -> None:
    forget(opened, snapshot(opened, noise(1), b"small"))
    run(opened)
    assert opened.files("packs") + opened.files("index") == []
    assert opened.files("leases") + opened.files("condemned") == []
    require_sound(opened)


def test_a_pack_that_is_needed_in_part_is_repacked(opened: Opened) -> None:
    """Two files end up in one block, and so in one pack."""
    small = [random.Random(number).randbytes(1000) for number in range(20)]
    first = snapshot(opened, *small)
    snapshot(opened, *small[:5])
    forget(opened, first)
    summary = run(opened)
    assert len(summary.plan.repacked) > 0
    require_sound(opened)
    assert [opened.read(opened.repository.name(piece)) for piece in small[:5]] == small[:5]
    assert opened.repository.lookup.place(opened.repository.name(small[10])) is None


def test_a_pack_that_is_mostly_needed_stays_where_that_is_permitted(opened: Opened) -> None:
    small = [random.Random(number).randbytes(1000) for number in range(20)]
    first = snapshot(opened, *small)
    snapshot(opened, *small[:19])
    forget(opened, first)
    summary = run(opened, max_unused=0.5)
    assert summary.plan.repacked == []
    assert summary.plan.unused_left > 0
    require_sound(opened)


def test_a_dry_run_tells_the_very_plan_and_changes_nothing(opened: Opened) -> None:
    first = snapshot(opened, *[random.Random(number).randbytes(1000) for number in range(20)])
    snapshot(opened, random.Random(1).randbytes(1000))
    forget(opened, first)
    before = sorted(str(path) for path in opened.path.rglob("*"))
    dry = run(opened, dry_run=True)
    assert sorted(str(path) for path in opened.path.rglob("*")) == before
    assert run(opened).plan == dry.plan


def test_a_second_prune_has_nothing_to_do(opened: Opened) -> None:
    first = snapshot(opened, *[random.Random(number).randbytes(1000) for number in range(20)])
    snapshot(opened, random.Random(1).randbytes(1000))
    forget(opened, first)
    run(opened)
    before = names(opened)
    again = run(opened)
    assert (again.plan.going, again.packs_removed) == ([], 0)
    assert names(opened) == before


def test_an_object_in_two_packs_stays_in_one(opened: Opened) -> None:
    """Two backups that run at once both store what is new."""
    one, two = Writer(opened.repository), Writer(opened.repository)
    for writer in (one, two):
        writer.store(noise(3))
    two.store(noise(4))
    two.finish()
    snapshot_of(one, opened.repository, [])
    snapshot_of(two, opened.repository, [])
    for writer in (one, two):
        writer.close()
    snapshot(opened, noise(3))
    run(opened)
    require_sound(opened)
    assert opened.read(opened.repository.name(noise(3))) == noise(3)
    sizes = [path.stat().st_size for path in opened.files("packs")]
    assert len([size for size in sizes if size > MIB]) == 1


def test_of_two_copies_the_one_whose_bytes_have_changed_goes(opened: Opened) -> None:
    one, two = Writer(opened.repository), Writer(opened.repository)
    data = noise(3, 300_000)
    for writer in (one, two):
        writer.store(data)
    two.store(noise(4, 300_000))
    two.finish()
    snapshot_of(one, opened.repository, [])
    snapshot_of(two, opened.repository, [])
    for writer in (one, two):
        writer.close()
    snapshot(opened, data)
    alone = next(path for path in opened.files("packs") if 300_000 < path.stat().st_size < 500_000)
    alone.chmod(0o600)
    with alone.open("r+b") as file:
        file.seek(5000)
        file.write(b"changed")
    run(opened)
    opened.reopen()
    assert opened.read(opened.repository.name(data)) == data
    require_sound(opened)


def test_where_all_copies_are_damaged_each_of_them_stays(opened: Opened) -> None:
    """Any of them may be the one that parity mends, or that reads well on another day."""
    one, two = Writer(opened.repository), Writer(opened.repository)
    data = noise(3, 300_000)
    for writer in (one, two):
        writer.store(data)
    two.store(noise(4, 300_000))
    two.finish()
    snapshot_of(one, opened.repository, [])
    snapshot_of(two, opened.repository, [])
    for writer in (one, two):
        writer.close()
    snapshot(opened, data)
    copies = [path for path in opened.files("packs") if path.stat().st_size > 300_000]
    held = {path: path.read_bytes() for path in copies}
    assert len(copies) == 2
    for path, plain in held.items():
        at = plain.index(data[150_000:150_100])
        path.chmod(0o600)
        path.write_bytes(plain[:at] + b"changed" + plain[at + 7 :])
    opened.reopen()
    run(opened)
    assert all(path.exists() for path in copies)
    for healed in copies:
        for path in copies:
            path.write_bytes(held[path] if path == healed else b"damaged")
        assert opened.reopen().reader.read(opened.repository.name(data)) == data


def test_where_a_manifest_vanished_nothing_is_pruned_until_it_is_forgotten(opened: Opened) -> None:
    gone = snapshot(opened, noise(1))
    snapshot(opened, noise(2))
    (path,) = [path for path in opened.files("snapshots") if path.name == gone]
    held = path.read_bytes()
    path.unlink()
    before = opened.files("packs")
    for dry_run in (True, False):
        with pytest.raises(Damaged, match=f"{gone[:12]} has vanished"):
            run(opened, dry_run=dry_run)
    assert opened.files("packs") == before
    path.write_bytes(held)
    run(opened)
    require_sound(opened)
    forget(opened, gone)
    assert run(opened).packs_removed
    require_sound(opened)


def test_unlisted_packs_that_a_killed_backup_left_go(opened: Opened) -> None:
    snapshot(opened, b"kept")
    writer = Writer(opened.repository)
    writer.store(noise(5))
    writer.close()
    for segment in opened.files("index")[1:]:
        segment.unlink()
    run(opened)
    assert len(opened.files("packs")) == 2
    require_sound(opened)


def test_unlisted_packs_that_a_snapshot_needs_are_listed(opened: Opened) -> None:
    snapshot(opened, noise(1))
    for segment in opened.files("index"):
        segment.unlink()
    opened.reopen()
    run(opened)
    assert len(opened.files("index")) == 1
    require_sound(opened)


def test_where_segments_cannot_be_replaced_for_want_of_space_packs_go_all_the_same(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment lists what goes and what is needed."""
    first = snapshot(opened, noise(1))
    snapshot(opened, noise(1), noise(2))
    forget(opened, first)

    before = len(opened.files("packs"))

    def full_until_they_have_gone(*arguments: Any) -> None:
        if len(opened.files("packs")) == before:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        require_sound(Opened(opened.path, opened.cache))
        replace_segments(*arguments)

    monkeypatch.setattr("backup.ops.pruning.sweep.replace_segments", full_until_they_have_gone)
    assert run(opened, max_unused=1.0).packs_removed == 1
    assert opened.files("condemned") == []
    require_sound(opened)
    assert opened.read(opened.repository.name(noise(1))) == noise(1)


# Damage


def test_where_a_tree_is_missing_nothing_is_pruned(opened: Opened) -> None:
    kept = snapshot(opened, b"kept")
    forget(opened, snapshot(opened, noise(2), tree=1))
    root = opened.repository.catalogue.read(kept).root
    place = opened.repository.lookup.place(root)
    assert place is not None
    next(path for path in opened.files("packs") if path.name == place.pack.hex()).unlink()
    opened.reopen()
    before = names(opened)
    with pytest.raises(Damaged, match="nothing was pruned"):
        run(opened)
    assert names(opened) == before


def test_where_a_manifest_is_damaged_nothing_is_pruned(opened: Opened) -> None:
    snapshot(opened, noise(1))
    manifest = opened.files("snapshots")[0]
    manifest.chmod(0o600)
    manifest.write_bytes(b"not one")
    before = names(opened)
    with pytest.raises(Damaged, match="nothing was pruned"):
        run(opened)
    assert names(opened) == before


def test_a_chunk_that_is_missing_is_told_and_the_rest_is_pruned(opened: Opened) -> None:
    snapshot(opened, noise(1), noise(2))
    forget(opened, snapshot(opened, noise(3), tree=1))
    place = opened.repository.lookup.place(opened.repository.name(noise(1)))
    assert place is not None
    next(path for path in opened.files("packs") if path.name == place.pack.hex()).unlink()
    opened.reopen()
    summary = run(opened)
    assert (summary.chunks_missing, summary.packs_removed > 0) == (1, True)


def test_a_pack_with_a_damaged_block_is_not_repacked(opened: Opened) -> None:
    small = [random.Random(number).randbytes(1000) for number in range(20)]
    first = snapshot(opened, *small)
    snapshot(opened, *small[:5])
    forget(opened, first)
    place = opened.repository.lookup.place(opened.repository.name(small[0]))
    assert place is not None
    pack = next(path for path in opened.files("packs") if path.name == place.pack.hex())
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[place.block_offset + 100] ^= 1
    pack.write_bytes(data)
    opened.reopen()
    listener = Listener()
    prune(opened.repository, PruneOptions(0.0), listener)
    assert pack.exists()
    assert any("stays" in notice for notice in listener.notices)


# Neighbours


def test_two_prunes_do_not_run_at_once(opened: Opened) -> None:
    with (
        take_lease(opened.repository.storage, "prune", "prune"),
        pytest.raises(RepositoryBusy, match=f"process {os.getpid()}"),
    ):
        run(opened)
    run(opened)


def test_the_lease_of_a_prune_that_was_killed_stops_nobody(opened: Opened) -> None:
    held = take_lease(opened.repository.storage, "prune", "prune")
    dead = msgspec.structs.replace(held.lease, process=msgspec.structs.replace(this_process(), start=1))
    opened.repository.storage.put(f"leases/{held.id}", msgspec.json.encode(dead))
    run(opened)
    assert opened.files("leases") == []


def test_what_a_running_backup_found_stored_waits_for_its_end(opened: Opened) -> None:
    old = snapshot(opened, noise(1))
    writer = Writer(opened.repository)
    assert writer.has(opened.repository.name(noise(1)))
    forget(opened, old)
    summary = run(opened)
    assert (summary.packs_removed, summary.packs_waiting > 0) == (0, True)
    assert f"process {os.getpid()}" in summary.waiting_for[0]
    writer.close()
    assert run(opened).packs_removed > 0
    assert opened.files("packs") == []


def test_what_a_running_backup_used_again_is_rescued(opened: Opened) -> None:
    """It had looked before it was condemned, and its snapshot came after."""
    old = snapshot(opened, noise(1))
    writer = Writer(opened.repository)
    writer.store(noise(1))
    forget(opened, old)
    assert run(opened).packs_waiting > 0
    tree_with(opened, writer, noise(1))
    writer.close()
    run(opened)
    assert condemned_notes(opened.repository.storage) == {}
    require_sound(opened)
    assert opened.read(opened.repository.name(noise(1))) == noise(1)


def test_a_backup_that_begins_later_does_not_use_what_is_condemned(opened: Opened) -> None:
    old = snapshot(opened, noise(1))
    early = Writer(opened.repository)
    forget(opened, old)
    run(opened)
    late = Writer(opened.repository)
    assert not late.has(opened.repository.name(noise(1)))
    tree_with(opened, late, noise(1))
    early.close()
    assert run(opened).packs_removed > 0, "nobody waits for one that has seen it"
    late.close()
    require_sound(opened)
    assert opened.read(opened.repository.name(noise(1))) == noise(1)


def test_a_pack_never_gets_the_name_of_a_condemned_one(opened: Opened) -> None:
    """The same bytes make the same pack, and the sweep would delete it."""
    old = snapshot(opened, noise(1))
    condemned = names(opened)
    early = Writer(opened.repository)
    forget(opened, old)
    run(opened)
    snapshot(opened, noise(1))
    early.close()
    run(opened)
    assert condemned.isdisjoint(path.name for path in opened.files("packs"))
    require_sound(opened)


def test_what_a_mount_shows_stays_though_it_is_forgotten(opened: Opened) -> None:
    shown = snapshot(opened, noise(1))
    storage = opened.repository.storage
    with take_lease(storage, "reader", "mount", snapshots=[opened.repository.catalogue.read(shown)]):
        forget(opened, shown)
        assert run(opened).packs_removed == 0
        assert opened.read(opened.repository.name(noise(1))) == noise(1)
    assert run(opened).packs_removed > 0


def test_what_a_running_backup_has_written_so_far_is_not_condemned(opened: Opened) -> None:
    writer = Writer(opened.repository)
    writer.store(noise(1))
    writer.finish()
    summary = run(opened)
    assert (summary.packs_removed, summary.packs_waiting) == (0, 0)
    tree_with(opened, writer, noise(1))
    writer.close()
    require_sound(opened)


def test_a_backup_whose_lease_was_taken_away_stores_again_what_was_pruned(opened: Opened) -> None:
    """It was suspended for hours on another machine, and taken for dead."""
    old = snapshot(opened, noise(1))
    writer = Writer(opened.repository)
    root = tree_of(writer, opened.repository, writer.store(noise(1)))
    for lease in opened.files("leases"):
        lease.unlink()
    commit(opened, writer, root)
    writer.close()
    forget(opened, old)
    run(opened)
    require_sound(opened)
    assert opened.read(opened.repository.name(noise(1))) == noise(1)


def test_a_backup_whose_lease_was_taken_away_fails_where_what_it_found_stored_has_gone(
    opened: Opened,
) -> None:
    old = snapshot(opened, noise(1))
    writer = Writer(opened.repository)
    root = tree_of(writer, opened.repository, writer.store(noise(1)))
    for lease in opened.files("leases"):
        lease.unlink()
    forget(opened, old)
    other = Opened(opened.path, opened.cache)
    prune(other.repository, PruneOptions(0.0), Listener())
    other.close()
    with pytest.raises(ImbfsError, match="run it again"):
        commit(opened, writer, root)
    writer.close()
    assert opened.repository.catalogue.ids() == []


def tree_of(writer: Writer, repository: Repository, chunk: ObjectId) -> ObjectId:
    """The root of a directory with one file of that chunk."""
    row = Row(b"file", STAT.pack(0o100644, 0, 0, 1, MIB, 1, 1, 0, 0, 7, 0), chunk, b"", 0, 0)
    inner = write_tree([row], writer.store_tree, no_name, no_name)
    return write_tree([plain_row(b".", 0o040755, object=inner)], writer.store_tree, no_name, no_name)


def commit(opened: Opened, writer: Writer, root: ObjectId) -> None:
    writer.finish()
    writer.commit(body_of(opened.repository, root), Labels())


def tree_with(opened: Opened, writer: Writer, data: bytes) -> None:
    """Commits a snapshot of one file."""
    commit(opened, writer, tree_of(writer, opened.repository, writer.store(data)))


def test_a_reader_whose_index_is_of_before_finds_what_was_repacked(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount on another machine, whose index nobody has told."""
    small = [random.Random(number).randbytes(1000) for number in range(20)]
    first = snapshot(opened, *small)
    kept = snapshot(opened, *small[:5])
    monkeypatch.setattr(
        "backup.repository.repository.index_paths", lambda *_: [opened.cache / "other" / "index.lmdb"]
    )
    other = Opened(opened.path, opened.cache)
    root = other.repository.catalogue.read(kept).root
    forget(opened, first)
    assert len(run(opened).plan.repacked) > 0
    assert [other.read(other.repository.name(piece)) for piece in small[:5]] == small[:5]
    assert other.repository.tree(root)
    assert other.notices == []
    other.close()


def test_a_check_beside_a_prune_finds_no_damage_and_nothing_goes_from_under_it(opened: Opened) -> None:
    forget(opened, snapshot(opened, noise(1)))
    during: list[PruneSummary] = []

    class Pruning(Silent):
        def step(self, text: str, total: int) -> None:
            if not during:
                during.append(run(opened))

    report = check(opened.repository, True, Pruning())
    assert [(each.what, each.text) for each in report.damage] == []
    assert (during[0].packs_removed, during[0].packs_waiting > 0) == (0, True)
    assert run(opened).packs_removed > 0
