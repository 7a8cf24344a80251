"""An entry as a member of a tar file: POSIX.1-2001 (pax) headers, with times to the nanosecond and xattrs.

Sparse files are in GNU's format 1.0, which GNU tar, bsdtar and Python read.
"""

import os
import stat
import tarfile

from backup.model.entry import Entry, Extent

_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}
_BLOCK = tarfile.BLOCKSIZE
NS = 1_000_000_000


def can_be_member(entry: Entry) -> bool:
    """Tar has no sockets."""
    return stat.S_IFMT(entry.mode) in _TYPES


def is_sparse(entry: Entry) -> bool:
    return any(extent.chunk is None for extent in entry.extents)


def runs(extents: tuple[Extent, ...]) -> list[tuple[int, int]]:
    """Start and length of each run of data, with an empty one at the end where the file ends in a hole."""
    found: list[tuple[int, int]] = []
    start = 0
    for extent in extents:
        if extent.chunk is not None:
            if found and sum(found[-1]) == start:
                found[-1] = found[-1][0], found[-1][1] + extent.end - start
            else:
                found.append((start, extent.end - start))
        start = extent.end
    if not found or sum(found[-1]) != start:
        found.append((start, 0))
    return found


def sparse_map(entry: Entry) -> bytes:
    """What stands before the data of a sparse file: where the data belongs."""
    lines = [len(found := runs(entry.extents)), *(number for run in found for number in run)]
    text = b"".join(b"%d\n" % number for number in lines)
    return text + bytes(-len(text) % _BLOCK)


def data_size(entry: Entry, link: bytes | None) -> int:
    """The length of what follows the headers, without padding."""
    if not stat.S_ISREG(entry.mode) or link is not None:
        return 0
    if is_sparse(entry):
        return len(sparse_map(entry)) + sum(length for _, length in runs(entry.extents))
    return entry.size


def headers(path: bytes, entry: Entry, link: bytes | None) -> bytes:
    """The member's headers; `link` is the path of another member that it is a hard link to."""
    info = tarfile.TarInfo()
    info.type = tarfile.LNKTYPE if link is not None else _TYPES[stat.S_IFMT(entry.mode)]
    info.mode = stat.S_IMODE(entry.mode)
    if info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = os.major(entry.rdev), os.minor(entry.rdev)
    records: dict[bytes, bytes] = {}
    if link is None and is_sparse(entry):
        above, _, name = path.rpartition(b"/")
        records |= {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": path}
        records[b"GNU.sparse.realsize"] = b"%d" % entry.size
        path = (above + b"/GNUSparseFile.0/" + name).lstrip(b"/")
    target = entry.target if link is None else link
    info.name = _text_field(records, b"path", path, 100 - 1)
    info.linkname = _text_field(records, b"linkpath", target, 100)
    info.uname = _text_field(records, b"uname", _bytes(entry.user), 31)
    info.gname = _text_field(records, b"gname", _bytes(entry.group), 31)
    info.uid = _number_field(records, b"uid", entry.uid, 7)
    info.gid = _number_field(records, b"gid", entry.gid, 7)
    info.size = _number_field(records, b"size", data_size(entry, link), 11)
    seconds, ns = divmod(entry.mtime_ns, NS)
    info.mtime = _number_field(records, b"mtime", seconds, 11)
    if ns or seconds < 0:
        records[b"mtime"] = _time(entry.mtime_ns)
    records |= {b"SCHILY.xattr." + key: value for key, value in entry.xattrs}
    return _extended(records) + info.tobuf(tarfile.USTAR_FORMAT, "ascii", "replace")


def _text_field(records: dict[bytes, bytes], key: bytes, value: bytes, room: int) -> str:
    """The field of the plain header; what does not fit there, or is not ASCII, becomes a record."""
    if len(value) <= room and value.isascii():
        return value.decode()
    records[key] = value
    return value[:room].decode("ascii", "replace").replace("\ufffd", "?")


def _number_field(records: dict[bytes, bytes], key: bytes, value: int, digits: int) -> int:
    if 0 <= value < 8**digits:
        return value
    records[key] = b"%d" % value
    return 0


def _extended(records: dict[bytes, bytes]) -> bytes:
    """A header of extended records, with its data; nothing where there are none."""
    if not records:
        return b""
    if not all(_is_utf_8(records.get(key, b"")) for key in (b"path", b"linkpath", b"uname", b"gname")):
        records = {b"hdrcharset": b"BINARY", **records}
    data = b"".join(_record(key, value) for key, value in records.items())
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % _BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE`: the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length += 1
    return b"%d %s=%s\n" % (length, key, value)


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _time(ns: int) -> bytes:
    """Decimal seconds; before 1970 with a sign."""
    sign, ns = (b"-", -ns) if ns < 0 else (b"", ns)
    return b"%s%d.%09d" % (sign, ns // NS, ns % NS)


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
