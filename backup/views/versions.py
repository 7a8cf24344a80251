"""The union of all snapshots' trees, in which each file is a directory of its distinct versions.

Opening a directory reads that directory in the snapshots, and nothing else.
"""

import os
import stat
from collections.abc import Callable, Hashable
from typing import NamedTuple

from backup.model.ids import ObjectId, SnapshotId
from backup.snapshots.directory import Directory
from backup.snapshots.manifest import Snapshot
from backup.snapshots.tree import Buffer, Page
from backup.views.folder import Folder, MadeDirectory, NamedFolder, Node
from backup.views.snapshot import Scope, SnapshotNode

Read = Callable[[ObjectId], Buffer]
#: Gives the same object for as long as the same snapshots are listed.
Generation = Callable[[], object]
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


def versions_folder(listed: Listed, generation: Generation, read: Read, timeout: float) -> Folder:
    """The root of the union; what it shows grows with new snapshots."""

    def sources() -> list[_Source]:
        found = []
        for when, scope, snapshot in listed():
            page, position = Directory(snapshot.root, read, root=True).at(0)
            found.append(_Source(when, scope, page.ref(position)[0]))
        return found

    return _Union(generation, sources, dict, timeout).folder()


class _Union:
    """One directory of the union. `sources` are the snapshots' directories there, oldest first.

    `files` are the versions of the file that had the directory's name, by their own names. Both are
    asked again only when the generation is another.
    """

    def __init__(
        self,
        generation: Generation,
        sources: Callable[[], list[_Source]],
        files: Callable[[], dict[bytes, _Version]],
        timeout: float,
    ) -> None:
        self._generation = generation
        self._sources = sources
        self._own_files = files
        self._timeout = timeout
        self._looked: object = None
        self._seen: dict[ObjectId, SnapshotId] = {}
        self._below: dict[bytes, list[_Version]] = {}
        self._files: dict[bytes, _Version] = {}
        self._names: dict[bytes, Hashable] = {}

    def folder(self) -> Folder:
        return NamedFolder(self._look, self._node, self._timeout)

    def _look(self) -> dict[bytes, Hashable]:
        """The names, each with the snapshot of the version that it stands for."""
        generation = self._generation()
        if generation is not self._looked:
            self._read_sources()
            self._files = self._own_files()
            of_files = {name: version.scope.snapshot for name, version in self._files.items()}
            self._names = {**dict.fromkeys(self._below), **of_files}
            self._looked = generation
        return self._names

    def _read_sources(self) -> None:
        distinct: dict[ObjectId, _Source] = {}
        for source in self._sources():
            distinct.setdefault(source.tree, source)
        seen = {tree: source.scope.snapshot for tree, source in distinct.items()}
        if seen != self._seen:
            self._below = _distinct_versions(list(distinct.values()))
            self._seen = seen

    def _versions(self, name: bytes) -> list[_Version]:
        self._look()
        return self._below.get(name, [])

    def _node(self, name: bytes) -> Node:
        file = self._files.get(name)
        if file is not None:
            return SnapshotNode(file.scope, file.page, file.position)
        newest = self._below[name][-1]
        mtime = newest.page.stat(newest.position)[24:32]
        time_ns = int.from_bytes(mtime, "little", signed=True) * 1_000_000_000
        return MadeDirectory(lambda: self._enter(name), time_ns)

    def _enter(self, name: bytes) -> Folder:
        """The versions of a file; of a directory, what it holds; of a name that was both, both."""

        def sources() -> list[_Source]:
            return [
                _Source(version.when, version.scope, version.page.ref(version.position)[0])
                for version in self._versions(name)
                if version.is_directory
            ]

        def files() -> dict[bytes, _Version]:
            return _version_names(
                name, [version for version in self._versions(name) if not version.is_directory]
            )

        return _Union(self._generation, sources, files, self._timeout).folder()


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
