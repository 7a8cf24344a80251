"""Tombstones: which snapshots were forgotten, for indexes of other hosts and users that have seen them.

`docs/format.md`, "Tombstones".
"""

import re
from collections.abc import Iterable
from contextlib import suppress

from backup.model.errors import is_full
from backup.model.ids import SnapshotId
from backup.storage import Storage

PREFIX = "forgotten"
#: So long an index may sleep and still learn what was forgotten meanwhile: a year and a day.
KEPT_NS = 366 * 86_400 * 1_000_000_000


def bury(storage: Storage, snapshots: Iterable[SnapshotId]) -> bool:
    """Notes that these are meant to go; False where there was no space for all. Raises OSError.

    Call it before their manifests are removed.
    """
    noted = True
    for snapshot in snapshots:
        try:
            storage.put(f"{PREFIX}/{snapshot}", b"")
        except OSError as error:
            # Forgetting is what makes space again: better a false alarm elsewhere than none of that.
            if not is_full(error):
                raise
            noted = False
    return noted


def forgotten_snapshots(storage: Storage) -> set[SnapshotId]:
    """One whose manifest stands all the same is a snapshot like any other."""
    names = (key.removeprefix(PREFIX + "/") for key, _ in storage.list(PREFIX))
    return {SnapshotId(name) for name in names if re.fullmatch(r"[0-9a-f]{64}", name)}


def remove_old_tombstones(storage: Storage, now: int) -> None:
    """`now` in ns by the storage's clock."""
    for key, _ in storage.list(PREFIX):
        with suppress(OSError):
            if now - storage.modified(key) > KEPT_NS:
                storage.delete(key, durable=False)
