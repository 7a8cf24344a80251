"""Immutable files under keys. A key is a relative path such as `packs/ab/abcd…`."""

from backup.storage.local import LocalStorage
from backup.storage.memory import MemoryStorage
from backup.storage.protocol import Staged, Storage

__all__ = ["LocalStorage", "MemoryStorage", "Staged", "Storage"]
