"""The decoders, each as a function of bytes: it ends, or raises an error of ours, whatever the bytes are.

Where a decoder checks a hash first, the target makes one that fits: whoever writes a repository can, too.
"""

import os
import stat
import struct
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from backup.model.duration import parse_duration
from backup.model.ids import NO_OBJECT, ObjectId, PackId, SegmentId, SnapshotId
from backup.model.selector import parse_target
from backup.objects.block import MAX_PLAIN, decode_block, object_lengths
from backup.objects.hashing import Data
from backup.objects.pack import PackRecord, decode_footer, places, read_footer
from backup.objects.segment import FILE_MAGIC, decode_segment
from backup.repository.condemned import condemned_notes
from backup.repository.config import Config, decode_config, encode_config
from backup.repository.leases import found_leases
from backup.snapshots.catalogue import time_of
from backup.snapshots.directory import Directory, decode_entry, lists_of
from backup.snapshots.extents import EXTENT, decode_content
from backup.snapshots.manifest import Snapshot, decode_manifest
from backup.snapshots.tree import Page, decode_xattrs, extra_fields
from backup.source.gitignore import parse_lines
from backup.source.patterns import PatternList
from backup.storage import MemoryStorage
from fusefs.device import Device
from fusefs.pages import Pages
from fusefs.requests import Requests
from fusefs.workers import Workers
from tests.fusefs.sample import DIRECTORY, FILE, Bytes, Sample

Target = Callable[[bytes], object]

_NAME = ObjectId(b"n" * 32)
_NOW = datetime(2026, 11, 1, tzinfo=UTC)


def _any_name(data: Data) -> ObjectId:
    """Names everything alike: so every hash fits."""
    return _NAME


def block(data: bytes) -> None:
    header, plain = decode_block(data, "block")
    assert len(plain) == header.plain <= MAX_PLAIN
    lengths = object_lengths(header, plain, "block")
    assert len(lengths) == header.count
    assert sum(lengths) <= len(plain)


def pack(data: bytes) -> None:
    """A pack from its end, as a reader meets it."""
    blocks = read_footer(data, len(data), "pack")
    if not isinstance(blocks, int):
        assert all(record.offset + record.size <= len(data) for record in blocks)


def footer(data: bytes) -> None:
    for size in (len(data), 1 << 20, 1 << 40):
        for _, place in places(PackRecord(PackId(_NAME), size, decode_footer(data, size, "footer"))):
            assert place.offset + place.length <= place.plain <= MAX_PLAIN
            assert place.block_offset + place.block_size <= size


def segment(data: bytes) -> None:
    decode_segment(FILE_MAGIC + data, SegmentId(_NAME), _any_name)


def manifest(data: bytes) -> None:
    """The body and labels of a manifest: two lines."""
    lines = data + b"\n" + _NAME.hex().encode() + b"\n"
    _use(decode_manifest(lines, SnapshotId(_NAME.hex()), _any_name))


def _use(snapshot: Snapshot) -> None:
    assert len(snapshot.root) == 32
    assert snapshot.top
    assert time_of(snapshot).tzinfo is not None
    assert all(path for path in snapshot.paths)


def config(data: bytes) -> None:
    decode_config(_with_check(data))


def _with_check(data: bytes) -> bytes:
    """The same config with a check that fits, where it is a config at all."""
    try:
        return encode_config(msgspec.json.decode(data, type=Config))
    except (msgspec.MsgspecError, ValueError):
        return data


def page(data: bytes) -> None:
    """A tree, each entry of it, and all that an entry tells. Trees that it names are this one again."""
    directory = Directory(_NAME, lambda name: data)
    for part in directory.pages():
        for position in range(len(part)):
            lists_of(part, position)
            decode_entry(part, position, None)
            part.row(position)
    names = [entry.name for entry in directory.entries()]
    assert names == sorted(set(names))
    assert not {b"", b".", b".."} & set(names)
    assert not any(b"/" in name or b"\0" in name for name in names)
    assert all(directory.find(name) == position for position, name in enumerate(names))


def root(data: bytes) -> None:
    Directory(_NAME, lambda name: data, root=True).entry(0)


def branch(data: bytes) -> None:
    """The first two bytes say where the branch ends, and the one page begins that it names."""
    end = 2 + int.from_bytes(data[:2], "little")
    parts = iter([data[2:end]])
    directory = Directory(_NAME, lambda name: next(parts, data[end:]))
    for part in directory.pages():
        assert part.names
    for _ in directory.entries():
        pass


def content(data: bytes) -> None:
    """A size, then an extra that says what the file holds; a list that it names is what it ends in."""
    size, rest = int.from_bytes(data[:8], "little"), data[8:]
    fields = dict(extra_fields(rest))
    at = 0
    for extent in decode_content(size, NO_OBJECT, fields, lambda name: rest[-2 * EXTENT.size :]):
        assert at < extent.end <= size
        at = extent.end


def xattrs(data: bytes) -> None:
    decode_xattrs(memoryview(data))


def owners(data: bytes) -> None:
    """The owners of a page without entries."""
    head = struct.pack("<4sB3xIIII", b"ITRE", 0, 0, 0, 0, len(data))
    users, groups = Page(head + data).owner_names
    for name in (*users.values(), *groups.values()):
        name.encode("utf-8", "surrogateescape")


def selector(data: bytes) -> None:
    parse_target(os.fsdecode(data), _NOW)


def duration(data: bytes) -> None:
    assert parse_duration(os.fsdecode(data)).before(_NOW) <= _NOW


def patterns(data: bytes) -> None:
    """An ignore file, asked about some names."""
    found = PatternList(parse_lines(data, "file", lambda text: None))
    for name in ("a", "a" * 100, os.fsdecode(data[:60]).replace("/", "_")):
        for directory in ("", "a/b/", "a/" * 50):
            found.last(name, [directory], False)


def lease(data: bytes) -> None:
    """As prune and `leases` meet it."""
    storage = MemoryStorage()
    storage.put("leases/name", data)
    for found in found_leases(storage, 0):
        if found.lease is not None:
            assert found.lease.who()
            assert found.lease.begun() < 1e12
            found.lease.relies_on("note")


def condemned(data: bytes) -> None:
    storage = MemoryStorage()
    storage.put("condemned/name", data)
    for packs in condemned_notes(storage).values():
        assert all(len(pack) == 32 for pack in packs)


class _Nowhere(Device):
    """Takes replies in the kernel's place: one for each request, at the most."""

    def __init__(self) -> None:
        self.replies = 0

    def reply(self, unique: int, payload: bytes | memoryview) -> None:
        assert memoryview(payload).contiguous
        self.replies += 1

    def refuse(self, unique: int, number: int) -> None:
        assert 0 < number < 4096
        self.replies += 1


def _view() -> Sample:
    view = Sample()
    view.add(1, b"small", FILE, Bytes(b"small content"))
    view.add(1, b"link", stat.S_IFLNK | 0o777, target=b"small")
    view.add(1, b"xattrs", FILE, Bytes(b""), xattrs={b"user.one": b"value"})
    inner = view.add(1, b"directory", DIRECTORY)
    for number in range(20):
        view.add(inner, b"%d" % number, FILE, Bytes(b"x"))
    return view


def requests(data: bytes) -> None:
    """Several requests one after the other: each is preceded by its length in one byte."""
    device = _Nowhere()
    handled = Requests(_view(), device, Workers(), Pages(device, lambda: None))
    while data:
        length, data = data[0], data[1:]
        request, data = data[:length], data[length:]
        before = device.replies
        handled.answer(memoryview(request))
        assert device.replies - before <= 1


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        block, pack, footer, segment, manifest, config, page, root, branch, content, xattrs, owners, selector,
        duration, patterns, requests, lease, condemned,
    )
}  # fmt: skip
