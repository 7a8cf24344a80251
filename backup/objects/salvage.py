"""What a broken pack still holds: its blocks describe themselves, and its objects their own names."""

from collections.abc import Iterable, Iterator

from backup.model.errors import Damaged
from backup.model.ids import ObjectId, PackId
from backup.objects.block import HEADER_SIZE, MAGIC, BlockKind, decode_block, object_lengths, read_header
from backup.objects.hashing import NameOf
from backup.objects.pack import FILE_MAGIC, Place, pack_key
from backup.storage import Storage

#: Read at a time where the next block is searched for.
WINDOW = 1 << 20


def sound_objects(
    storage: Storage, pack: PackId, known: Iterable[int], name: NameOf
) -> Iterator[tuple[ObjectId, int, Place]]:
    """Every object that can be taken out of a pack, with the kind of its block and its place there.

    `known` are offsets at which a block should begin. A name is the hash of what was found: whether anybody
    ever stored these bytes, the caller has to know.
    """
    key, offset, offsets = pack_key(pack), len(FILE_MAGIC), sorted(set(known))
    while True:
        try:
            found = list(_block(storage, key, pack, offset, name))
        except Damaged:
            following = _following(storage, key, offset + 1, offsets)
            if following is None:
                return
            offset = following
            continue
        except OSError:
            # A part that the disk does not give any more: beyond it, only known offsets lead on.
            later = [at for at in offsets if at > offset]
            if not later:
                return
            offset = later[0]
            continue
        yield from found
        if not found:
            return
        offset = found[0][2].block_offset + found[0][2].block_size


def _block(
    storage: Storage, key: str, pack: PackId, offset: int, name: NameOf
) -> Iterator[tuple[ObjectId, int, Place]]:
    what = f"pack {pack.hex()[:12]}"
    header = read_header(storage.read(key, offset, HEADER_SIZE), what)
    if header.kind not in (BlockKind.DATA, BlockKind.TREE):
        return
    size = HEADER_SIZE + header.stored
    _, plain = decode_block(storage.read(key, offset, size), what)
    start, view = 0, memoryview(plain)
    for length in object_lengths(header, plain, what):
        place = Place(pack, offset, size, header.plain, header.codec, start, length)
        yield name(view[start : start + length]), header.kind, place
        start += length


def _following(storage: Storage, key: str, offset: int, known: list[int]) -> int | None:
    """Where the next block may begin: at a known offset, or where the bytes look like a block's first."""
    later = next((at for at in known if at >= offset), None)
    while later is None or offset < later:
        try:
            window = storage.read(key, offset, WINDOW + len(MAGIC) - 1)
        except OSError:
            return later
        at = window.find(MAGIC)
        if at >= 0 and (later is None or offset + at < later):
            return offset + at
        if len(window) < WINDOW:
            return later
        offset += WINDOW
    return later
