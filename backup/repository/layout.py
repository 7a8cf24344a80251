"""The directories of a repository, and reading what makes a directory one."""

import errno
from pathlib import Path

from backup.model.errors import Damaged, ImbfsError, NoRepository
from backup.objects.segment import PREFIX as SEGMENTS
from backup.repository.config import KEY, Config, decode_config
from backup.repository.reserve import KEY as RESERVE
from backup.storage import LocalStorage
from backup.storage.local import STAGING

#: Directories that make a repository recognisable, whatever else is lost.
PARTS = ("packs", SEGMENTS, "snapshots")
#: Where a repair moves what is damaged: below it, files have the keys that they had.
QUARANTINE = "quarantine"
#: More than any config.json has.
MAX_CONFIG = 1 << 20
_NOT_A_FILE = {errno.ENOENT: "missing", errno.EISDIR: "a directory", errno.ELOOP: "a link"}


def read_config(path: Path) -> Config:
    """Raises `NoRepository`, `Damaged`, or `ImbfsError`."""
    try:
        # A link is not followed, a FIFO not waited for.
        data = LocalStorage(path).read(KEY, 0, MAX_CONFIG)
    except PermissionError:
        raise ImbfsError(f"{path} may not be read by this user") from None
    except OSError as error:
        if all((path / part).is_dir() for part in PARTS):
            what = _NOT_A_FILE.get(error.errno or 0, "damaged")
            nothing = ", and nothing is stored: `imbfs init` makes it anew"
            hint = nothing if only_begun(path) else ": `imbfs repair` makes it anew"
            raise Damaged(f"{path}/{KEY} is {what}{hint}") from None
        reason = "is not a repository" if path.exists() else "does not exist"
        raise NoRepository(f"{path} {reason}: name one with --repo, or make one with `imbfs init`") from None
    try:
        return decode_config(data)
    except Damaged as error:
        raise Damaged(f"{error}: `imbfs repair` makes it anew") from error


def only_begun(path: Path) -> bool:
    """Whether this is an empty directory, or what a killed `init` left: no file but temporary ones and the
    reserve.
    """
    if not path.is_dir() or not {each.name for each in path.iterdir()} <= {*PARTS, STAGING, RESERVE}:
        return False
    return not any((path / part).is_dir() and any((path / part).iterdir()) for part in PARTS)
