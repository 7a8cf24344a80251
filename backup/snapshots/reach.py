"""What a snapshot needs: all objects that its root reaches."""

import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from backup.model.ids import NO_OBJECT, ObjectId
from backup.snapshots.directory import Directory
from backup.snapshots.extents import EXTENT, listed_objects
from backup.snapshots.tree import EXTRA_EXTENTS, REF, STAT, Buffer, Page, extra_fields

Read = Callable[[ObjectId], Buffer]


class Objects(NamedTuple):
    """Some objects of one kind: chunks of files, or else trees and lists of extents."""

    chunks: bool
    names: list[ObjectId]


def reachable(root: ObjectId, read: Read, seen: set[ObjectId]) -> Iterator[Objects]:
    """All objects that a snapshot's root needs, itself among them, a page at a time; chunks may repeat.

    Trees in `seen` are passed over, with all below them; those met are added. Raises `Damaged`, and then
    leaves the tree that cannot be read in `seen`.
    """
    waiting = [] if root in seen else [root]
    seen.add(root)
    while waiting:
        tree = waiting.pop()
        directory = Directory(tree, read, root=tree == root)
        pages = [(number, page) for number, page in enumerate(directory.page_ids) if page not in seen]
        if directory.page_ids == [tree]:
            pages = [(0, tree)]
        yield Objects(False, list({tree, *directory.page_ids}))
        for number, page in pages:
            seen.add(page)
            found = _references(directory.page(number))
            yield Objects(True, found.chunks)
            for name in found.lists:
                if name not in seen:
                    seen.add(name)
                    yield Objects(False, [name])
                    yield Objects(True, _chunks(read(name)))
            for below in found.trees:
                if below not in seen:
                    seen.add(below)
                    waiting.append(below)


class _Found(NamedTuple):
    trees: list[ObjectId]
    lists: list[ObjectId]
    chunks: list[ObjectId]


def _references(page: Page) -> _Found:
    """What the entries of a page name."""
    found = _Found([], [], [])
    rows = zip(STAT.iter_unpack(page.stats), REF.iter_unpack(page.refs), strict=True)
    for position, (record, (name, _, extra, _, _)) in enumerate(rows):
        kind = stat.S_IFMT(record[0])
        if kind == stat.S_IFDIR:
            found.trees.append(name)
        elif kind == stat.S_IFREG:
            if name != NO_OBJECT:
                found.chunks.append(name)
            if extra:
                fields = dict(extra_fields(page.extra(position)))
                found.lists.extend(listed_objects(fields))
                if EXTRA_EXTENTS in fields:
                    found.chunks.extend(_chunks(fields[EXTRA_EXTENTS]))
    return found


def _chunks(extents: Buffer) -> list[ObjectId]:
    """The chunks that a list of extents names."""
    whole = memoryview(extents)[: len(extents) // EXTENT.size * EXTENT.size]
    return [ObjectId(chunk) for _, chunk in EXTENT.iter_unpack(whole) if chunk != NO_OBJECT]
