"""Segments, packs and the index: each against the other, and every byte where that is wanted."""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence, Set
from contextlib import suppress

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId
from backup.objects.block import decode_block
from backup.objects.pack import BlockRecord, PackRecord, pack_key
from backup.objects.reader import read_pack_footer
from backup.objects.segment import segment_key
from backup.ops.checking.reading import read_packs
from backup.ops.checking.report import Monitor, Report
from backup.repository import Repository


def short(name: bytes) -> str:
    return name.hex()[:12]


def check_packs(
    repository: Repository,
    condemned: Set[PackId],
    to_read: Sequence[PackId],
    report: Report,
    monitor: Monitor,
    sound: Callable[[PackId], None],
) -> None:
    """Finds damage in segments, packs and index. Reads the packs `to_read`; `sound` is told the good ones.

    Packs that are `condemned` may be deleted meanwhile, and are passed over.
    """
    repository.lookup.examine(repository.name)
    for text in repository.index_damage:
        report.found("index", text)
    wrong, unlisted = _structure(repository, condemned, report, monitor)
    stored = dict(repository.inventory.packs())
    monitor.step("data", sum(stored.get(pack, 0) for pack in to_read))
    for read in read_packs(repository, (pack for pack in to_read if pack in stored), monitor.advance):
        report.bytes_read += read.bytes
        if read.wrong:
            wrong.setdefault(read.pack, read.wrong)
        else:
            sound(read.pack)
    _tell(repository, wrong, unlisted, report)


def _structure(
    repository: Repository, condemned: Set[PackId], report: Report, monitor: Monitor
) -> tuple[dict[PackId, str], list[PackId]]:
    """What is wrong with packs as far as size and footer tell, and the packs that no segment lists."""
    stored = {pack: size for pack, size in repository.inventory.packs() if pack not in condemned}
    report.packs = len(stored)
    monitor.step("packs", len(stored))
    wrong: dict[PackId, str] = {}
    listed: set[PackId] = set(condemned)
    for pack in _listed_packs(repository, report):
        if pack.id not in listed:
            listed.add(pack.id)
            report.objects += sum(len(block.objects) for block in pack.blocks)
            if reason := _wrong_structure(repository, pack):
                wrong[pack.id] = reason
            monitor.advance(1)
    unlisted = sorted(stored.keys() - listed)
    report.leftovers = len(unlisted)
    return wrong, unlisted


def _listed_packs(repository: Repository, report: Report | None = None) -> Iterator[PackRecord]:
    for segment in repository.inventory.segments():
        try:
            packs = repository.inventory.read_segment(segment)
        except FileNotFoundError:
            continue
        except (Damaged, OSError) as error:
            if report is not None:
                report.found(f"index segment {short(segment)}", str(error))
            continue
        for pack in packs:
            # A prune takes a segment away before its packs.
            if _stands(repository, pack_key(pack.id)) or _stands(repository, segment_key(segment)):
                yield pack


def _stands(repository: Repository, key: str) -> bool:
    try:
        repository.storage.size(key)
    except OSError:
        return False
    return True


def _wrong_structure(repository: Repository, pack: PackRecord) -> str:
    try:
        size = repository.storage.size(pack_key(pack.id))
        if size != pack.size:
            return f"the pack has {size} bytes in place of {pack.size}"
        if read_pack_footer(repository.storage, pack.id, size) != pack.blocks:
            return "the footer does not say what the index segment says"
    except FileNotFoundError:
        return "the pack is missing"
    except (Damaged, OSError) as error:
        return str(error)
    return ""


def _tell(repository: Repository, wrong: dict[PackId, str], unlisted: list[PackId], report: Report) -> None:
    """One piece of damage for each pack, with the objects that no sound pack has instead."""
    if not wrong:
        return
    for pack in _described(repository, wrong, unlisted):
        reason = wrong.pop(pack.id, None)
        if reason is not None:
            bad = (
                name
                for name in _bad_objects(repository, pack.id, pack.blocks)
                if not _readable(repository, name)
            )
            report.found(f"pack {short(pack.id)}", reason, bad)
            report.leftovers -= pack.id in unlisted
    for lost, reason in wrong.items():
        report.found(f"pack {short(lost)}", f"{reason}, and nothing tells what it held")
        report.leftovers -= lost in unlisted


def _described(
    repository: Repository, wrong: Container[PackId], unlisted: Iterable[PackId]
) -> Iterator[PackRecord]:
    """Those of the packs that a segment or their own footer describes; some may come more than once."""
    for pack in _listed_packs(repository):
        if pack.id in wrong:
            yield pack
    for pack_id in unlisted:
        if pack_id in wrong:
            with suppress(Damaged, OSError):
                size = repository.storage.size(pack_key(pack_id))
                yield PackRecord(pack_id, size, read_pack_footer(repository.storage, pack_id, size))


def _readable(repository: Repository, name: ObjectId) -> bool:
    """Whether the object can be read all the same: from another pack, or mended from parity."""
    try:
        repository.reader.read(name)
    except (Damaged, OSError):
        return False
    return True


def _bad_objects(repository: Repository, pack: PackId, blocks: Iterable[BlockRecord]) -> Iterator[ObjectId]:
    for block in blocks:
        try:
            data = repository.storage.read(pack_key(pack), block.offset, block.size)
            plain = memoryview(decode_block(data, short(pack))[1])
        except (Damaged, OSError):
            yield from (name for name, _ in block.objects)
            continue
        start = 0
        for name, length in block.objects:
            if repository.name(plain[start : start + length]) != name:
                yield name
            start += length
