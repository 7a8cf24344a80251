"""Sound inputs for each target, made by the encoders: what is tried begins near something that decodes."""

import stat
import struct

import msgspec

from backup.model.entry import Extent
from backup.model.ids import ObjectId, PackId, SnapshotId
from backup.model.process import Process
from backup.objects.block import BlockKind, CompressionSettings, encode_block
from backup.objects.pack import BlockRecord, PackRecord, encode_footer, encode_trailer
from backup.objects.segment import FILE_MAGIC, encode_segment
from backup.repository.config import Config, encode_config
from backup.repository.leases import Lease
from backup.snapshots.extents import EXTENT, encode_content
from backup.snapshots.tree import (
    OWNER,
    STAT,
    XATTR,
    Row,
    encode_branch,
    encode_extra,
    encode_owners,
    encode_page,
)
from fusefs.protocol import GETXATTR_IN, IN_HEADER, INIT_IN, LSEEK_IN, OPEN_IN, READ_IN, Opcode

_ZSTD, _PLAIN = CompressionSettings(), CompressionSettings("none")
_CHUNK = ObjectId(b"c" * 32)
_MANIFEST = (
    b'{"format":1,"repository":"00","root":"' + b"ab" * 32 + b'","time":"2026-11-01T12:00:00.000000+01:00",'
    b'"started_ns":1,"host":"h","user":"u","top":"/","paths":["/a",{"b64":"/w=="}],"parent":null,'
    b'"program":"imbfs","statistics":{"files":1}}\n{"tags":["t"],"description":"d"}'
)


def seeds() -> dict[str, list[bytes]]:
    blocks = _blocks()
    footer = encode_footer(blocks)
    return {
        "block": [
            encode_block(BlockKind.DATA, [b"one" * 100, b"", b"three"], _ZSTD),
            encode_block(BlockKind.DATA, [b"one"], _PLAIN),
            encode_block(BlockKind.TREE, [bytes(5000)], _ZSTD),
        ],
        "pack": [bytes(100) + encode_trailer(encode_block(BlockKind.FOOTER, [footer], _PLAIN))],
        "footer": [footer, encode_footer([])],
        "segment": [
            encode_segment([PackRecord(PackId(_CHUNK), 1000, blocks)], settings)[len(FILE_MAGIC) :]
            for settings in (_ZSTD, _PLAIN)
        ],
        "manifest": [_MANIFEST],
        "config": [encode_config(Config(id="0" * 32))],
        "page": [encode_page(_rows(), _owners()), encode_page([], b"")],
        "root": [encode_page([_row(b".", stat.S_IFDIR)], b"")],
        "branch": [_branch()],
        "content": [
            struct.pack("<Q", 30) + encode_content(_extents(), lambda data: _CHUNK)[1],
            _listed(),
        ],
        "xattrs": [XATTR.pack(6, 5) + b"user.xvalue" + XATTR.pack(1, 0) + b"y"],
        "owners": [_owners(), OWNER.pack(0, 7, 0)],
        "selector": [b"latest~2:etc", b"@2026-11-01T12:00:etc", b"tag:x:/a", b"@2 days ago", b"0123ab"],
        "duration": [b"1y6m2w30d12h", b"999999y"],
        "patterns": [b"# c\n*.py\n!a/**/b\n/c/\n[a-z]?\\*\n**/d*e*\n", b"*a*a*[[:digit:]!]b\n"],
        "requests": [_requests()],
        "lease": [msgspec.json.encode(_lease())],
        "condemned": [b'{"packs":["' + b"ab" * 32 + b'"]}\n'],
    }


def _lease() -> Lease:
    process = Process("host", 7, 12345, "boot", "pid:[1]")
    since, root = "2026-11-01T12:00:00+00:00", "ab" * 32
    return Lease(
        kind="reader", command="mount", process=process, since=since, snapshots={SnapshotId("cd" * 32): root}
    )


def _blocks() -> tuple[BlockRecord, ...]:
    return (
        BlockRecord(8, 40, 16, 0, 0, ((_CHUNK, 16),)),
        BlockRecord(48, 50, 18, 1, 0, ((_CHUNK, 4), (ObjectId(b"d" * 32), 6))),
    )


def _row(name: bytes, kind: int, extra: bytes = b"", size: int = 0, chunk: bytes = _CHUNK) -> Row:
    columns = STAT.pack(kind | 0o644, 0, 7, 2, size, -1, 2, 3, 4, 5, 6)
    return Row(name, columns, ObjectId(chunk), extra, 1, 0)


def _rows() -> list[Row]:
    _, lists = encode_content(_extents(), lambda data: _CHUNK)
    xattrs = ((b"user.a", b"1"), (b"user.b", b""))
    return [
        _row(b"chunk", stat.S_IFREG, encode_extra(b"", xattrs), size=3),
        _row(b"directory", stat.S_IFDIR),
        _row(b"extents", stat.S_IFREG, encode_extra(b"", (), lists, _CHUNK), 30, bytes(32)),
        _row(b"link", stat.S_IFLNK, encode_extra(b"target", ()), 6, bytes(32)),
        _row(b"\xff", stat.S_IFIFO, chunk=bytes(32)),
    ]


def _extents() -> list[Extent]:
    return [Extent(10, _CHUNK), Extent(20, None), Extent(30, _CHUNK)]


def _owners() -> bytes:
    return encode_owners({0: "root", 5: "user"}, {7: "group"})


def _branch() -> bytes:
    branch = encode_branch([(b"chunk", _CHUNK, 5)])
    return struct.pack("<H", len(branch)) + branch + encode_page(_rows(), b"")


def _listed() -> bytes:
    """A file whose lists of extents are objects; the one that is read is in a part that nobody knows."""
    lists = EXTENT.pack(30, _CHUNK)
    inner = EXTENT.pack(10, _CHUNK) + EXTENT.pack(30, bytes(32))
    return struct.pack("<QBI", 30, 4, len(lists)) + lists + struct.pack("<BI", 99, len(inner)) + inner


def _requests() -> bytes:
    bodies = [
        (Opcode.INIT, INIT_IN.pack(1 << 17, 0xFFFFFFFF)),
        (Opcode.LOOKUP, b"small\0"),
        (Opcode.GETATTR, b""),
        (Opcode.OPENDIR, OPEN_IN.pack(0)),
        (Opcode.READDIRPLUS, READ_IN.pack(1, 0, 4096)),
        (Opcode.READDIR, READ_IN.pack(1, 2, 64)),
        (Opcode.GETXATTR, GETXATTR_IN.pack(64) + b"user.one\0"),
        (Opcode.READ, READ_IN.pack(0, 3, 100)),
        (Opcode.LSEEK, LSEEK_IN.pack(2, 3)),
    ]
    made = b""
    for number, (opcode, body) in enumerate(bodies):
        request = IN_HEADER.pack(IN_HEADER.size + len(body), opcode, number + 1, 1 + number % 4) + body
        made += bytes([len(request)]) + request
    return made
