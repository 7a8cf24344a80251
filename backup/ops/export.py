"""Plain copies that need imbfs no more: a snapshot, or what one changed, as a directory of files."""

import os
from dataclasses import fields

from backup.model.entry import Entry
from backup.model.errors import ImbfsError
from backup.ops.exporting.part import PartReader, in_deleted, in_files
from backup.ops.restore import RestoreMonitor, RestoreOptions, RestoreSummary, restore
from backup.ops.restoring.crew import Crew
from backup.ops.restoring.reader import RepositoryReader
from backup.repository import Repository
from backup.snapshots.changes import changes_of
from backup.snapshots.difference import Change, Difference, Spot, compare

FILES, DELETED, CHANGES = b"files", b"deleted", b"changes.jsonl"


def export(
    repository: Repository,
    root: Entry,
    directory: bytes,
    options: RestoreOptions,
    monitor: RestoreMonitor,
    crew: Crew | None = None,
) -> RestoreSummary:
    """Copies a directory of a snapshot to a new, or empty, one. Raises `ImbfsError` as `restore` does."""
    require_empty(directory)
    return restore(RepositoryReader(repository), root, directory, options, monitor, crew=crew)


def export_increment(
    repository: Repository,
    before: Spot | None,
    after: Spot,
    directory: bytes,
    options: RestoreOptions,
    monitor: RestoreMonitor,
) -> RestoreSummary:
    """What leads from one root to the other, in a directory of its own, which needs no other to be read.

    `files/` has what was added or changed, `deleted/` what is gone, each at its path; `changes.jsonl` is the
    list. Without `before`, all was added. Raises as `export` does.
    """
    require_empty(directory)
    read = repository.tree
    root = Change(Difference.ADDED, None, after) if before is None else compare(before, after, read)
    os.makedirs(os.path.join(directory, DELETED), exist_ok=True)
    summary = RestoreSummary()
    for name, spot_of, newer in ((FILES, in_files, True), (DELETED, in_deleted, False)):
        if newer or before is not None:
            reader = PartReader(repository, spot_of, newer)
            place = os.path.join(directory, name)
            _add(summary, restore(reader, reader.root(root), place, options, monitor))
    # Last: an export with a list is whole.
    with open(os.path.join(directory, CHANGES), "xb") as file:
        file.write(changes_of(root, read))
        file.flush()
        os.fsync(file.fileno())
    return summary


def _add(whole: RestoreSummary, part: RestoreSummary) -> None:
    for field in fields(RestoreSummary):
        setattr(whole, field.name, getattr(whole, field.name) + getattr(part, field.name))


def require_empty(directory: bytes) -> None:
    """Raises `ImbfsError` where something is there already."""
    try:
        if os.listdir(directory):
            raise ImbfsError(f"{os.fsdecode(directory)} is not empty: name a new directory")
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise ImbfsError(f"{os.fsdecode(directory)} is not a directory: name a new one") from None
