"""The whole repository: every snapshot, by id, time, host, tag and path; increments; versions."""

import errno
import hashlib
import time
from collections.abc import Callable, Iterable
from datetime import UTC
from typing import TypeVar

from backup.model.errors import NotFound
from backup.model.ids import SHORT_ID, SnapshotId
from backup.repository import Repository
from backup.repository.config import KEY
from backup.snapshots.catalogue import previous, time_of
from backup.snapshots.directory import Directory
from backup.snapshots.manifest import Snapshot
from backup.snapshots.paths import find_spot, relative_parts
from backup.snapshots.tree import MAX_NAME
from backup.views.folder import Folder, MadeDirectory, MadeLink, NamedFolder, Node
from backup.views.increment import increment_folder
from backup.views.snapshot import Directories, Options, Scope, SnapshotNode
from backup.views.versions import versions_folder

#: Seconds for which the kernel keeps the names of snapshots, and we the list of them: together less
#: than the second within which a new one is to be seen.
NAMES = 0.4

_Made = TypeVar("_Made")

ByName = dict[bytes, Snapshot]
Layout = dict[bytes, Node]


class Shown:
    """The snapshots that exist, looked at again after a moment; and nodes for them."""

    def __init__(
        self,
        repository: Repository,
        options: Options,
        chosen: Callable[[Snapshot], bool] = lambda _: True,
        clock: Callable[[], float] = time.monotonic,
        hold: Callable[[Iterable[Snapshot]], None] = lambda _: None,
    ) -> None:
        """`hold` is told of snapshots before what they hold is shown; it raises `NotFound` for one gone."""
        self._hold = hold
        self._chosen = chosen
        self.repository = repository
        self.directories = Directories(repository)
        self.options = options
        self._clock = clock
        self._looked = float("-inf")
        self._snapshots: list[Snapshot] = []

    def snapshots(self) -> list[Snapshot]:
        """Oldest first. The same list for as long as nothing came or went."""
        if self._clock() - self._looked > NAMES:
            self._require_repository()
            found = self.repository.snapshots(self._chosen)
            if found != self._snapshots:
                self._snapshots = found
            self._looked = self._clock()
        return self._snapshots

    def _require_repository(self) -> None:
        """A disk that is away looks like a repository without snapshots. Raises OSError."""
        try:
            self.repository.storage.size(KEY)
        except OSError as error:
            raise OSError(errno.EIO, f"{self.repository.path} cannot be read: {error.strerror}") from None

    def hold(self, *snapshots: Snapshot) -> None:
        try:
            self._hold(snapshots)
        except NotFound as error:
            raise FileNotFoundError(errno.ENOENT, str(error)) from None

    def scope(self, snapshot: Snapshot) -> Scope:
        return Scope(self.directories, snapshot.id, self.options, lambda: self.hold(snapshot))

    def node(self, snapshot: Snapshot, path: bytes = b"") -> SnapshotNode:
        """The snapshot's root, or what it has at `path`, as at the source. Raises OSError."""
        spot = find_spot(snapshot.root, relative_parts(snapshot, path), self.repository.tree)
        if spot is None:
            raise FileNotFoundError(errno.ENOENT, "not in the snapshot", path)
        return SnapshotNode(self.scope(snapshot), *spot)

    def time_ns(self) -> int:
        """When the last snapshot was made: the time of the directories that hold them."""
        snapshots = self.snapshots()
        return time_ns(snapshots[-1]) if snapshots else 0

    def kept(self, make: Callable[[], _Made]) -> Callable[[], _Made]:
        """`make`, called again only when snapshots came or went: it looks at all of them."""
        made: list[tuple[list[Snapshot], _Made]] = []

        def get() -> _Made:
            snapshots = self.snapshots()
            if not made or made[0][0] is not snapshots:
                made[:] = [(snapshots, make())]
            return made[0][1]

        return get

    def folder(self, by_name: Callable[[], ByName]) -> Folder:
        """A directory of snapshots under the names that `by_name` gives them."""
        named = self.kept(by_name)
        names = self.kept(lambda: ids(named()))
        return NamedFolder(names, lambda name: self.node(named()[name]), timeout=NAMES)

    def directory(self, make: Callable[[], Folder]) -> MadeDirectory:
        return MadeDirectory(make, self.time_ns())


def ids(by_name: ByName) -> dict[bytes, SnapshotId]:
    return {name: snapshot.id for name, snapshot in by_name.items()}


def time_ns(snapshot: Snapshot) -> int:
    return int(time_of(snapshot).timestamp()) * 1_000_000_000


def repository_node(shown: Shown, layout: str) -> Node:
    """The root of a whole-repository mount. `layout`: "" or "shadow"."""
    if layout == "shadow":
        # Only names of this form are looked for: of two of the same second, the later one is shown.
        return shown.directory(
            lambda: shown.folder(lambda: {_gmt_name(snapshot): snapshot for snapshot in shown.snapshots()})
        )
    root = NamedFolder(lambda: _top_names(shown), lambda name: _top_node(shown, name), timeout=NAMES)
    return shown.directory(lambda: root)


def _top_names(shown: Shown) -> dict[bytes, None]:
    return dict.fromkeys([*([b"latest"] if shown.snapshots() else []), *_TOP])


def _top_node(shown: Shown, name: bytes) -> Node:
    if name == b"latest":
        newest = shown.snapshots()[-1]
        return MadeLink(b"snapshots/" + newest.id.encode(), time_ns(newest))
    return shown.directory(lambda: _TOP[name](shown))


def _snapshots(shown: Shown) -> Folder:
    return shown.folder(lambda: {snapshot.id.encode(): snapshot for snapshot in shown.snapshots()})


def _by_time(shown: Shown) -> Folder:
    return shown.folder(lambda: _named(shown.snapshots(), time_name))


def _by_host(shown: Shown) -> Folder:
    return _groups(shown, lambda snapshot: [snapshot.body.host])


def _by_tag(shown: Shown) -> Folder:
    return _groups(shown, lambda snapshot: snapshot.labels.tags)


def _groups(shown: Shown, keys: Callable[[Snapshot], Iterable[str]]) -> Folder:
    """A directory for each key, with the snapshots that have it, by time."""

    def groups() -> dict[bytes, list[Snapshot]]:
        found: dict[bytes, list[Snapshot]] = {}
        for snapshot in shown.snapshots():
            for key in keys(snapshot):
                found.setdefault(safe_name(key), []).append(snapshot)
        return found

    known = shown.kept(groups)

    def node(name: bytes) -> Node:
        return shown.directory(lambda: shown.folder(lambda: _named(known().get(name, []), time_name)))

    return NamedFolder(lambda: dict.fromkeys(known()), node, timeout=NAMES)


def _by_path(shown: Shown, prefix: bytes = b"/") -> Folder:
    """The directories that lead to the sources; in each source's, what the snapshots have of it, by time."""

    def snapshots() -> ByName:
        return _named((each for each in shown.snapshots() if prefix in each.paths), time_name)

    def below() -> set[bytes]:
        start = prefix.rstrip(b"/") + b"/"
        paths = (path for snapshot in shown.snapshots() for path in snapshot.paths)
        return {
            path[len(start) :].split(b"/")[0] for path in paths if path.startswith(start) and path != start
        }

    here = shown.kept(snapshots)
    names = shown.kept(lambda: {**dict.fromkeys(below()), **ids(here())})

    def node(name: bytes) -> Node:
        found = here().get(name)
        if found is not None:
            return shown.node(found, prefix)
        return shown.directory(lambda: _by_path(shown, prefix.rstrip(b"/") + b"/" + name))

    return NamedFolder(names, node, timeout=NAMES)


def _increments(shown: Shown) -> Folder:
    def by_name() -> ByName:
        return {snapshot.id.encode(): snapshot for snapshot in shown.snapshots()}

    named = shown.kept(by_name)
    names = shown.kept(lambda: ids(named()))

    def node(name: bytes) -> Node:
        snapshot = named()[name]
        return MadeDirectory(lambda: increment_of(shown, snapshot), time_ns(snapshot))

    return NamedFolder(names, node, timeout=NAMES)


def increment_of(shown: Shown, snapshot: Snapshot) -> Folder:
    """What a snapshot changed against its parent, or the one before it where that was forgotten."""
    before = previous(snapshot, shown.snapshots())
    shown.hold(snapshot, *([before] if before else []))
    read = shown.repository.tree
    return increment_folder(
        shown.scope(before or snapshot),
        shown.scope(snapshot),
        None if before is None else Directory(before.root, read, root=True).at(0),
        Directory(snapshot.root, read, root=True).at(0),
        time_ns(snapshot),
    )


def _versions(shown: Shown) -> Folder:
    def listed() -> list[tuple[bytes, Scope, Snapshot]]:
        snapshots = shown.snapshots()
        shown.hold(*snapshots)
        return [(time_name(snapshot), shown.scope(snapshot), snapshot) for snapshot in snapshots]

    return versions_folder(
        listed,
        shown.snapshots,
        shown.repository.tree,
        NAMES,
    )


_TOP: dict[bytes, Callable[[Shown], Folder]] = {
    b"snapshots": _snapshots,
    b"by-time": _by_time,
    b"by-host": _by_host,
    b"by-tag": _by_tag,
    b"by-path": _by_path,
    b"increments": _increments,
    b"versions": _versions,
}


# Names


def time_name(snapshot: Snapshot) -> bytes:
    """As in 2026-11-20T12.00.00+0100: in order, and without a colon, which some systems refuse."""
    return time_of(snapshot).strftime("%Y-%m-%dT%H.%M.%S%z").encode()


def _gmt_name(snapshot: Snapshot) -> bytes:
    """As Samba's shadow_copy2 looks for them."""
    return time_of(snapshot).astimezone(UTC).strftime("@GMT-%Y.%m.%d-%H.%M.%S").encode()


def _named(snapshots: Iterable[Snapshot], name: Callable[[Snapshot], bytes]) -> ByName:
    """Snapshots by name; of two of the same second, the later one has its id in the name."""
    found: ByName = {}
    for snapshot in snapshots:
        own = name(snapshot)
        if own in found:
            own += b"_" + snapshot.id[:SHORT_ID].encode()
        found[own] = snapshot
    return found


def safe_name(text: str) -> bytes:
    """A host's or a tag's name as one a directory can have."""
    name = text.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")
    if name in ("", ".", ".."):
        name = name.replace(".", "%2E") or "%"
    encoded = name.encode()
    if len(encoded) <= MAX_NAME:
        return encoded
    # Cut between characters; with a hash, so that two names stay two.
    mark = b"~" + hashlib.blake2b(encoded, digest_size=8).hexdigest().encode()
    return encoded[: MAX_NAME - len(mark)].decode(errors="ignore").encode() + mark
