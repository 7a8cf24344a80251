"""Carrying a plan out. Each step leaves a repository that the next repair goes on from, wherever it stops."""

from contextlib import suppress

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId
from backup.objects.pack import pack_key
from backup.objects.parity import mended_pack, pack_files, write_parity, write_parts
from backup.objects.segment import segment_key
from backup.ops.checking.report import Monitor
from backup.ops.rebuild_index import rebuild_index
from backup.ops.repairing.plan import Plan
from backup.repository import Repository, Writer
from backup.repository.forgotten import bury
from backup.repository.layout import QUARANTINE
from backup.repository.missing import write_missing
from backup.repository.segments import replace_segments
from backup.repository.writer import storing
from backup.snapshots.manifest import manifest_key


def carry_out(repository: Repository, plan: Plan, monitor: Monitor) -> set[ObjectId]:
    """Gives the objects whose bytes had gone when they were fetched. Raises `CannotStore`.

    What is sound is durable in new packs before a broken one is touched; what stays missing is noted before
    it could count as stored; and a broken pack is away before the segments that name it are.
    """
    _mend(repository, plan)
    written, gone = _store(repository, plan, monitor)
    # A pack of which all was sound is the same pack again, and stands in the place of the broken one.
    broken = plan.broken - written
    with storing():
        bury(repository.storage, plan.vanished)
        write_missing(repository.storage, plan.missing | gone)
        for pack in plan.packs:
            if pack.id in broken:
                for key in pack_files(pack.id):
                    with suppress(FileNotFoundError):
                        _move_aside(repository, key)
        replace_segments(repository, broken)
        for segment, _ in plan.segments:
            _move_aside(repository, segment_key(segment))
        _replace_manifests(repository, plan)
    # What a killed repair left: its segment was away, and the one in its place not there yet.
    unlisted = next(repository.lookup.unlisted_packs(), None) is not None
    if not plan.empty or unlisted:
        repository.index.drop_snapshots(plan.vanished)
        rebuild_index(repository)
    return gone


def _mend(repository: Repository, plan: Plan) -> None:
    """Packs in their own place, by their parity; then parity where it is missing."""
    storage, config = repository.storage, repository.config
    with storing():
        for pack in plan.mended:
            write_parts(storage, pack_key(pack), mended_pack(storage, pack, config.hash))
        for pack, size in plan.parity:
            write_parity(storage, pack, size, config.parity)


def _replace_manifests(repository: Repository, plan: Plan) -> None:
    for manifest in plan.manifests:
        if manifest.id is not None:
            repository.storage.put(manifest_key(manifest.id), manifest.data)
        if manifest.id is None or manifest.key != manifest_key(manifest.id):
            _move_aside(repository, manifest.key)


def _store(repository: Repository, plan: Plan, monitor: Monitor) -> tuple[set[PackId], set[ObjectId]]:
    """Stores what was saved and found. Gives the packs written, and the objects that had gone meanwhile."""
    gone: set[ObjectId] = set()
    saved = [(name, *found) for pack in plan.packs for name, found in pack.sound.items()]
    if not saved and not plan.remedies:
        return set(), gone
    monitor.step("objects", len(saved) + len(plan.remedies))
    writer = Writer(repository, "repair", without=plan.broken)
    try:
        for name, kind, place in saved:
            writer.save(name, bytes(repository.reader.read_at(name, place)), kind)
            monitor.advance(1)
        for name, remedy in plan.remedies.items():
            try:
                data = remedy.fetch()
            except (Damaged, OSError):
                data = b""
            if repository.name(data) == name:
                writer.save(name, data, remedy.kind)
            else:
                gone.add(name)
            monitor.advance(1)
        writer.finish()
    except BaseException:
        writer.discard()
        raise
    finally:
        writer.close()
    return writer.written, gone


def _move_aside(repository: Repository, key: str) -> None:
    repository.storage.move(key, f"{QUARANTINE}/{key}")
