"""A tree with some of its paths as another tree has them."""

from collections import defaultdict
from collections.abc import Iterable

from backup.model.entry import FLAG_CARRIED
from backup.model.ids import ObjectId
from backup.snapshots.difference import Read, Spot, tree_at
from backup.snapshots.directory import Directory
from backup.snapshots.paths import find_spot
from backup.snapshots.tree import Row
from backup.snapshots.tree_writer import Store, write_tree

#: Of a directory: names, each with the tree of what was grafted below it; None where all of it is taken.
_Names = dict[bytes, ObjectId | None]


def graft(root: ObjectId, other: ObjectId, paths: Iterable[bytes], read: Read, store: Store) -> ObjectId:
    """The root with what the `other` one has at these paths, and below, marked FLAG_CARRIED.

    `paths` are relative to the root; none is inside another, and `other` has them all. A directory on the
    way that the root has not, or has as something else, comes with nothing else in it. Raises `Damaged`.
    """
    wanted: defaultdict[tuple[bytes, ...], _Names] = defaultdict(dict)
    for path in paths:
        names = tuple(path.split(b"/"))
        for end, name in enumerate(names):
            wanted[names[:end]].setdefault(name, None)
    # The deepest first: each is named by the one above it.
    for way in sorted(wanted, key=len, reverse=True):
        here, there = find_spot(root, way, read), find_spot(other, way, read)
        tree = _write(here, there, wanted[way], read, store)
        if not way:
            return _write_root(root, tree, read, store)
        wanted[way[:-1]][way[-1]] = tree
    return root


def _write(here: Spot | None, there: Spot | None, names: _Names, read: Read, store: Store) -> ObjectId:
    rows: dict[bytes, Row] = {}
    users: dict[int, str] = {}
    groups: dict[int, str] = {}
    for spot, own in ((there, False), (here, True)):
        tree = None if spot is None else tree_at(spot)
        for page in Directory(tree, read).pages() if tree is not None else ():
            users |= page.owner_names[0]
            groups |= page.owner_names[1]
            for position, name in enumerate(page.names):
                if own and (name not in names or (names[name] and tree_at((page, position)))):
                    rows[name] = page.row(position)
                elif not own and name in names:
                    row = page.row(position)
                    rows[name] = row._replace(flags=row.flags | FLAG_CARRIED)
    for name, below in names.items():
        if below is not None:
            rows[name] = rows[name]._replace(object=below)
    ordered = [rows[name] for name in sorted(rows)]
    return write_tree(ordered, store, lambda number: users.get(number, ""), lambda n: groups.get(n, ""))


def _write_root(root: ObjectId, tree: ObjectId, read: Read, store: Store) -> ObjectId:
    page = Directory(root, read, root=True).page(0)
    users, groups = page.owner_names
    row = page.row(0)._replace(object=tree)
    return write_tree([row], store, lambda number: users.get(number, ""), lambda n: groups.get(n, ""))
