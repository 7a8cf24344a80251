"""Whether a file is as the parent has it. `docs/design.md`, "Changed or not"."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.ops.storing.parent import ParentDirectory
from backup.snapshots.tree import NS, Buffer, Page, encode_stat
from backup.source.attributes import path_of
from backup.source.descent import Identity
from backup.source.mounts import WITHOUT_CTIME, FileSystems, inodes_last
from backup.source.rules import NO_RULES, Rules
from backup.source.seals import Seals

#: A clock that ticks while a backup starts may stamp a later change with an earlier time.
TICK_NS = 20_000_000
#: File systems that keep whole seconds may round down by up to two.
COARSE_NS = 2 * NS
#: Of a status as a tuple: whole seconds, and quicker to get at than the attributes.
_MTIME, _CTIME = stat.ST_MTIME, stat.ST_CTIME

#: Where they are in a stat record: `docs/format.md`, "Pages".
_CTIME_FIELDS = ((32, 40), (44, 48))
_INODE_FIELD = ((48, 56),)


@dataclass(frozen=True, slots=True)
class Settings:
    """`parent_started_ns`, `started_ns`: when the parent's walk and this one began. `skip`:
    directories left out. `distrust`: packs were lost, so an object is looked up before it is
    believed to be stored. `same_rules`: the parent was chosen by the same rules.
    """

    started_ns: int
    parent_started_ns: int = 0
    read_all: bool = False
    distrust: bool = False
    skip: frozenset[Identity] = frozenset()
    rules: Rules = NO_RULES
    same_rules: bool = True
    ignore_ctime: bool = False
    ignore_inode: bool = False
    #: An empty directory where a file system was mounted is taken as it is.
    accept_unmounted: bool = False
    #: Paths that are not looked at, with all below them.
    locked: frozenset[bytes] = frozenset()
    #: Where this user has sealed files. `believe_seals`: moved files are recognised by theirs.
    seals: Seals | None = None
    believe_seals: bool = False


class Comparison:
    """`has`: whether the repository has an object. `systems`: which file systems there are."""

    def __init__(
        self, settings: Settings, has: Callable[[ObjectId], bool], systems: FileSystems | None = None
    ) -> None:
        self._settings = settings
        self._has = has
        self._systems = systems or FileSystems()

    def same_file(
        self,
        parent: ParentDirectory,
        position: int,
        status: os.stat_result,
        place: tuple[int, bytes] | None = None,
    ) -> bool:
        """Whether a name that is no directory is unchanged; -1 is no position in the parent.

        `place`: its directory's descriptor and its name, where its seal may be asked.
        """
        if position < 0:
            return False
        record = encode_stat(status)
        if not parent.same(position, record) and not self._alike(parent, position, record, status.st_dev):
            return False
        if not stat.S_ISREG(status.st_mode):
            return True
        if self._settings.read_all:
            return False
        if self.racy(status) and not (place and self._sealed(parent, position, status, place)):
            return False
        return not self._settings.distrust or self._has_content(parent, position)

    def _has_content(self, parent: ParentDirectory, position: int) -> bool:
        try:
            return all(map(self._has, parent.chunks(position)))
        except Damaged:
            # The list of chunks is lost: it is made anew with them.
            return False

    def _alike(self, parent: ParentDirectory, position: int, record: bytes, device: int) -> bool:
        """Whether a record that differs does so only in what says nothing here."""
        kind = self._systems.kind(device)
        ctime = self._settings.ignore_ctime or kind in WITHOUT_CTIME
        inode = self._settings.ignore_inode or not inodes_last(kind)
        if not ctime and not inode:
            return False
        return parent.same(position, without(record, ctime, inode), lambda old: without(old, ctime, inode))

    def same_page(self, page: Page, found: list[os.stat_result | OSError]) -> bool:
        """Whether all of a page's names, each with what was found of it, are unchanged beyond doubt.

        False says nothing: each is to be looked at then.
        """
        if self._settings.read_all or self._settings.distrust or page.has_flags:
            return False
        before = (self._settings.parent_started_ns - COARSE_NS) // NS
        records = []
        for status in found:
            if isinstance(status, OSError) or status[_MTIME] >= before or status[_CTIME] >= before:
                return False
            records.append(encode_stat(status))
        return page.stats == b"".join(records)

    def racy(self, status: os.stat_result) -> bool:
        """Whether the file may have been written after the parent read it, in the same tick."""
        changed = status.st_ctime_ns >= self._since(status) and not self._settings.ignore_ctime
        return changed or self._lately_modified(status)

    def _lately_modified(self, status: os.stat_result) -> bool:
        # A time in the future was set by hand: the change itself shows in ctime.
        return self._since(status) <= status.st_mtime_ns <= self._settings.started_ns

    def _since(self, status: os.stat_result) -> int:
        coarse = status.st_mtime_ns % NS == 0 and status.st_ctime_ns % NS == 0
        return self._settings.parent_started_ns - (COARSE_NS if coarse else TICK_NS)

    def _sealed(
        self, parent: ParentDirectory, position: int, status: os.stat_result, place: tuple[int, bytes]
    ) -> bool:
        """Whether it was sealing that changed the file's ctime: a backup does so after reading."""
        if self._settings.seals is None or self._lately_modified(status):
            return False
        digest = self._settings.seals.find(path_of(*place), status)
        return digest is not None and digest == parent.hash(position)

    def inodes_last(self, device: int) -> bool:
        """Whether an inode number tells that a file is the same as before."""
        return not self._settings.ignore_inode and inodes_last(self._systems.kind(device))

    def stored(self, trees: list[ObjectId]) -> bool:
        """Whether the parent's trees can be named again."""
        return not self._settings.distrust or all(map(self._has, trees))


def without(record: Buffer, ctime: bool, inode: bool) -> bytes:
    """A stat record with zeros in place of what does not count."""
    changed = bytearray(record)
    for start, end in (*(_CTIME_FIELDS if ctime else ()), *(_INODE_FIELD if inode else ())):
        changed[start:end] = bytes(end - start)
    return bytes(changed)
