"""The changes between two trees as lines of JSON: one a name, in the order of paths."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from backup.model.entry import Entry
from backup.model.errors import Damaged
from backup.model.ids import ObjectId
from backup.model.text import Name, to_name
from backup.snapshots.difference import Change, Difference, Spot, content_at, tree_at
from backup.snapshots.directory import Directory, decode_entry
from backup.snapshots.tree import STAT, Buffer

Read = Callable[[ObjectId], Buffer]


class Line(msgspec.Struct, omit_defaults=True):
    """One change. `origin` (`from` in JSON) is the path before, of what was renamed.

    `unknown` is what a list that was made anew from an increment's files does not tell.
    """

    change: str
    path: Name
    origin: Name | None = msgspec.field(default=None, name="from")
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    unknown: list[str] | None = None


def changes_of(root: Change, read: Read) -> bytes:
    """All changes below a root, a line of JSON each; `damaged` where what is below cannot be told."""
    encoder = msgspec.json.Encoder()
    return b"".join(encoder.encode(line) + b"\n" for line in change_lines(root, read))


def change_lines(root: Change, read: Read) -> Iterator[Line]:
    """Every name that was added, removed, renamed or modified; the root itself is `.`."""
    found = sorted(_walk(root, read), key=lambda item: item[0])
    damaged = {path for path, difference, *_ in found if Difference.DAMAGED in difference}
    changes = [item for item in found if item[2:] != (None, None)]
    origins = _renames(changes)
    gone = {path: spot for path, difference, spot, _ in changes if difference == Difference.REMOVED}
    moved = set(origins.values())
    for path, difference, before, after in changes:
        if difference == Difference.REMOVED and path in moved:
            continue
        origin = origins.get(path) if difference == Difference.ADDED else None
        if origin is not None:
            before = gone[origin]
        yield Line(
            change=("damaged" if path in damaged else _word(difference) if origin is None else "renamed"),
            path=to_name(path or b"."),
            origin=None if origin is None else to_name(origin),
            before=None if before is None else record_of(decode_entry(*before, None)),
            after=None if after is None else record_of(decode_entry(*after, None)),
        )


_Item = tuple[bytes, Difference, Spot | None, Spot | None]


def _walk(root: Change, read: Read) -> Iterator[_Item]:
    """Path, difference, and the spots before and after. What was added or removed is walked whole; where
    its listing is damaged, its path comes once more, without spots."""
    waiting: list[tuple[bytes, Change]] = [(b"", root)]
    while waiting:
        path, change = waiting.pop()
        difference = change.difference
        if change.damage is not None:
            difference |= Difference.DAMAGED
        if difference:
            yield path, difference, change.before, change.after
        old, new = change.before_tree, change.after_tree
        if old is not None and new is None:
            yield from _whole(path, old, Difference.REMOVED, read)
        elif new is not None and old is None:
            yield from _whole(path, new, Difference.ADDED, read)
        below = sorted(change.below.items(), reverse=True)
        waiting += [(_join(path, name), here) for name, here in below]


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name


def _whole(path: bytes, tree: ObjectId, difference: Difference, read: Read) -> Iterator[_Item]:
    waiting = [(path, tree)]
    while waiting:
        path, tree = waiting.pop()
        try:
            spots = [(page, at) for page in Directory(tree, read).pages() for at in range(len(page))]
        except Damaged:
            yield path, Difference.DAMAGED, None, None
            continue
        for spot in spots:
            here = _join(path, spot[0].names[spot[1]])
            added = difference == Difference.ADDED
            yield here, difference, None if added else spot, spot if added else None
            subtree = tree_at(spot)
            if subtree is not None:
                waiting.append((here, subtree))


def _renames(changes: list[_Item]) -> dict[bytes, bytes]:
    """New path → old path, of what moved: the same inode with the same content and time, else the
    same content, where that is one to one."""
    removed = [(path, spot) for path, kind, spot, _ in changes if kind == Difference.REMOVED and spot]
    added = [(path, spot) for path, kind, _, spot in changes if kind == Difference.ADDED and spot]
    origins: dict[bytes, bytes] = {}
    for key in (_same_inode, _same_content):
        taken = set(origins.values())
        before = _by_key(key, [item for item in removed if item[0] not in taken])
        after = _by_key(key, [item for item in added if item[0] not in origins])
        for found, paths in after.items():
            if len(paths) == 1 and len(before.get(found, ())) == 1:
                origins[paths[0]] = before[found][0]
    return origins


def _by_key(
    key: Callable[[Spot], tuple[object, ...] | None], items: list[tuple[bytes, Spot]]
) -> dict[tuple[object, ...], list[bytes]]:
    found: dict[tuple[object, ...], list[bytes]] = {}
    for path, spot in items:
        value = key(spot)
        if value is not None:
            found.setdefault(value, []).append(path)
    return found


def _same_inode(spot: Spot) -> tuple[object, ...]:
    page, position = spot
    record = STAT.unpack(page.stat(position))
    mode, mtime, ns, ino = record[0], record[5], record[7], record[9]
    kind = mode & 0o170000
    # The inode may have been another's that was removed: what it holds must be the same, too.
    time = () if kind == 0o040000 else (mtime, ns)
    return (kind, page.ref(position)[3], ino, content_at(spot), *time)


def _same_content(spot: Spot) -> tuple[object, ...] | None:
    page, position = spot
    record = STAT.unpack(page.stat(position))
    object_id = page.ref(position)[0]
    if record[0] & 0o170000 != 0o100000 or not record[4]:
        return None
    return object_id, record[4], bytes(page.extra(position))


def _word(difference: Difference) -> str:
    if difference == Difference.ADDED:
        return "added"
    if difference == Difference.REMOVED:
        return "removed"
    return "content" if Difference.CONTENT in difference else "metadata"


def record_of(entry: Entry) -> dict[str, Any]:
    """What a line tells of a name, before or after; `size` in bytes."""
    return {
        "kind": entry.kind,
        "mode": entry.mode & 0o7777,
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "mtime_ns": entry.mtime_ns,
    }
