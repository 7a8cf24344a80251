"""Finding names in many snapshots: by mask, size, time, kind, owner, hash; also what is gone by now."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from backup.model.entry import Entry, Kind
from backup.model.ids import ObjectId, SnapshotId
from backup.ops.finding.union import Found, numbers, walk
from backup.repository import Repository
from backup.snapshots.directory import decode_entry
from backup.snapshots.manifest import Snapshot
from backup.source.masks import Mask

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; what is None or empty lets all pass. A name has to fit one of the masks.

    Sizes in bytes, both ends included; only regular files have one. `since` and `until` bound the mtime.
    `owner` is a user's name or number, `group` a group's. `hash` is how a content's hash begins, in hex.
    """

    masks: Sequence[Mask] = ()
    smallest: int | None = None
    largest: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    kinds: frozenset[Kind] = frozenset()
    owner: str | None = None
    group: str | None = None
    hash: str | None = None
    #: Only what the latest snapshot of its source (the same host and paths) does not have.
    deleted: bool = False


class Version(NamedTuple):
    """One version of one path, and the snapshots that have it, oldest first.

    `top` is the source's directory that those snapshots show, `path` the path in it.
    """

    top: bytes
    path: bytes
    entry: Entry
    snapshots: tuple[Snapshot, ...]


def find(
    repository: Repository,
    snapshots: Sequence[Snapshot],
    query: Query,
    every: Sequence[Snapshot],
    problem: Callable[[bytes, str], None],
) -> Iterator[list[Version]]:
    """Of each path that fits, the distinct versions that fit, in the `snapshots`; oldest first, as those are.

    `every` are all snapshots there are: what is deleted depends on them. What cannot be read is told to
    `problem`, with its path at the source, and left out.
    """
    chosen = {snapshot.id for snapshot in snapshots}
    latest = set(latest_of_sources(every).values()) if query.deleted else set()
    walked = [snapshot for snapshot in every if snapshot.id in chosen or snapshot.id in latest]
    matcher = _Matcher(query, repository.name(b""))
    bits = Bits(walked, chosen)
    for versions in walk(walked, matcher.wanted, repository.tree, problem):
        gone = bits.gone(versions) if query.deleted else -1
        fitting = [
            Version(found.top, found.path, entry, bits.snapshots(found.snapshots & gone))
            for found in versions
            if bits.chosen & found.snapshots & gone and matcher.fits(entry := decode_entry(*found.spot, None))
        ]
        if fitting:
            yield fitting


def source_of(snapshot: Snapshot) -> tuple[str, tuple[bytes, ...]]:
    """Snapshots of one source have the same host and paths, by names where they have one."""
    return snapshot.body.host, tuple(sorted(snapshot.named_paths))


def latest_of_sources(snapshots: Sequence[Snapshot]) -> dict[tuple[str, tuple[bytes, ...]], SnapshotId]:
    """The newest snapshot of each source; `snapshots` are oldest first."""
    return {source_of(snapshot): snapshot.id for snapshot in snapshots}


class Bits:
    """What the bits of a set of snapshots mean: bit N is the Nth of those `walked`."""

    def __init__(self, walked: Sequence[Snapshot], chosen: Set[SnapshotId]) -> None:
        self._walked = walked
        self._known: dict[int, tuple[Snapshot, ...]] = {}
        self.chosen = 0
        #: Of each source: all of its snapshots, and the latest.
        self._sources: dict[object, tuple[int, int]] = {}
        for number, snapshot in enumerate(walked):
            bit = 1 << number
            self.chosen |= bit if snapshot.id in chosen else 0
            source = source_of(snapshot)
            self._sources[source] = self._sources.get(source, (0, 0))[0] | bit, bit

    def snapshots(self, bits: int) -> tuple[Snapshot, ...]:
        """The chosen ones among them."""
        bits &= self.chosen
        found = self._known.get(bits)
        if found is None:
            found = self._known[bits] = tuple(self._walked[number] for number in numbers(bits))
        return found

    def gone(self, versions: list[Found]) -> int:
        """The snapshots of those sources whose latest snapshot does not have the path, in any version."""
        having = 0
        for version in versions:
            having |= version.snapshots
        return sum(own for own, latest in self._sources.values() if not having & latest)


class _Matcher:
    def __init__(self, query: Query, empty: ObjectId) -> None:
        self._query = query
        self._empty = empty

    def wanted(self, top: bytes, path: bytes, name: bytes) -> bool:
        """By the masks alone; asked of every name, so quick for those that do not fit."""
        masks = self._query.masks
        if not masks:
            return True
        text = os.fsdecode(name)
        for mask in masks:
            if mask.may_be(text):
                whole = os.path.join(top, path, name) if mask.absolute else os.path.join(path, name)
                if mask.fits([os.fsdecode(part) for part in whole.split(b"/") if part]):
                    return True
        return False

    def fits(self, entry: Entry) -> bool:
        query = self._query
        return (
            (not query.kinds or entry.kind in query.kinds)
            and self._has_size(entry)
            and (query.since is None or entry.mtime_ns >= _ns(query.since))
            and (query.until is None or entry.mtime_ns <= _ns(query.until))
            and (query.owner is None or query.owner in (entry.user, str(entry.uid)))
            and (query.group is None or query.group in (entry.group, str(entry.gid)))
            and (query.hash is None or self.hash_of(entry).startswith(query.hash))
        )

    def _has_size(self, entry: Entry) -> bool:
        smallest, largest = self._query.smallest, self._query.largest
        if smallest is None and largest is None:
            return True
        return (
            stat.S_ISREG(entry.mode)
            and (smallest is None or entry.size >= smallest)
            and (largest is None or entry.size <= largest)
        )

    def hash_of(self, entry: Entry) -> str:
        """Of a file's bytes, in hex; empty where it is not known, as of a file with holes."""
        if not stat.S_ISREG(entry.mode):
            return ""
        name = self._empty if not entry.size else entry.hash
        return "" if name is None else name.hex()


def _ns(time: datetime) -> int:
    since = time - datetime.fromtimestamp(0, UTC)
    return (since.days * 86_400 + since.seconds) * NS + since.microseconds * 1000
