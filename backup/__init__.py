"""imbfs: backups that are folders.

What other programs call is offered here by name; `docs/library.md` tells of each. Nothing is imported
before it is asked for: the command line begins with this module.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backup.library.content import ContentSize as ContentSize
    from backup.library.content import ContentStore as ContentStore
    from backup.library.content import Token as Token
    from backup.library.monitor import Monitor as Monitor
    from backup.library.operations import check as check
    from backup.library.operations import forget as forget
    from backup.library.operations import forget_by_policy as forget_by_policy
    from backup.library.operations import prune as prune
    from backup.library.operations import restore as restore
    from backup.library.operations import run_backup as run_backup
    from backup.library.reader import SnapshotReader as SnapshotReader
    from backup.library.repositories import find_snapshot as find_snapshot
    from backup.library.repositories import init_repository as init_repository
    from backup.library.repositories import open_repository as open_repository
    from backup.model.entry import Entry as Entry
    from backup.model.errors import CannotStore as CannotStore
    from backup.model.errors import Damaged as Damaged
    from backup.model.errors import ImbfsError as ImbfsError
    from backup.model.errors import NoRepository as NoRepository
    from backup.model.errors import NotFound as NotFound
    from backup.model.errors import RepositoryBusy as RepositoryBusy
    from backup.model.errors import UsageError as UsageError
    from backup.model.retention import Policy as Policy
    from backup.repository.repository import Repository as Repository
    from backup.snapshots.manifest import Snapshot as Snapshot

__version__ = "0.1.0"

#: Where each public name is at home.
_HOMES = {
    "backup.library.content": ("ContentSize", "ContentStore", "Token"),
    "backup.library.monitor": ("Monitor",),
    "backup.library.operations": ("check", "forget", "forget_by_policy", "prune", "restore", "run_backup"),
    "backup.library.reader": ("SnapshotReader",),
    "backup.library.repositories": ("find_snapshot", "init_repository", "open_repository"),
    "backup.model.entry": ("Entry",),
    "backup.model.errors": (
        "CannotStore",
        "Damaged",
        "ImbfsError",
        "NoRepository",
        "NotFound",
        "RepositoryBusy",
        "UsageError",
    ),
    "backup.model.retention": ("Policy",),
    "backup.repository.repository": ("Repository",),
    "backup.snapshots.manifest": ("Snapshot",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
