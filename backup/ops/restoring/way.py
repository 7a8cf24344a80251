"""What is in the way of an entry: told beforehand, moved aside, or removed."""

import errno
import os
import stat

from backup.model.entry import KINDS, Entry
from backup.ops.restoring.job import Job
from backup.ops.restoring.names import Place, kept_name, status_of
from backup.ops.restoring.removal import remove
from backup.source.descent import identity, open_directory

_NOT_EMPTY = (
    "a directory that is not empty is in the way: remove it, or restore with "
    "--delete, --overwrite always or --overwrite keep"
)


def foresee_way(job: Job, place: Place, entry: Entry, existing: os.stat_result) -> None:
    """Tells what becomes of what exists, or fails as `make_way` would. Changes nothing."""
    _require_unprotected(job, existing)
    shown = os.fsdecode(place.path)
    if job.options.overwrite == "keep":
        job.summary.kept += 1
        job.monitor.notice(f"would move aside: {shown}")
    elif stat.S_IFMT(existing.st_mode) != stat.S_IFMT(entry.mode):
        if stat.S_ISDIR(existing.st_mode) and not _may_remove(job) and _lists_names(place):
            raise OSError(errno.ENOTEMPTY, _NOT_EMPTY)
        kinds = KINDS[stat.S_IFMT(existing.st_mode)], KINDS[stat.S_IFMT(entry.mode)]
        job.monitor.notice(f"would remove, because it is in the way ({kinds[0]}, not {kinds[1]}): {shown}")
    else:
        job.monitor.notice(f"would replace: {shown}")


def _require_unprotected(job: Job, existing: os.stat_result) -> None:
    if identity(existing) in job.options.protected:
        raise OSError(errno.EBUSY, "the repository itself is in the way")


def _may_remove(job: Job) -> bool:
    """Whether a directory that is in the way goes with all that is in it."""
    return job.options.delete or job.options.overwrite == "always"


def _lists_names(place: Place) -> bool:
    fd = open_directory(place.fd, place.name)
    try:
        return bool(os.listdir(fd))
    finally:
        os.close(fd)


def make_way(job: Job, place: Place, existing: os.stat_result) -> None:
    """Moves what exists aside, or removes a directory; a rename replaces the rest. Raises OSError."""
    _require_unprotected(job, existing)
    if job.options.overwrite == "keep":
        kept = kept_name(place.fd, place.name)
        os.rename(place.name, kept, src_dir_fd=place.fd, dst_dir_fd=place.fd)
        job.summary.kept += 1
    elif stat.S_ISDIR(existing.st_mode):
        _remove_directory(job, place)


def _remove_directory(job: Job, place: Place) -> None:
    if not _may_remove(job):
        try:
            os.rmdir(place.name, dir_fd=place.fd)
            job.summary.deleted += 1
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise OSError(errno.ENOTEMPTY, _NOT_EMPTY) from error
    elif status_of(place.fd, place.name) is not None and not remove(job, place):
        raise OSError(errno.ENOTEMPTY, "a directory is in the way, and something in it has to stay")
