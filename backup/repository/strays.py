"""Temporary files that a killed process left."""

from contextlib import suppress

from backup.model.process import marked_process_has_ended
from backup.repository.leases import EXPIRY_NS
from backup.storage import Storage
from backup.storage.local import STAGING


def remove_strays(storage: Storage, now: int) -> None:
    """Deletes what a process of this machine left that has ended, and what was not written to for as long as
    a lease lasts; `now` in ns by the storage's clock.
    """
    for key, _ in storage.list(STAGING):
        with suppress(OSError):
            if marked_process_has_ended(key) or now - storage.modified(key) > EXPIRY_NS:
                storage.delete(key)
