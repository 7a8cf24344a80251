"""What the files of an exported increment tell of its changes, where the list of them is lost."""

from collections.abc import Iterable, Iterator

from backup.model.entry import Entry
from backup.model.text import to_name
from backup.snapshots.changes import Line, record_of

#: What is in a part, by its path there; the part itself is at the empty path.
Part = dict[bytes, Entry]

#: What no such list can know: it stands in the list itself.
UNKNOWN = [
    "changed: whether a name was added, or its content or its metadata changed",
    "renames: the old path is removed, the new one is changed",
    "directories that are not empty: whether they were added",
    "directories in deleted/ alone: whether they are gone, or only what was in them",
    "whether the export was whole, and whether all of it is still there",
]


def lines_of(files: Part, deleted: Part) -> list[Line]:
    """The changes, in the order of paths, behind a line that says what they do not tell."""
    return [Line("recreated", ".", unknown=UNKNOWN), *_changes(files, deleted)]


def _changes(files: Part, deleted: Part) -> Iterator[Line]:
    leading = _parents(files)
    new: set[bytes] = set()
    for path in sorted(files.keys() | deleted.keys()):
        before, after = deleted.get(path), files.get(path)
        if not path and len(deleted) == 1:
            # Also where nothing came before: then it was made for the export.
            continue
        if after is not None and (_took_a_place(before, after) or (path and _above(path) in new)):
            new.add(path)
        word = _word(before, after, path in leading, path in new)
        if word is not None:
            yield Line(
                word,
                to_name(path or b"."),
                before=None if before is None else record_of(before),
                after=None if after is None else record_of(after),
            )


def _word(before: Entry | None, after: Entry | None, leads: bool, new: bool) -> str | None:
    if after is None:
        return "removed"
    if before is None:
        if new:
            return "added"
        return None if leads else "changed"
    if before.kind == after.kind == "dir":
        # `deleted/` has it for what is gone below, as it was before.
        return None if _looks(before) == _looks(after) else "metadata"
    return "content"


def _took_a_place(before: Entry | None, after: Entry) -> bool:
    """Whether it is a directory where another kind of file was: all that is in it came with it."""
    return before is not None and before.kind != "dir" == after.kind


def _looks(entry: Entry) -> tuple[object, ...]:
    return entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.xattrs


def _parents(paths: Iterable[bytes]) -> set[bytes]:
    return {_above(path) for path in paths if path}


def _above(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]
