"""Which names of a live directory go in, by the rules."""

import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from backup.ops.storing.listing import Listing
from backup.ops.storing.parent import ParentDirectory
from backup.ops.storing.unchanged import Comparison
from backup.source.gitignore import parse_lines
from backup.source.mounts import PSEUDO, FileSystems
from backup.source.rules import Marker, Place, Rules, Scope, has_header, read_ignore_file

#: Is told of a path that something is wrong with, and what.
Problem = Callable[[bytes, str], None]


class Here(NamedTuple):
    """The rules as they are in one directory. `device`: of the source. `anew`: the parent was chosen by
    others, so that its names say nothing about what is to go in.
    """

    scope: Scope
    place: Place
    device: int
    anew: bool


class Chooser:
    """Chooses by the rules. A name that the parent has, chosen by the same rules, is not asked about."""

    def __init__(
        self,
        rules: Rules,
        same_rules: bool,
        comparison: Comparison,
        systems: FileSystems,
        problem: Problem,
        notice: Callable[[str], None],
    ) -> None:
        self._rules = rules
        self._same_rules = same_rules
        self._comparison = comparison
        self._problem = problem
        self._notice = notice
        self._systems = systems
        #: Mount points of pseudo file systems that were met.
        self.pseudo: list[bytes] = []

    def bars(self, path: bytes, device: int, here: Here | None, above: int) -> str:
        """Why a directory on `device` is not to be entered from one on the device `above`; '' where it is."""
        if here is None or device == above:
            return ""
        if (kind := self._systems.kind(device)) in PSEUDO:
            self.pseudo.append(path)
            return f"the system makes up what is shown there ({kind})"
        if self._rules.one_file_system and device != here.device:
            return "it is on another file system (--one-file-system)"
        return ""

    def hidden(self, path: bytes) -> bool:
        """Whether what cannot even be looked at is a pseudo file system: some shut out root."""
        if self._systems.kind_at(path) not in PSEUDO:
            return False
        self.pseudo.append(path)
        return True

    def enter(
        self,
        fd: int,
        path: bytes,
        device: int,
        up: Here | None,
        listing: Listing,
        parent: ParentDirectory | None,
    ) -> tuple[Here, Listing]:
        """What goes in of a directory; `up` are the rules above, None at a source."""
        if up is None:
            scope, anew = Scope.of_source(self._rules, path), not self._same_rules
        else:
            scope, device, anew = up.scope, up.device, up.anew
        for name in self._rules.ignore_names:
            found = listing.status(name)
            anew = anew or self._rewritten(name, found, parent)
            if found is not None and stat.S_ISREG(found.st_mode):
                scope = self._read(fd, path, name, scope)
        idle = up is not None and scope is up.scope and not up.place
        place = up.place if up is not None and idle else scope.at(path)
        here = Here(scope, place, device, anew)
        marker = self.marker(fd, path, listing)
        if marker is not None:
            return here, listing.only([marker.name])
        return here, _chosen(here, listing, parent)

    def _rewritten(self, name: bytes, found: os.stat_result | None, parent: ParentDirectory | None) -> bool:
        """Whether a file of rules is another one than the parent was chosen by."""
        position = -1 if parent is None else parent.find(name)
        if found is None or parent is None:
            return position >= 0
        return not self._comparison.same_file(parent, position, found)

    def _read(self, fd: int, path: bytes, name: bytes, scope: Scope) -> Scope:
        where = os.path.join(path, name)
        try:
            data = read_ignore_file(fd, name)
        except OSError as error:
            self._problem(where, f"{error.strerror}: its rules do not count, and more may be backed up")
            return scope
        return scope.below(path, parse_lines(data, os.fsdecode(where), self._notice))

    def marker(self, fd: int, path: bytes, listing: Listing) -> Marker | None:
        """What says that the rest of a directory stays out."""
        for marker in self._rules.markers:
            if (found := listing.status(marker.name)) is None:
                continue
            if marker.header and not stat.S_ISREG(found.st_mode):
                continue
            try:
                if has_header(fd, marker.name, marker.header):
                    return marker
            except OSError as error:
                self._problem(os.path.join(path, marker.name), f"{error.strerror}: not taken as a marker")
        return None


def _chosen(here: Here, listing: Listing, parent: ParentDirectory | None) -> Listing:
    if not here.place:
        return listing
    known = [] if parent is None or here.anew else parent.names()
    if known == listing.names:
        return listing
    trusted = frozenset(known)
    names = [
        name
        for piece in listing.pieces(0, len(listing.names))
        for name, found in piece
        if name in trusted or not here.place.excludes(name, found)
    ]
    return listing if len(names) == len(listing.names) else listing.only(frozenset(names))
