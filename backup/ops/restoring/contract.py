"""What a restore is told, what it needs, and what it reports."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from backup.model.entry import Entry
from backup.model.ids import ObjectId
from backup.source.descent import Identity

#: What to do with a name that exists in the target already.
#: always: written anew, whatever is there. if-changed: left where it looks the same, else replaced.
#: never: left. keep: left where it looks the same, else moved aside to NAME.imbfs-kept-N.
#: Directories are merged in all four; `never` leaves an existing one's own metadata too.
Overwrite = Literal["always", "if-changed", "never", "keep"]

#: Whether a pattern fits: the path relative to the restored directory, and whether it is a directory.
Predicate = Callable[[bytes, bool], bool]


class Reader(Protocol):
    """The snapshot's content."""

    def entries(self, tree: ObjectId) -> Iterable[Entry]:
        """A directory's entries, sorted by name. Raises Damaged, here or while they are taken."""

    def chunk(self, object_id: ObjectId) -> bytes | memoryview:
        """A chunk's bytes, checked against their hash. Raises Damaged."""


class RestoreMonitor(Protocol):
    """Who watches. Paths are relative to the restored directory, which itself is `.`."""

    def progress(self, files: int, size: int, path: bytes) -> None:
        """So many names other than directories, and bytes of content with their holes, are dealt with."""

    def notice(self, text: str) -> None:
        """Something worth knowing that is no error; each kind once."""

    def problem(self, path: bytes, text: str) -> None:
        """This item could not be put back, or not all of it. The rest goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    overwrite: Overwrite = "if-changed"
    #: Remove, inside restored directories, what the snapshot does not have.
    delete: bool = False
    dry_run: bool = False
    #: Compare with the chunks what looks the same, and read back what was written.
    verify: bool = False
    #: Only what fits, and all below a directory that fits. Directories on the way are made when needed.
    include: Predicate | None = None
    #: Not what fits, nor anything below it; wins over `include`, and protects from `delete`.
    exclude: Predicate | None = None
    #: Owners by number even where a user of the recorded name exists.
    numeric_owner: bool = False
    #: Directories never to be removed or replaced, whatever else says so: the repository itself.
    protected: frozenset[Identity] = frozenset()


@dataclass(slots=True)
class RestoreSummary:
    """Counts of names; a hard-linked file counts once a name. A dry run counts what would be done."""

    #: Regular files, symlinks, and FIFOs, sockets and devices that were written or whose metadata was mended.
    files: int = 0
    links: int = 0
    specials: int = 0
    dirs: int = 0
    #: Bytes of file data written; holes are not.
    bytes_written: int = 0
    #: Names other than directories that were found the same, and not touched.
    unchanged: int = 0
    #: Names that exist and were left as they are, because of overwrite=never.
    skipped: int = 0
    #: Names removed: by `delete`, or because a directory or something else goes there.
    deleted: int = 0
    #: Names moved aside.
    kept: int = 0
    errors: int = 0
    seconds: float = 0.0
