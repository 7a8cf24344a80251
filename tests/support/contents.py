"""All that the snapshots of a repository hold, read through the engine, to be compared later."""

import hashlib
from pathlib import Path

from backup.model.entry import Entry
from backup.model.ids import ObjectId
from backup.repository import Repository
from backup.snapshots.directory import Directory, lists_of
from backup.snapshots.manifest import Snapshot

#: Path → the entry without its extents, and the hash of its bytes.
Contents = dict[bytes, tuple[Entry, bytes]]


def contents(repository: Path, cache: Path) -> dict[str, Contents]:
    """By snapshot's id. Raises what the engine raises where anything cannot be read."""
    with Repository.open(repository, cache, lambda text: None) as opened:
        return {snapshot.id: _contents(opened, snapshot) for snapshot in opened.snapshots()}


def _contents(repository: Repository, snapshot: Snapshot) -> Contents:
    found: Contents = {}
    waiting = [(b"", repository.root(snapshot).entry(0))]
    while waiting:
        path, entry = waiting.pop()
        hasher = hashlib.sha256()
        for extent in entry.extents:
            hasher.update(b"hole" if extent.chunk is None else repository.reader.read(extent.chunk))
        found[path] = entry._replace(extents=()), hasher.digest()
        if entry.tree is not None:
            for child in repository.directory(entry.tree).entries():
                waiting.append((path + b"/" + child.name, child))
    return found


def stored_objects(repository: Path, cache: Path) -> set[ObjectId]:
    """The objects of all packs that stand, by their footers."""
    with Repository.open(repository, cache, lambda text: None) as opened:
        opened.index.recreate()
        opened.lookup.sync()
        return {*opened.index.objects(), *opened.lookup.unlisted()}


def reachable_objects(repository: Path, cache: Path) -> set[ObjectId]:
    """What some snapshot needs: trees, their pages, lists of extents, chunks."""
    found: set[ObjectId] = set()
    with Repository.open(repository, cache, lambda text: None) as opened:
        waiting = [(snapshot.root, True) for snapshot in opened.snapshots()]
        while waiting:
            tree, root = waiting.pop()
            if tree in found:
                continue
            directory = Directory(tree, opened.tree, root=root)
            found |= {tree, *directory.page_ids}
            for page in directory.pages():
                for position in range(len(page)):
                    found.update(lists_of(page, position))
            for entry in directory.entries():
                found |= {extent.chunk for extent in entry.extents if extent.chunk is not None}
                waiting += [] if entry.tree is None else [(entry.tree, False)]
    return found
