"""A plain directory kept equal to a snapshot."""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, replace

from backup.model.entry import Entry
from backup.model.errors import ImbfsError
from backup.ops.mirroring.held import Held, looks_like
from backup.ops.mirroring.look import Look, look
from backup.ops.restore import RestoreMonitor, RestoreOptions, RestoreSummary, restore
from backup.ops.restoring.crew import Crew
from backup.ops.restoring.reader import RepositoryReader
from backup.repository import Repository
from backup.source.descent import Descent

#: Of what is in the way, so many paths are named.
MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """`force`: also what no snapshot holds is replaced and removed. `park`: a directory to which what the
    snapshot does not have is moved, in place of removing it.
    """

    restore: RestoreOptions
    force: bool = False
    park: bytes | None = None


@dataclass(frozen=True, slots=True)
class MirrorSummary:
    """`parked`: how many names were moved to the parking directory, each with all below it."""

    restored: RestoreSummary
    parked: int


def mirror(
    repository: Repository,
    root: Entry,
    top: bytes,
    directory: bytes,
    options: MirrorOptions,
    monitor: RestoreMonitor,
    crew: Crew | None = None,
) -> MirrorSummary:
    """Makes the directory equal to `root`, which a snapshot has at `top`, a path at the source.

    What is the same is not touched. What is replaced or removed has to look like what some snapshot has at
    that path, so that nothing is lost: otherwise nothing is changed at all. Raises `ImbfsError` then, and
    as `restore` does.
    """
    found = _look(repository, root, top, directory)
    if found.foreign and not options.force:
        raise ImbfsError(_refusal(directory, found.foreign))
    parked = 0
    if options.park is not None and not options.restore.dry_run:
        parked = _park(directory, options.park, found.gone)
        _take_back(directory, options.park, found.missing)
    plan = replace(options.restore, delete=True, overwrite="if-changed")
    restored = restore(RepositoryReader(repository), root, directory, plan, monitor, crew=crew)
    return MirrorSummary(restored, parked)


def _look(repository: Repository, root: Entry, top: bytes, directory: bytes) -> Look:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Look()
    except NotADirectoryError:
        raise ImbfsError(f"{os.fsdecode(directory)} is not a directory: name another place") from None
    with Descent(fd) as descent:
        return look(descent, root, Held(repository.snapshots(), top, repository.tree), repository.tree)


def _refusal(directory: bytes, foreign: list[bytes]) -> str:
    shown = ", ".join(repr(os.fsdecode(path)) for path in foreign[:MOST_NAMED])
    more = f" and {len(foreign) - MOST_NAMED:,} more" if len(foreign) > MOST_NAMED else ""
    return (
        f"{os.fsdecode(directory)} holds what no snapshot has, and nothing was changed: {shown}{more}."
        " Move that away, or have it replaced and removed with --force"
    )


def _park(directory: bytes, park: bytes, gone: list[bytes]) -> int:
    """Moves each to its path below `park`; where that is taken, with a number behind."""
    for path in gone:
        place = os.path.join(park, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        free, number = place, 1
        while os.path.lexists(free):
            number += 1
            free = b"%s.~%d" % (place, number)
        try:
            os.rename(os.path.join(directory, path), free)
        except OSError as error:
            raise ImbfsError(
                f"{os.fsdecode(path)} cannot be parked in {os.fsdecode(park)}: {error.strerror}."
                " Parking needs a directory on the same file system"
            ) from error
    return len(gone)


def _take_back(directory: bytes, park: bytes, missing: dict[bytes, Entry]) -> None:
    """Uses what is parked under a path that the snapshot has again; the restore copies the rest."""
    for path, entry in missing.items():
        parked = os.path.join(park, path)
        with suppress(OSError):
            status = os.lstat(parked)
            if stat.S_ISREG(status.st_mode) and looks_like(entry, status, b""):
                os.rename(parked, os.path.join(directory, path))
