"""Whether a file is as the parent has it. `docs/design.md`, "Changed or not"."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from backup.model.ids import ObjectId
from backup.ops.storing.parent import ParentDirectory
from backup.snapshots.tree import NS, Page, encode_stat
from backup.source.descent import Identity
from backup.source.rules import NO_RULES, Rules

#: A clock that ticks while a backup starts may stamp a later change with an earlier time.
TICK_NS = 20_000_000
#: File systems that keep whole seconds may round down by up to two.
COARSE_NS = 2 * NS
#: Of a status as a tuple: whole seconds, and quicker to get at than the attributes.
_MTIME, _CTIME = stat.ST_MTIME, stat.ST_CTIME


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


class Comparison:
    """`has`: whether the repository has an object."""

    def __init__(self, settings: Settings, has: Callable[[ObjectId], bool]) -> None:
        self._settings = settings
        self._has = has

    def same_file(self, parent: ParentDirectory, position: int, status: os.stat_result) -> bool:
        """Whether a name that is no directory is unchanged; -1 is no position in the parent."""
        if position < 0 or not parent.same(position, encode_stat(status)):
            return False
        if not stat.S_ISREG(status.st_mode):
            return True
        if self._settings.read_all or self._racy(status):
            return False
        return not self._settings.distrust or all(map(self._has, parent.chunks(position)))

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

    def _racy(self, status: os.stat_result) -> bool:
        """Whether the file may have been written after the parent read it, in the same tick."""
        modified, changed = status.st_mtime_ns, status.st_ctime_ns
        coarse = modified % NS == 0 and changed % NS == 0
        since = self._settings.parent_started_ns - (COARSE_NS if coarse else TICK_NS)
        # A time in the future was set by hand: the change itself shows in ctime.
        return changed >= since or since <= modified <= self._settings.started_ns

    def stored(self, trees: list[ObjectId]) -> bool:
        """Whether the parent's trees can be named again."""
        return not self._settings.distrust or all(map(self._has, trees))
