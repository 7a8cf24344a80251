"""Condemned packs: prune has found that nothing needs them, and will delete them when all who may have
looked before that have ended. `docs/design.md`, "Neighbours".
"""

import secrets
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from backup.model.ids import ID_SIZE, PackId
from backup.storage import Storage

PREFIX = "condemned"


class _Note(msgspec.Struct, frozen=True):
    packs: list[str]


def condemned_notes(storage: Storage) -> dict[str, frozenset[PackId]]:
    """The packs that each note names. One that cannot be read condemns nothing: it deletes nothing either."""
    notes = {}
    for key, _ in storage.list(PREFIX):
        with suppress(FileNotFoundError):
            notes[key.rpartition("/")[2]] = _packs(storage.read(key))
    return notes


def _packs(data: bytes) -> frozenset[PackId]:
    with suppress(msgspec.MsgspecError, ValueError):
        packs = [bytes.fromhex(pack) for pack in msgspec.json.decode(data, type=_Note).packs]
        return frozenset(PackId(pack) for pack in packs if len(pack) == ID_SIZE)
    return frozenset()


def condemn(storage: Storage, packs: Iterable[PackId], note: str | None = None) -> str:
    """Writes a note, or puts one with fewer packs in the place of `note`; gives its name."""
    note = note or secrets.token_hex(16)
    data = msgspec.json.encode(_Note(sorted(pack.hex() for pack in packs)))
    storage.put(f"{PREFIX}/{note}", data + b"\n")
    return note


def remove_note(storage: Storage, note: str) -> None:
    with suppress(FileNotFoundError):
        storage.delete(f"{PREFIX}/{note}")
