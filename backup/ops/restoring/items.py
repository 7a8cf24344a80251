"""One name that is not a directory: left, mended or written anew; whole under its own name, or not there."""

import contextlib
import errno
import os
import stat
from typing import Literal

from backup.model.entry import FLAG_NO_CONTENT, KINDS, Entry
from backup.ops.restoring.content import same_content, write_content
from backup.ops.restoring.job import Job, Refused, describe
from backup.ops.restoring.links import Written, make_link
from backup.ops.restoring.metadata import apply_metadata, handle_of, matches
from backup.ops.restoring.names import Place, temporary_name
from backup.ops.restoring.way import foresee_way, make_way
from backup.source.descent import Identity, identity, open_file

Action = Literal["write", "mend", "leave"]


def restore_item(job: Job, root_fd: int | None, place: Place, entry: Entry) -> None:
    """Puts back one name. Raises one of ITEM_ERRORS when it could not; then what was there is there still."""
    check_entry(entry)
    existing = place.lookup()
    written = job.links.find(entry)
    if existing is not None and written is not None and identity(existing) == written.identity:
        job.summary.unchanged += 1
        job.links.add(entry, place.path, written.identity)
        job.bytes_done(entry.size, place.path)
        return
    match _decide(job, place, entry, existing, written):
        case "leave":
            job.summary.skipped += 1
            job.bytes_done(entry.size, place.path)
        case "mend":
            assert existing is not None
            _mend(job, place, entry, existing)
            job.bytes_done(entry.size, place.path)
        case "write":
            _write(job, root_fd, place, entry, existing, written)


def check_entry(entry: Entry) -> None:
    """Raises Refused for an entry that cannot be restored."""
    if stat.S_IFMT(entry.mode) not in KINDS:
        raise Refused("refused: of no known kind")
    if stat.S_ISREG(entry.mode) and entry.flags & FLAG_NO_CONTENT:
        raise Refused("not in the snapshot: its content could not be read when it was backed up")


def _decide(
    job: Job, place: Place, entry: Entry, existing: os.stat_result | None, written: Written | None
) -> Action:
    if existing is None:
        return "write"
    if job.options.overwrite == "never":
        return "leave"
    if job.options.overwrite == "always" or written is not None:
        return "write"
    return "mend" if _looks_same(job, place, entry, existing) else "write"


def _looks_same(job: Job, place: Place, entry: Entry, existing: os.stat_result) -> bool:
    """Whether what exists has the entry's content, as far as the options let us look."""
    if stat.S_IFMT(existing.st_mode) != stat.S_IFMT(entry.mode):
        return False
    if existing.st_nlink > 1 and not _same_links(job, place, entry, existing):
        return False
    if stat.S_ISREG(entry.mode):
        if (existing.st_size, existing.st_mtime_ns) != (entry.size, entry.mtime_ns):
            return False
        return not job.options.verify or _same_bytes(job, place, entry, existing)
    if stat.S_ISLNK(entry.mode):
        return os.readlink(place.name, dir_fd=place.fd) == entry.target
    if stat.S_ISCHR(entry.mode) or stat.S_ISBLK(entry.mode):
        return existing.st_rdev == entry.rdev
    return True


def _same_links(job: Job, place: Place, entry: Entry, existing: os.stat_result) -> bool:
    """Whether a file with other names may stay: mending it would change files that we know nothing of."""
    if entry.link_group is None or job.links.is_claimed(identity(existing)):
        return False
    with handle_of(place.fd, place.name) as handle:
        return matches(job, handle, entry, existing)


def _same_bytes(job: Job, place: Place, entry: Entry, existing: os.stat_result) -> bool:
    try:
        fd, _ = open_file(place.fd, place.name, identity(existing))
    except PermissionError:
        return False
    try:
        return same_content(job, fd, entry)
    finally:
        os.close(fd)


def _mend(job: Job, place: Place, entry: Entry, existing: os.stat_result) -> None:
    """Puts metadata right on what has the entry's content already."""
    with handle_of(place.fd, place.name) as handle:
        status = os.stat(handle)
        if identity(status) != identity(existing):
            raise OSError(errno.ESTALE, "was replaced while it was being restored")
        if job.options.dry_run:
            changed = not matches(job, handle, entry, status)
        else:
            changed = apply_metadata(job, handle, entry, status, place.path)
    if changed:
        job.count(entry.mode)
    else:
        job.summary.unchanged += 1
    if existing.st_nlink > 1:
        job.links.claim(identity(existing))
    job.links.add(entry, place.path, identity(existing))


def _write(
    job: Job,
    root_fd: int | None,
    place: Place,
    entry: Entry,
    existing: os.stat_result | None,
    written: Written | None,
) -> None:
    if job.options.dry_run:
        _pretend(job, place, entry, existing)
        return
    temporary = temporary_name()
    try:
        made = _linked(job, root_fd, place, entry, written, temporary) if written else None
        if made is None:
            made = _build(job, place, entry, temporary)
        if existing is not None:
            make_way(job, place, existing)
        os.rename(temporary, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=place.fd)
        raise
    job.count(entry.mode)
    job.links.add(entry, place.path, made)


def _pretend(job: Job, place: Place, entry: Entry, existing: os.stat_result | None) -> None:
    if existing is not None:
        foresee_way(job, place, entry, existing)
    job.count(entry.mode)
    job.bytes_done(entry.size, place.path)


def _linked(
    job: Job, root_fd: int | None, place: Place, entry: Entry, written: Written, temporary: bytes
) -> Identity | None:
    """Makes one more name of a file written before; None, after a notice, where that is not possible."""
    try:
        make_link(place.fd if root_fd is None else root_fd, written, place.path, place.fd, temporary)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        reason = f"not a hard link to {os.fsdecode(written.path)} but a copy: {describe(error)}"
        job.monitor.notice(f"{os.fsdecode(place.path)}: {reason}")
        return None
    job.bytes_done(entry.size, place.path)
    return written.identity


def _build(job: Job, place: Place, entry: Entry, temporary: bytes) -> Identity:
    """Makes the file, whole and with its metadata, under a temporary name."""
    if stat.S_ISREG(entry.mode):
        return _build_file(job, place, entry, temporary)
    if stat.S_ISLNK(entry.mode):
        os.symlink(entry.target, temporary, dir_fd=place.fd)
    else:
        os.mknod(temporary, stat.S_IFMT(entry.mode) | 0o600, entry.rdev, dir_fd=place.fd)
    with handle_of(place.fd, temporary) as handle:
        status = os.stat(handle)
        apply_metadata(job, handle, entry, status, place.path)
    return identity(status)


def _build_file(job: Job, place: Place, entry: Entry, temporary: bytes) -> Identity:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=place.fd)
    try:
        write_content(job, fd, entry, place.path)
        if job.options.verify and not same_content(job, fd, entry):
            raise OSError(errno.EIO, "what was written reads back differently: the target's disk is failing")
        status = os.fstat(fd)
        apply_metadata(job, fd, entry, status, place.path)
        return identity(status)
    finally:
        os.close(fd)
