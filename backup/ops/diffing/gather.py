"""From a comparison of two trees to flat lists of names: what went, what came, what changed in its place."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from backup.model.ids import ObjectId
from backup.snapshots.difference import Change, Difference, Read, Spot, tree_at
from backup.snapshots.directory import Directory


@dataclass(slots=True)
class Gathered:
    """Spots by path. A name of another kind than before went, and came."""

    gone: dict[bytes, Spot] = field(default_factory=dict)
    come: dict[bytes, Spot] = field(default_factory=dict)
    #: Of all else that differs: what it was, what it is, and what is different.
    changed: dict[bytes, tuple[Spot, Spot, Difference]] = field(default_factory=dict)
    #: Directories that stand at their path in both trees with something different below, or as another inode.
    standing: dict[bytes, tuple[Spot, Spot]] = field(default_factory=dict)
    #: New path → old path of directories that moved with all below them as it was: that was not opened.
    moved: dict[bytes, bytes] = field(default_factory=dict)


def gather(root: Change, path: bytes, read: Read) -> Gathered:
    """Names of `root`, which stands at `path`, and below. Raises `Damaged`."""
    found = Gathered()
    waiting = [(path, root)]
    while waiting:
        path, change = waiting.pop()
        _take(found, path, change)
        waiting += [(join(path, name), below) for name, below in change.below.items()]
    found.moved = _same_trees(found)
    _expand(found.gone, set(found.moved.values()), read)
    _expand(found.come, set(found.moved), read)
    return found


def _take(found: Gathered, path: bytes, change: Change) -> None:
    before, after = change.before, change.after
    if before is None or after is None or change.replaced:
        if before is not None:
            found.gone[path] = before
        if after is not None:
            found.come[path] = after
        return
    difference = change.difference
    if change.before_tree is not None:
        found.standing[path] = before, after
    if difference:
        found.changed[path] = before, after, difference


def _same_trees(found: Gathered) -> dict[bytes, bytes]:
    """Directories that went here and came there with the same tree, where that is one to one."""
    old, new = _by_tree(found.gone), _by_tree(found.come)
    return {
        paths[0]: old[tree][0]
        for tree, paths in new.items()
        if len(paths) == 1 and len(old.get(tree, ())) == 1
    }


def _by_tree(spots: dict[bytes, Spot]) -> dict[ObjectId, list[bytes]]:
    found: dict[ObjectId, list[bytes]] = {}
    for path, spot in spots.items():
        tree = tree_at(spot)
        if tree is not None:
            found.setdefault(tree, []).append(path)
    return found


def _expand(spots: dict[bytes, Spot], whole: set[bytes], read: Read) -> None:
    """Adds all that lies below the directories among them, but for the `whole` ones."""
    for path in [path for path in spots if path not in whole]:
        tree = tree_at(spots[path])
        if tree is not None:
            spots.update(below(path, tree, read))


def below(path: bytes, tree: ObjectId, read: Read) -> Iterator[tuple[bytes, Spot]]:
    """Path and spot of everything below a directory."""
    waiting = [(path, tree)]
    while waiting:
        path, tree = waiting.pop()
        for page in Directory(tree, read).pages():
            for position, name in enumerate(page.names):
                here, spot = join(path, name), (page, position)
                yield here, spot
                subtree = tree_at(spot)
                if subtree is not None:
                    waiting.append((here, subtree))


def join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name
