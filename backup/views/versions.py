"""The union of all snapshots' trees, in which each file is a directory of its distinct versions.

Opening a directory reads that directory in the snapshots, and nothing else.
"""

import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from backup.model.ids import ObjectId
from backup.snapshots.directory import Directory
from backup.snapshots.manifest import Snapshot
from backup.snapshots.tree import Buffer, Page
from backup.views.folder import Folder, MadeDirectory, NamedFolder, Node
from backup.views.snapshot import Scope, SnapshotNode

Read = Callable[[ObjectId], Buffer]
#: Name of the snapshot's time, its scope, the snapshot; oldest first.
Listed = Callable[[], list[tuple[bytes, Scope, Snapshot]]]


class _Source(NamedTuple):
    """A directory in one snapshot; `when` names the snapshot's time."""

    when: bytes
    scope: Scope
    tree: ObjectId


class _Version(NamedTuple):
    when: bytes
    scope: Scope
    page: Page
    position: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def mode(self) -> int:
        return int.from_bytes(self.page.stat(self.position)[:4], "little")

    @property
    def identity(self) -> tuple[object, ...]:
        """The same for all snapshots in which the file has the same content and times."""
        record = self.page.stat(self.position)
        # mode, owner, size and mtime; not the count of links, ctime or the inode
        return (
            bytes(record[:12]),
            bytes(record[16:32]),
            bytes(record[40:44]),
            self.page.ref(self.position)[0],
            bytes(self.page.extra(self.position)),
        )


def versions_folder(listed: Listed, read: Read, timeout: float) -> Folder:
    """The root of the union; what it shows grows with new snapshots."""

    def sources() -> list[_Source]:
        found = []
        for when, scope, snapshot in listed():
            page, position = Directory(snapshot.root, read, root=True).at(0)
            found.append(_Source(when, scope, page.ref(position)[0]))
        return found

    return _Union(sources, timeout).folder()


class _Union:
    """One directory of the union. `sources` are the snapshots' directories there, oldest first."""

    def __init__(self, sources: Callable[[], list[_Source]], timeout: float) -> None:
        self._sources = sources
        self._timeout = timeout
        self._seen: tuple[ObjectId, ...] = ()
        self._names: dict[bytes, list[_Version]] = {}

    def folder(self) -> Folder:
        return NamedFolder(lambda: list(self._versions()), self._node, self._timeout)

    def _versions(self) -> dict[bytes, list[_Version]]:
        """The distinct versions of each name; read anew only where the sources changed."""
        distinct: dict[ObjectId, _Source] = {}
        for source in self._sources():
            distinct.setdefault(source.tree, source)
        if tuple(distinct) != self._seen:
            self._names = _distinct_versions(list(distinct.values()))
            self._seen = tuple(distinct)
        return self._names

    def _node(self, name: bytes) -> Node:
        versions = self._versions()[name]
        newest = versions[-1]
        mtime = newest.page.stat(newest.position)[24:32]
        time_ns = int.from_bytes(mtime, "little", signed=True) * 1_000_000_000
        return MadeDirectory(lambda: self._below(name), time_ns)

    def _below(self, name: bytes) -> Folder:
        """The versions of a file; of a directory, what it holds; of a name that was both, both."""

        def sources() -> list[_Source]:
            return [
                _Source(version.when, version.scope, version.page.ref(version.position)[0])
                for version in self._versions().get(name, [])
                if version.is_directory
            ]

        def files() -> dict[bytes, _Version]:
            return _version_names(
                name, [version for version in self._versions().get(name, []) if not version.is_directory]
            )

        union = _Union(sources, self._timeout)

        def names() -> list[bytes]:
            return [*files(), *(below for below in union._versions() if below not in files())]

        def node(below: bytes) -> Node:
            version = files().get(below)
            if version is None:
                return union._node(below)
            return SnapshotNode(version.scope, version.page, version.position)

        return NamedFolder(names, node, self._timeout)


def _distinct_versions(sources: list[_Source]) -> dict[bytes, list[_Version]]:
    found: dict[bytes, dict[tuple[object, ...], _Version]] = {}
    for source in sources:
        for page in source.scope.directories.get(source.tree).pages():
            for position, name in enumerate(page.names):
                version = _Version(source.when, source.scope, page, position)
                found.setdefault(name, {}).setdefault(version.identity, version)
    return {name: list(versions.values()) for name, versions in found.items()}


def _version_names(name: bytes, versions: list[_Version]) -> dict[bytes, _Version]:
    """Named by the time of the first snapshot that has it, with the file's own suffix."""
    suffix = os.path.splitext(name)[1]
    found: dict[bytes, _Version] = {}
    for version in versions:
        own = version.when + suffix
        number = 2
        while own in found:
            own = version.when + b"_%d" % number + suffix
            number += 1
        found[own] = version
    return found
