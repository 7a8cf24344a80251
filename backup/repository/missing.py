"""The file `missing`: objects that snapshots need and a repair could not find.

It makes the next backups look for each object before they believe that it is stored, so that they heal what
the source still has. `docs/format.md`, "Missing objects".
"""

from collections.abc import Callable, Iterable
from contextlib import suppress

from backup.model.ids import ID_SIZE, ObjectId
from backup.storage import Storage

KEY = "missing"


def read_missing(storage: Storage) -> set[ObjectId] | None:
    """None where nothing was noted. One without sense still says that something is missing."""
    try:
        lines = storage.read(KEY).split()
    except FileNotFoundError:
        return None
    found = set()
    for line in lines:
        with suppress(ValueError):
            found.add(ObjectId(bytes.fromhex(line.decode("ascii", "replace"))))
    return {name for name in found if len(name) == ID_SIZE}


def write_missing(storage: Storage, names: Iterable[ObjectId]) -> None:
    """Replaces what was noted; with no names, notes nothing."""
    lines = sorted(name.hex() for name in names)
    if lines:
        storage.put(KEY, "".join(f"{line}\n" for line in lines).encode())
    else:
        with suppress(FileNotFoundError):
            storage.delete(KEY)


def settle_missing(storage: Storage, has: Callable[[ObjectId], bool]) -> None:
    """Drops the names of what is stored by now."""
    noted = read_missing(storage)
    if noted is not None and (left := {name for name in noted if not has(name)}) != noted:
        write_missing(storage, left)
