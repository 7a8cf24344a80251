"""Segments, packs and the index: each against the other, and every byte where that is wanted."""

from collections.abc import Iterator

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId, SegmentId
from backup.objects.block import decode_block
from backup.objects.hashing import new_hasher
from backup.objects.pack import BlockRecord, PackRecord, pack_key, places
from backup.objects.reader import read_pack_footer
from backup.objects.segment import PREFIX as SEGMENTS
from backup.objects.segment import decode_segment, segment_key
from backup.ops.checking.report import Monitor, Report
from backup.repository import Repository

#: Read at a time when a pack is hashed.
PIECE = 4 << 20


def short(name: bytes) -> str:
    return name.hex()[:12]


def check_packs(repository: Repository, read_data: bool, report: Report, monitor: Monitor) -> None:
    """Finds damage in segments, packs and the index."""
    repository.examine_index()
    for text in repository.index_damage:
        report.found("index", text)
    stored = dict(repository.stored_packs())
    monitor.step("packs", sum(stored.values()) if read_data else len(stored))
    listed = set()
    for pack in _listed_packs(repository, report):
        if pack.id in listed:
            continue
        listed.add(pack.id)
        if _stands(pack, stored, report):
            _check_pack(repository, pack, read_data, report)
        monitor.advance(pack.size if read_data else 1)
    for pack_id, size in sorted(stored.items()):
        if pack_id not in listed:
            _check_unlisted(repository, pack_id, size, read_data, report)
            monitor.advance(size if read_data else 1)
    report.packs = len(stored)


def _listed_packs(repository: Repository, report: Report) -> Iterator[PackRecord]:
    for key, _ in repository.storage.list(SEGMENTS):
        try:
            segment = SegmentId(bytes.fromhex(key.rpartition("/")[2]))
        except ValueError:
            continue
        try:
            yield from decode_segment(repository.storage.read(segment_key(segment)), segment, repository.name)
        except (Damaged, OSError) as error:
            report.found(f"index segment {short(segment)}", str(error))


def _stands(pack: PackRecord, stored: dict[PackId, int], report: Report) -> bool:
    what = f"pack {short(pack.id)}"
    if pack.id not in stored:
        report.found(what, "the pack is missing", (name for name, _ in places(pack)))
        return False
    if stored[pack.id] != pack.size:
        gone = {
            name for name, place in places(pack) if place.block_offset + place.block_size > stored[pack.id]
        }
        report.found(what, f"the pack has {stored[pack.id]} bytes in place of {pack.size}", gone)
    return True


def _check_pack(repository: Repository, pack: PackRecord, read_data: bool, report: Report) -> None:
    what = f"pack {short(pack.id)}"
    report.objects += sum(len(block.objects) for block in pack.blocks)
    try:
        size = repository.storage.size(pack_key(pack.id))
        if size == pack.size and read_pack_footer(repository.storage, pack.id, size) != pack.blocks:
            report.found(what, "the footer does not say what the index segment says")
    except (Damaged, OSError) as error:
        report.found(what, str(error))
    if read_data and not _hashes_to_name(repository, pack.id, report):
        bad = _bad_objects(repository, pack.id, pack.blocks)
        report.found(what, "the pack does not hash to its name: its bytes have changed", bad)


def _hashes_to_name(repository: Repository, pack: PackId, report: Report) -> bool:
    hasher = new_hasher(repository.config.hash)
    offset = 0
    try:
        while piece := repository.storage.read(pack_key(pack), offset, PIECE):
            hasher.update(piece)
            offset += len(piece)
    except OSError:
        return False
    finally:
        report.bytes_read += offset
    return hasher.digest() == pack


def _bad_objects(repository: Repository, pack: PackId, blocks: tuple[BlockRecord, ...]) -> Iterator[ObjectId]:
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


def _check_unlisted(repository: Repository, pack: PackId, size: int, read_data: bool, report: Report) -> None:
    """No segment names it: a killed run's, unless a snapshot needs what it holds."""
    report.leftovers += 1
    if read_data:
        _hashes_to_name(repository, pack, report)
