"""Members of a tar file in their order: which there are, and what each says of itself."""

import lzma
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, BinaryIO, cast

from backup.model.errors import ImbfsError
from backup.ops.importing.acl import encode_acl
from backup.source.attributes import Xattr

_READ = 1 << 20
_ZSTD = b"\x28\xb5\x2f\xfd"
_XATTR = "SCHILY.xattr."
_SELINUX = "RHT.security.selinux"
_ACLS = {
    "SCHILY.acl.access": b"system.posix_acl_access",
    "SCHILY.acl.default": b"system.posix_acl_default",
}
_NS = 1_000_000_000
_KINDS = {
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    # A directory in an incremental archive of GNU tar: a list of names follows.
    b"D": stat.S_IFDIR,
}
#: What is about the archive, and no file: the label of a volume, and other vendors' headers.
NO_MEMBER = (b"V", b"X", b"E")
#: What a library raises for a stream that is none, or breaks off.
_BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError)


class Refused(ValueError):
    """What a member says of itself can be true of no file."""


class Archive:
    """A tar file, compressed with gzip, bzip2 or xz, or not at all; read once, from its beginning."""

    def __init__(self, file: BinaryIO, shown: str) -> None:
        """Raises `ImbfsError` for what is no tar file."""
        self._shown = shown
        self._file = _Watched(file)
        try:
            self._tar = tarfile.open(  # noqa: SIM115 - owns nothing that is to be closed
                fileobj=cast("BinaryIO", self._file),
                mode="r|*",
                bufsize=_READ,
                encoding="utf-8",
                errors="surrogateescape",
            )
        except _BROKEN as error:
            if self._file.head.startswith(_ZSTD):
                raise ImbfsError(
                    f"{shown} is compressed with zstd: give it as `zstd -dc FILE | imbfs import -`"
                ) from None
            raise ImbfsError(f"{shown} is no tar file ({error}): nothing was imported") from error

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        """Raises `ImbfsError` where the archive breaks off, or is damaged."""
        # The constructor reads it, whatever it is.
        member: tarfile.TarInfo | None = self._tar.firstmember  # type: ignore[attr-defined]
        while member is not None:
            yield member
            member = self._next()

    def _next(self) -> tarfile.TarInfo | None:
        """As `TarFile.next`, which takes damage for the end, and keeps all members."""
        try:
            stream = self._tar.fileobj
            # The last byte of the member before has to be there.
            if stream.tell() < self._tar.offset:
                stream.seek(self._tar.offset - 1)
                if not stream.read(1):
                    raise EOFError("unexpected end of data")
            return tarfile.TarInfo.fromtarfile(self._tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return None
        except _BROKEN as error:
            raise self.broken(error) from error

    def broken(self, error: Exception) -> ImbfsError:
        return ImbfsError(
            f"{self._shown} breaks off or is damaged at byte {self._tar.offset:,} of the tar file"
            f" ({error}): no snapshot was made"
        )

    def data(self, member: tarfile.TarInfo) -> "Data":
        """The bytes of the regular file that was given last."""
        return Data(self, self._tar.fileobj, member.offset_data)


class Data:
    """The bytes of a member, those of a sparse file run by run, without what is between."""

    def __init__(self, archive: Archive, stream: Any, offset: int) -> None:
        self._archive = archive
        self._stream = stream
        stream.seek(offset)

    def read(self, size: int) -> bytes:
        """So many. Raises `ImbfsError` where the archive breaks off."""
        try:
            data: bytes = self._stream.read(size)
            if len(data) < size:
                raise EOFError("unexpected end of data")
        except _BROKEN as error:
            raise self._archive.broken(error) from error
        return data


class _Watched:
    """Keeps the first bytes that were read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.head = b""

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.head = self.head or data[:16]
        return data


def parts_of(name: str) -> list[bytes]:
    """A path's names. Raises `Refused` for one that leads elsewhere, or that no file can have."""
    parts = [part for part in os.fsencode(name).split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise Refused("refused: its path leads out of the archive")
    if any(len(part) > 255 or b"\0" in part for part in parts):
        raise Refused("refused: no file can have this name")
    return parts


def mode_of(member: tarfile.TarInfo) -> int:
    """Kind and permissions. Raises `Refused` for what cannot be taken in."""
    kind = _KINDS.get(member.type)
    if kind is None:
        if member.type == b"M":
            raise Refused("left out: it continues another volume of the archive")
        # Whatever a vendor calls it, it has content; a name that ends in / was a directory in old archives.
        kind = stat.S_IFREG
    return kind | (0o777 if kind == stat.S_IFLNK else member.mode & 0o7777)


def owner_of(member: tarfile.TarInfo) -> tuple[int, int]:
    for number in (member.uid, member.gid):
        if not 0 <= number < 1 << 32:
            raise Refused("refused: its owner is a number that no user has")
    return member.uid, member.gid


def device_of(member: tarfile.TarInfo) -> int:
    if not member.isdev() or member.isfifo():
        return 0
    if not (0 <= member.devmajor < 1 << 32 and 0 <= member.devminor < 1 << 32):
        raise Refused("refused: there is no such device")
    return os.makedev(member.devmajor, member.devminor)


def mtime_of(member: tarfile.TarInfo) -> int:
    """In ns."""
    try:
        ns = int(Decimal(member.pax_headers.get("mtime") or int(member.mtime)) * _NS)
    except (InvalidOperation, ValueError, OverflowError):
        ns = 0
    if not -(1 << 63) <= ns // _NS < 1 << 63:
        raise Refused("refused: its time is none that a file can have")
    return ns


def xattrs_of(member: tarfile.TarInfo) -> tuple[Xattr, ...]:
    """Sorted by name. Raises `Refused`."""
    found: dict[bytes, bytes] = {}
    for key, text in member.pax_headers.items():
        value = text.encode("utf-8", "surrogateescape")
        if key in _ACLS and value.strip():
            try:
                found.setdefault(_ACLS[key], encode_acl(value))
            except (ValueError, KeyError) as error:
                raise Refused(f"refused: its ACL cannot be read ({error})") from error
        elif key == _SELINUX:
            found.setdefault(b"security.selinux", value)
        elif key.startswith(_XATTR):
            found[key[len(_XATTR) :].encode("utf-8", "surrogateescape")] = value
    if any(len(name) > 255 or len(value) > 1 << 24 for name, value in found.items()):
        raise Refused("refused: it has an attribute that no file can have")
    return tuple(sorted(found.items()))


def runs_of(member: tarfile.TarInfo) -> list[tuple[int, int]]:
    """Start and length of each run of data, in order; a hole is between them. Raises `Refused`."""
    sparse: list[tuple[int, int]] | None = getattr(member, "sparse", None)
    if sparse is None:
        return [(0, member.size)]
    runs = [run for run in sparse if run[1]]
    at = 0
    for start, length in runs:
        if start < at or length < 0 or start + length > member.size:
            raise Refused("refused: its map of holes makes no sense")
        at = start + length
    return runs
