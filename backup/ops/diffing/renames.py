"""Which names that came are names that went: found by what listings tell, no data is read.

First by inode: the same file with the same size and time. Then by content, where that is one to one.
Then by the directories that most of their neighbours moved to. Beyond that, nothing is guessed.
"""

import stat
from collections import Counter
from collections.abc import Callable, Hashable

from backup.snapshots.difference import Spot, content_at, is_unread, kind_at, looks_at
from backup.snapshots.tree import STAT

Key = Callable[[bytes, Spot], Hashable]
#: New path → old path.
Renames = dict[bytes, bytes]


def find_renames(gone: dict[bytes, Spot], come: dict[bytes, Spot]) -> Renames:
    """Of anything but directories. A path may be in both: it is never its own origin."""
    renames: Renames = {}
    gone, come = _no_directories(gone), _no_directories(come)
    _pair(renames, gone, come, _looks)
    for key in (_content, _content_and_name):
        _pair(renames, gone, come, key)
    _follow_neighbours(renames, gone, come)
    return renames


def _no_directories(spots: dict[bytes, Spot]) -> dict[bytes, Spot]:
    return {path: spot for path, spot in sorted(spots.items()) if kind_at(spot) != stat.S_IFDIR}


def _pair(renames: Renames, gone: dict[bytes, Spot], come: dict[bytes, Spot], key: Key) -> None:
    taken = set(renames.values())
    old = _grouped(key, {path: spot for path, spot in gone.items() if path not in taken})
    new = _grouped(key, {path: spot for path, spot in come.items() if path not in renames})
    for value, paths in new.items():
        origins = old.get(value, [])
        # Of an inode with several names, whichever name is taken is right.
        if key is not _looks and not len(paths) == len(origins) == 1:
            continue
        for path, origin in zip(paths, origins, strict=False):
            if path != origin and _same_content(gone[origin], come[path]):
                renames[path] = origin


def _grouped(key: Key, spots: dict[bytes, Spot]) -> dict[Hashable, list[bytes]]:
    found: dict[Hashable, list[bytes]] = {}
    for path, spot in spots.items():
        value = key(path, spot)
        if value is not None:
            found.setdefault(value, []).append(path)
    return found


def _looks(path: bytes, spot: Spot) -> Hashable:
    return looks_at(spot)


def _content(path: bytes, spot: Spot) -> Hashable:
    """None where there is none that would tell one file from another."""
    if kind_at(spot) != stat.S_IFREG or is_unread(spot) or not _size(spot):
        return None
    return content_at(spot)


def _content_and_name(path: bytes, spot: Spot) -> Hashable:
    content = _content(path, spot)
    return None if content is None else (content, path.rpartition(b"/")[2])


def _size(spot: Spot) -> int:
    return int(STAT.unpack(spot[0].stat(spot[1]))[4])


def _same_content(old: Spot, new: Spot) -> bool:
    """As far as it is known: of a file that was not read, the size has to do."""
    if is_unread(old) or is_unread(new):
        return _size(old) == _size(new)
    return content_at(old) == content_at(new)


def _follow_neighbours(renames: Renames, gone: dict[bytes, Spot], come: dict[bytes, Spot]) -> None:
    """Where a directory's files moved together, one that could be several is the one of its own name."""
    votes: dict[bytes, Counter[bytes]] = {}
    for path, origin in renames.items():
        for old, new in _moved_directories(origin, path):
            votes.setdefault(old, Counter())[new] += 1
    if not votes:
        return
    taken = set(renames.values())
    for origin, spot in gone.items():
        expected = None if origin in taken else _expected(origin, votes)
        if expected is None or expected == origin:
            continue
        if (
            expected in come
            and expected not in renames
            and kind_at(come[expected]) == kind_at(spot)
            and not is_unread(come[expected])
            and _same_content(spot, come[expected])
        ):
            renames[expected] = origin


def _moved_directories(origin: bytes, path: bytes) -> list[tuple[bytes, bytes]]:
    """The directories that one file's move speaks for: as far up as the names below agree."""
    found = []
    old, _, old_name = origin.rpartition(b"/")
    new, _, new_name = path.rpartition(b"/")
    while old_name == new_name and old != new:
        found.append((old, new))
        old, _, old_name = old.rpartition(b"/")
        new, _, new_name = new.rpartition(b"/")
    return found


def _expected(origin: bytes, votes: dict[bytes, Counter[bytes]]) -> bytes | None:
    """Where a file would be if it had moved with the nearest directory above it that moved."""
    above, rest = origin, b""
    while above:
        above, _, name = above.rpartition(b"/")
        rest = b"/" + name + rest
        if above in votes:
            return (votes[above].most_common(1)[0][0] + rest).lstrip(b"/")
    return None
