"""Finding a path in a snapshot. Symlinks are entries like others here: never followed."""

import os
from collections.abc import Iterable

from backup.model.entry import Entry
from backup.model.errors import NotFound
from backup.model.ids import ObjectId
from backup.snapshots.difference import Spot, tree_at
from backup.snapshots.directory import Directory, Read
from backup.snapshots.manifest import Snapshot


def relative_parts(snapshot: Snapshot, path: bytes) -> list[bytes]:
    """The names from the snapshot's root to `path`, which is relative to the root, or as at the source.

    Raises `NotFound` for a path that lies outside the snapshot.
    """
    if path.startswith(b"/") and path.strip(b"/"):
        top = snapshot.top.rstrip(b"/")
        wanted = b"/" + path.strip(b"/")
        if wanted != top and not wanted.startswith(top + b"/"):
            raise NotFound(
                f"{os.fsdecode(path)} is not in the snapshot: it holds {os.fsdecode(snapshot.top)}"
            )
        path = wanted[len(top) :]
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise NotFound(f"{os.fsdecode(path)}: `..` leads nowhere in a snapshot")
    return parts


def find_entry(snapshot: Snapshot, path: bytes, read: Read) -> tuple[Entry, list[bytes]]:
    """The entry at a path, and the names that lead to it (none: the root).

    Raises `NotFound`, or `Damaged`.
    """
    entry = Directory(snapshot.root, read, root=True).entry(0)
    parts = relative_parts(snapshot, path)
    for name in parts:
        directory = None if entry.tree is None else Directory(entry.tree, read)
        position = -1 if directory is None else directory.find(name)
        if directory is None or position < 0:
            raise NotFound(f"there is no {os.fsdecode(b'/'.join(parts))} in snapshot {snapshot.id[:12]}")
        entry = directory.entry(position)
    return entry, parts


def find_spot(root: ObjectId, parts: Iterable[bytes], read: Read) -> Spot | None:
    """Where the entry is that the names lead to, from a snapshot's root; None where there is none.

    Raises `Damaged`.
    """
    return find_below(Directory(root, read, root=True).at(0), parts, read)


def find_below(spot: Spot, parts: Iterable[bytes], read: Read) -> Spot | None:
    """The same from any entry on."""
    for name in parts:
        tree = tree_at(spot)
        directory = None if tree is None else Directory(tree, read)
        position = -1 if directory is None else directory.find(name)
        if directory is None or position < 0:
            return None
        spot = directory.at(position)
    return spot


def source_path(snapshot: Snapshot, parts: list[bytes]) -> bytes:
    """The path at the source of the entry that the names lead to."""
    return os.path.join(snapshot.top, *parts)
