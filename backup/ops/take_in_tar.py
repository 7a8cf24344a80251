"""Taking a tar file in: as the snapshot that would have been made of what it was made of."""

import os
import stat
import tarfile
import time
from typing import BinaryIO

from backup.model.entry import Extent
from backup.model.ids import NO_OBJECT, ObjectId
from backup.ops.backup import BackupOptions, BackupResult, conclude
from backup.ops.importing.members import (
    NO_MEMBER,
    Archive,
    Refused,
    device_of,
    mode_of,
    mtime_of,
    owner_of,
    parts_of,
    runs_of,
    xattrs_of,
)
from backup.ops.importing.shelf import NotADirectory, Shelf, with_links
from backup.ops.parents import find_same
from backup.ops.storing.monitor import Counts, Monitor
from backup.ops.storing.reader import Objects
from backup.ops.storing.rows import number_of
from backup.ops.storing.sources import Sources
from backup.ops.storing.straight import Straight
from backup.ops.take_in import older
from backup.repository import Repository, Writer
from backup.snapshots.extents import encode_content
from backup.snapshots.tree import NS, ROOT_NAME, STAT, Row, encode_extra
from backup.snapshots.tree_writer import write_tree
from backup.source.attributes import Xattr
from backup.source.rules import Scope


def take_in_tar(
    repository: Repository,
    file: BinaryIO,
    shown: str,
    top: bytes,
    options: BackupOptions,
    monitor: Monitor,
) -> BackupResult:
    """Stores what a tar file holds as a snapshot of the directory `top`, with the options' time.

    It is read once, from its beginning to its end; memory is bounded, names and attributes wait in a
    temporary file. `shown`: how messages call it. Of the rules, patterns and the largest size hold. What no
    file can be, and what leads out, is told and left out. Raises `ImbfsError` where the archive is damaged or
    breaks off: then there is no snapshot.
    """
    started = int(options.time.timestamp() * 1_000_000) * 1000
    late = time.time_ns() - started
    sources = Sources(top, [top], None, [], [], [])
    parent = older(find_same(repository, sources, options.host), started)
    counts = Counts()
    writer = Writer(repository)
    shelf = Shelf(number_of(top))
    try:
        try:
            root = _TarReader(repository, writer, shelf, top, options, counts, monitor).read(file, shown)
            writer.finish()
        except BaseException:
            writer.discard()
            raise
        return conclude(
            repository,
            writer,
            sources,
            options,
            parent,
            root,
            started,
            counts,
            lambda: time.time_ns() - late,
        )
    finally:
        shelf.close()
        writer.close()


class _TarReader:
    def __init__(
        self,
        repository: Repository,
        writer: Writer,
        shelf: Shelf,
        top: bytes,
        options: BackupOptions,
        counts: Counts,
        monitor: Monitor,
    ) -> None:
        self._straight = Straight(repository, writer, counts, monitor)
        self._objects = Objects(
            repository.name, repository.config.hash, self._straight.room, self._straight.take
        )
        self._writer = writer
        self._shelf = shelf
        self._top = top
        self._rules = options.rules
        self._scope = Scope.of_source(options.rules, top) if options.rules.patterns else None
        self._time_ns = int(options.time.timestamp()) * NS
        self._counts = counts
        self._monitor = monitor
        self._inodes = 0
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}
        self._root = self._implied(), b""

    def read(self, file: BinaryIO, shown: str) -> ObjectId:
        """The tree of the snapshot's root."""
        archive = Archive(file, shown)
        for member in archive:
            if member.type in NO_MEMBER:
                continue
            try:
                self._add(archive, member)
            except (Refused, NotADirectory) as error:
                self._counts.errors += 1
                self._monitor.problem(os.fsencode(member.name), _text(error))
        self._straight.take(self._objects.part(last=True))
        tree, links = self._shelf.write(self._writer.store_tree, self._user, self._group)
        record, extra = self._root
        top = Row(ROOT_NAME, with_links(record, links), tree, extra, number_of(self._top), 0)
        return write_tree([top], self._writer.store_tree, self._user, self._group)

    def _user(self, uid: int) -> str:
        return self._users.get(uid, "")

    def _group(self, gid: int) -> str:
        return self._groups.get(gid, "")

    def _implied(self) -> bytes:
        """The record of a directory that has no member of its own."""
        return self._record(stat.S_IFDIR | 0o755, os.geteuid(), os.getegid(), 0, self._time_ns, 0)

    def _record(self, mode: int, uid: int, gid: int, size: int, mtime_ns: int, device: int) -> bytes:
        self._inodes += 1
        seconds, ns = divmod(mtime_ns, NS)
        # Nobody knows the ctime: the same archive always gives the same trees.
        return STAT.pack(mode, uid, gid, 1, size, seconds, seconds, ns, ns, self._inodes, device)

    def _add(self, archive: Archive, member: tarfile.TarInfo) -> None:
        parts = parts_of(member.name)
        if self._stays_out(parts, member):
            return
        if member.islnk():
            self._link(parts, member)
        elif parts:
            self._put(archive, parts, member)
        elif member.isdir():
            self._root = self._described(member), encode_extra(b"", xattrs_of(member))
        else:
            raise Refused("refused: it has no name")
        if member.isdir():
            self._counts.dirs += 1
        else:
            self._counts.files += 1
            self._counts.files_new += 1
        self._monitor.entries(not member.isdir(), member.size if member.isreg() else 0)

    def _stays_out(self, parts: list[bytes], member: tarfile.TarInfo) -> bool:
        largest = self._rules.larger_than
        if largest is not None and member.isreg() and member.size > largest:
            return True
        if self._scope is None:
            return False
        path = self._top
        for depth, name in enumerate(parts):
            is_dir = depth + 1 < len(parts) or member.isdir()
            pattern = self._scope.at(path).pattern(name, is_dir)
            if pattern is not None and not pattern.negative:
                return True
            path = os.path.join(path, name)
        return False

    def _link(self, parts: list[bytes], member: tarfile.TarInfo) -> None:
        target = parts_of(member.linkname)
        if not parts or not target:
            raise Refused("refused: a hard link from nowhere, or to nothing")
        there = self._shelf.directory(tuple(target[:-1]), self._implied), target[-1]
        here = self._shelf.directory(tuple(parts[:-1]), self._implied)
        if not self._shelf.link(here, parts[-1], there):
            raise Refused(
                f"left out: a hard link to {member.linkname}, which is not in the archive before it"
            )

    def _put(self, archive: Archive, parts: list[bytes], member: tarfile.TarInfo) -> None:
        record = self._described(member)
        xattrs = xattrs_of(member)
        parent = self._shelf.directory(tuple(parts[:-1]), self._implied)
        mode = mode_of(member)
        if stat.S_ISDIR(mode):
            self._shelf.put_directory(parent, parts[-1], record, encode_extra(b"", xattrs))
            return
        content = NO_OBJECT
        if stat.S_ISREG(mode):
            content, extra = self._content(archive, member, xattrs)
        else:
            extra = encode_extra(os.fsencode(member.linkname) if member.issym() else b"", xattrs)
        self._shelf.put(parent, parts[-1], record, content, extra, self._inodes)

    def _described(self, member: tarfile.TarInfo) -> bytes:
        uid, gid = owner_of(member)
        self._users.setdefault(uid, member.uname)
        self._groups.setdefault(gid, member.gname)
        mode = mode_of(member)
        size = member.size if stat.S_ISREG(mode) else 0
        if stat.S_ISLNK(mode):
            size = len(os.fsencode(member.linkname))
        else:
            self._counts.bytes += size
        return self._record(mode, uid, gid, size, mtime_of(member), device_of(member))

    def _content(
        self, archive: Archive, member: tarfile.TarInfo, xattrs: tuple[Xattr, ...]
    ) -> tuple[ObjectId, bytes]:
        """What the entry keeps of a regular file's content: its record's object, and its extra."""
        extents: list[Extent] = []
        hasher = self._objects.new_hasher()
        at = 0
        data = archive.data(member)
        for start, length in runs_of(member):
            if start > at:
                extents.append(Extent(start, None))
            at = start
            for chunk in self._straight.chunker.cut_next(data, length):
                if member.size > self._straight.chunker.single:
                    hasher.update(chunk)
                at += len(chunk)
                extents.append(Extent(at, self._objects.store(chunk)))
        whole = len(extents) > 1 and all(extent.chunk for extent in extents)
        if at < member.size:
            extents.append(Extent(member.size, None))
        content, listed = encode_content(extents, self._writer.store_tree)
        return content, encode_extra(b"", xattrs, listed, hasher.digest() if whole else None)


def _text(error: Exception) -> str:
    if isinstance(error, NotADirectory):
        return "refused: something that is no directory has its path, or a directory has its name"
    return str(error)
