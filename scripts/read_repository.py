#!/usr/bin/env python3
"""Extracts a snapshot, knowing docs/format.md alone: read_repository.py REPO [SNAPSHOT-ID-PREFIX] TARGET
takes the newest that fits; TARGET must not exist. What fails is told, and the exit code is 1 then."""

import hashlib
import json
import os
import stat
import sys
import zlib
from glob import glob
from itertools import islice, pairwise
from struct import iter_unpack, unpack_from
from typing import Any

import zstandard
from blake3 import blake3


def require(sound: bool, what: str) -> None:
    if not sound:
        raise ValueError(f"{what} is damaged, or of another format")


class Reader:
    def __init__(self, path: str) -> None:
        self.path, self.failures = os.path.abspath(path), 0
        config = json.loads(data := self.read_file("config.json"))
        self.hash = dict[str, Any](blake3=blake3, sha256=hashlib.sha256)[config["hash"]]
        digest = self.hash(data.strip().replace(config["check"].encode(), b"")).hexdigest()
        require(config["format"] == 1 and digest == config["check"], "config.json")
        #: Of each object: its pack, offset and size of its block there, its own offset and length in that.
        self.places, self.links = dict[bytes, Any](), dict[Any, bytes]()
        for pack in glob(f"{self.path}/packs/??/*"):
            self.attempt(self.read_footer, pack)

    def attempt(self, action: Any, path: str | bytes, *arguments: Any) -> None:
        try:
            action(path, *arguments)
        except Exception as error:  # whatever damage or a hostile entry leads to: the rest goes on
            print(f"{os.fsdecode(path)!r}: {error!r}", file=sys.stderr)
            self.failures = 1

    def read_file(self, path: str, offset: int = 0, size: int = -1) -> bytes:
        with open(os.path.join(self.path, path), "rb") as file:
            file.seek(offset)
            return file.read(size)

    def read_footer(self, pack: str) -> None:
        end = os.path.getsize(pack) - 12
        size, magic = unpack_from("<I8s", self.read_file(pack, end))
        require(magic == b"imbfoot\1", "the footer")
        footer = self.read_block(pack, end - size, size)
        blocks_end = 4 + 20 * unpack_from("<I", footer)[0]
        objects = iter_unpack("<32sI", footer[blocks_end:])
        for block, size, _, _, _, _, count in iter_unpack("<IIIBBHI", footer[4:blocks_end]):
            offset = 0
            for name, length in islice(objects, count):
                self.places[name] = pack, block, size, offset, length
                offset += length

    def read_block(self, pack: str, offset: int, size: int) -> bytes:
        data = self.read_file(pack, offset, size)
        magic, codec, _, _, _, plain, stored, crc = unpack_from("<4sBBHIIII", data)
        require(magic == b"IBLK" and crc == zlib.crc32(data[:20]) and codec in (0, 1), "a block")
        payload = data[24 : 24 + stored]
        require(codec == 0 or zstandard.frame_content_size(payload) == plain <= 64 << 20, "a block")
        return zstandard.ZstdDecompressor().decompress(payload) if codec else payload

    def read(self, name: bytes) -> bytes:
        pack, block, size, offset, length = self.places[name]
        data = self.read_block(pack, block, size)[offset : offset + length]
        require(self.hash(data).digest() == name, f"object {name.hex()}")
        return data

    def read_manifest(self, snapshot: str) -> Any:
        body, labels, check, _ = self.read_file(f"snapshots/{snapshot}").split(b"\n")
        hashes = [self.hash(text).hexdigest() for text in (body, body + b"\n" + labels + b"\n")]
        require(hashes == [snapshot, check.decode()] and json.loads(body)["format"] == 1, snapshot)
        return json.loads(body)

    def read_tree(self, tree: bytes, root: bool = False) -> list[Any]:
        plain, entries = self.read(tree), []
        branch_end = 24 + 40 * unpack_from("<I", plain, 8)[0] if plain[4] == 1 else 24
        for page in [self.read(page) for page, _ in iter_unpack("<32sQ", plain[24:branch_end])] or [plain]:
            magic, count, names, extras, owners = unpack_from("<5s3xIIII", page)
            refs_at, ends_at, names_at = 24 + 64 * count, 24 + 112 * count, 24 + 116 * count
            require(magic == b"ITRE\0" and len(page) == names_at + names + extras + owners, "a page")
            for at, (start, end) in enumerate(pairwise((0, *unpack_from(f"<{count}I", page, ends_at)))):
                status = unpack_from("<IIIIQqqIIQQ", page, 24 + 64 * at)
                ref, offset, size, volume, _ = unpack_from("<32sIIII", page, refs_at + 48 * at)
                extra, parts = page[names_at + names + offset :][:size], {}
                while extra:
                    tag, size = unpack_from("<BI", extra)
                    parts[tag], extra = extra[5 : 5 + size], extra[5 + size :]
                entries.append((page[names_at + start : names_at + end], status, ref, volume, parts))
        found = [entry[0] for entry in entries]
        sound = found == sorted(set(found)) and not {b"", b".", b".."} & set(found)
        require(found == [b"."] if root else sound and not set(b"/\0") & set(b"".join(found)), "a tree")
        return entries

    def write_file(self, name: bytes, size: int, ref: bytes, extra: dict[int, bytes]) -> None:
        runs = [(size, ref)] if any(ref) else list(iter_unpack("<Q32s", extra.get(3, b"")))
        for _, part in iter_unpack("<Q32s", extra.get(4, b"")):
            start = runs[-1][0] if runs else 0
            runs += [(start + end, chunk) for end, chunk in iter_unpack("<Q32s", self.read(part))]
        with open(name, "xb") as file:
            for end, chunk in runs:
                if any(chunk):
                    require(file.tell() + file.write(self.read(chunk)) == end, "a chunk")
                file.seek(end)
            require(file.tell() == size, "a list of extents")
            file.truncate()

    def extract(self, path: bytes, entry: Any) -> None:
        name, (mode, uid, gid, nlink, size, m_s, _, m_ns, _, ino, rdev), ref, volume, extra = entry
        if stat.S_ISDIR(mode):
            children = self.read_tree(ref)
            os.mkdir(name, 0o700)
            os.chdir(name)  # whole paths may be longer than the system takes
            for child in children:
                self.attempt(self.extract, os.path.join(path, child[0]), child)
            os.chdir("..")
        elif nlink > 1 and (first := self.links.setdefault((volume, ino, stat.S_IFMT(mode)), path)) != path:
            os.link(os.path.relpath(first, os.path.dirname(path)), name, follow_symlinks=False)
        elif stat.S_ISREG(mode):
            self.write_file(name, size, ref, extra)
        elif stat.S_ISLNK(mode):
            os.symlink(extra[1], name)
        else:
            os.mknod(name, mode, rdev)
        if os.geteuid() == 0:
            os.chown(name, uid, gid, follow_symlinks=False)
        xattrs = extra.get(2, b"")
        while xattrs:
            middle, size = unpack_from("<HI", xattrs)
            os.setxattr(name, xattrs[6:][:middle], xattrs[6 + middle :][:size], follow_symlinks=False)
            xattrs = xattrs[6 + middle + size :]
        if not stat.S_ISLNK(mode):
            os.chmod(name, stat.S_IMODE(mode))
        os.utime(name, ns=(m_s * 10**9 + m_ns,) * 2, follow_symlinks=False)


reader, target = Reader(sys.argv[1]), os.path.abspath(os.fsencode(sys.argv[-1]))
fitting = glob("".join(sys.argv[2:-1]) + "*", root_dir=f"{reader.path}/snapshots")
newest = max(map(reader.read_manifest, fitting), key=lambda manifest: manifest["started_ns"])
((_, *root),) = reader.read_tree(bytes.fromhex(newest["root"]), root=True)
os.chdir(os.path.dirname(target))
reader.attempt(reader.extract, target, (os.path.basename(target), *root))
sys.exit(reader.failures)
