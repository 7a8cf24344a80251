"""Carrying a plan out. Each step leaves a repository that the next repair goes on from, wherever it stops."""

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId, SegmentId
from backup.objects.pack import pack_key
from backup.objects.segment import encode_segment, segment_key
from backup.ops.checking.report import Monitor
from backup.ops.rebuild_index import rebuild_index
from backup.ops.repairing.plan import Plan
from backup.repository import Repository, Writer
from backup.repository.missing import write_missing
from backup.repository.repository import QUARANTINE
from backup.repository.writer import SEGMENT_PACKS, storing
from backup.snapshots.manifest import manifest_key


def carry_out(repository: Repository, plan: Plan, monitor: Monitor) -> set[ObjectId]:
    """Gives the objects whose bytes had gone when they were fetched. Raises `CannotStore`.

    What is sound is durable in new packs before a broken one is touched; what stays missing is noted before
    it could count as stored; and a broken pack is away before the segments that name it are.
    """
    written, gone = _store(repository, plan, monitor)
    # A pack of which all was sound is the same pack again, and stands in the place of the broken one.
    broken = plan.broken - written
    with storing():
        write_missing(repository.storage, plan.missing | gone)
        for pack in plan.packs:
            if pack.id in broken and not pack.missing:
                _move_aside(repository, pack_key(pack.id))
        _replace_segments(repository, plan, broken)
        _replace_manifests(repository, plan)
    if not plan.empty:
        repository.index.drop_snapshots(plan.vanished)
        rebuild_index(repository)
    return gone


def _replace_segments(repository: Repository, plan: Plan, broken: set[PackId]) -> None:
    storage = repository.storage
    outdated = [name for name, packs in plan.outdated.items() if any(pack.id in broken for pack in packs)]
    sound = [pack for name in outdated for pack in plan.outdated[name] if pack.id not in broken]
    for start in range(0, len(sound), SEGMENT_PACKS):
        data = encode_segment(sound[start : start + SEGMENT_PACKS], repository.config.compression)
        storage.put(segment_key(SegmentId(repository.name(data))), data)
    for segment in outdated:
        storage.delete(segment_key(segment))
    for segment, _ in plan.segments:
        _move_aside(repository, segment_key(segment))


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
