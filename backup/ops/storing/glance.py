"""In place of reading: files as they look from outside. Only those in doubt are opened.

So a status costs what a backup costs that finds nothing new. The rows of files that were not read are marked
FLAG_NO_CONTENT; `backup/snapshots/difference.py` knows what that means.
"""

import os
import stat

from backup.model.entry import FLAG_NO_CONTENT
from backup.model.ids import NO_OBJECT
from backup.ops.storing.batch import Batch, Wanted
from backup.ops.storing.intake import Intake
from backup.ops.storing.part import Part, Result
from backup.ops.storing.readers import ContentSettings, Readers
from backup.snapshots.tree import (
    EXTRA_XATTRS,
    STAT,
    decode_xattrs,
    encode_extra,
    encode_stat,
    extra_fields,
)
from backup.source.attributes import Xattr, read_xattrs

#: Of a stat record: where mode, owner, group and number of links end; and the place of the inode.
_OWNERS_END, _INO = 16, 9


class Glance:
    """Stands where `Readers` stand in a backup."""

    busy = False

    def __init__(self, intake: Intake, settings: ContentSettings) -> None:
        self._intake = intake
        self._readers = Readers(intake, settings, workers=0)

    def submit(self, batch: Batch) -> None:
        doubtful = Batch()
        try:
            for number, wanted in enumerate(batch.wanted):
                fd = batch.directories[batch.files[number][0]]
                try:
                    result = self._look(fd, wanted, doubtful)
                except OSError as error:
                    result = (error.errno or 0, error.strerror or str(error))
                if result is not None:
                    self._intake.deliver(_only(wanted), 0, Part([], [result], last=True))
            if doubtful.files:
                self._readers.submit(doubtful)
        finally:
            doubtful.close()
            batch.close()

    def _look(self, dir_fd: int, wanted: Wanted, doubtful: Batch) -> Result | None:
        """What is known from outside; None where the file was added to the doubtful ones."""
        status = os.stat(wanted.name, dir_fd=dir_fd, follow_symlinks=False)
        xattrs = read_xattrs(dir_fd, wanted.name)
        if status.st_size and _in_doubt(wanted, status, xattrs):
            doubtful.add(dir_fd, wanted, status)
            return None
        flags = FLAG_NO_CONTENT if status.st_size else 0
        return encode_stat(status), NO_OBJECT, encode_extra(b"", xattrs), flags, []

    def poll(self) -> None: ...

    def wait(self) -> None: ...

    def finish(self) -> None: ...

    def settle(self) -> None: ...

    def close(self) -> None:
        self._readers.close()


def _only(wanted: Wanted) -> Batch:
    batch = Batch()
    batch.wanted.append(wanted)
    return batch


def _in_doubt(wanted: Wanted, status: os.stat_result, xattrs: tuple[Xattr, ...]) -> bool:
    """Whether the file has size and time of the parent's, and only reading tells if it is the same.

    It is the same where it is the same inode, and something else explains its new ctime.
    """
    parent = wanted.frame.parent
    if parent is None or wanted.position < 0 or not stat.S_ISREG(status.st_mode):
        return False
    row = parent.row(wanted.position)
    if _looks(row.stat) != _looks(encode_stat(status)):
        return False
    explained = status.st_ino == STAT.unpack(row.stat)[_INO] and (
        row.stat[:_OWNERS_END] != encode_stat(status)[:_OWNERS_END]
        or encode_extra(b"", xattrs) != _xattrs_part(row.extra)
    )
    return not explained


def _looks(record: bytes) -> tuple[int, ...]:
    """Kind, size and mtime."""
    mode, _, _, _, size, seconds, _, ns, *_ = STAT.unpack(record)
    return stat.S_IFMT(mode), size, seconds, ns


def _xattrs_part(extra: bytes) -> bytes:
    fields = dict(extra_fields(extra))
    return encode_extra(b"", decode_xattrs(fields[EXTRA_XATTRS])) if EXTRA_XATTRS in fields else b""
