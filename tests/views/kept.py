"""A real repository for tests of the views, and backups into it at times of our own."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from backup.model.ids import ObjectId
from backup.objects.block import CompressionSettings
from backup.ops.backup import BackupOptions, backup
from backup.repository import Repository
from backup.repository.config import PACK_SIZE, new_config
from backup.snapshots.manifest import Snapshot, manifest_key
from backup.snapshots.tree import Buffer

#: When the first backup is made, where a test says nothing else; each later one is a minute after.
START = datetime.fromisoformat("2026-11-20T12:00:00+01:00")


@dataclass
class Silent:
    """A backup's monitor for sources in which nothing goes wrong."""

    problems: list[str] = field(default_factory=list)

    def entries(self, files: int, size: int) -> None: ...

    def read(self, size: int) -> None: ...

    def directory(self, path: bytes) -> None: ...

    def notice(self, text: str) -> None: ...

    def problem(self, path: bytes, text: str) -> None:
        self.problems.append(f"{os.fsdecode(path)}: {text}")


class Kept:
    """Owns the repository: close it at the end."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "repository"
        self.notices: list[str] = []
        self._cache = directory / "cache"
        self._minutes = 0
        Repository.create(self.path, new_config("blake3", CompressionSettings(), PACK_SIZE))
        self.repository = self.open()

    def open(self) -> Repository:
        return Repository.open(self.path, self._cache, self.notices.append)

    def reopen(self) -> Repository:
        """With nothing kept in memory, and with an index made anew from what is stored."""
        self.repository.close()
        for path in self.path.glob("index.lmdb*"):
            path.unlink()
        self.repository = self.open()
        return self.repository

    def backup(
        self,
        *paths: Path,
        time: datetime | str | None = None,
        host: str = "host",
        tags: tuple[str, ...] = (),
    ) -> Snapshot:
        """A snapshot of `paths`; nothing may go wrong."""
        if time is None:
            time = START + timedelta(minutes=self._minutes)
            self._minutes += 1
        when = datetime.fromisoformat(time) if isinstance(time, str) else time
        monitor = Silent()
        options = BackupOptions(time=when, host=host, user="user", tags=list(tags))
        result = backup(self.repository, [os.fsencode(path) for path in paths], options, monitor)
        assert monitor.problems == []
        assert result.snapshot is not None
        return self.repository.catalogue.read(result.snapshot)

    def forget(self, snapshot: Snapshot) -> None:
        """As another process would do it: the manifest is gone."""
        self.path.joinpath(manifest_key(snapshot.id)).unlink()


class TreesRead:
    """Counts the trees that are asked for, by replacing a repository's `tree`."""

    def __init__(self, repository: Repository, replace: Callable[[object, str, object], None]) -> None:
        self.read: list[ObjectId] = []
        tree = repository.tree

        def counted(tree_id: ObjectId) -> Buffer:
            self.read.append(tree_id)
            return tree(tree_id)

        replace(repository, "tree", counted)

    def distinct(self) -> int:
        """Different trees read since the last time that this was asked."""
        number = len(set(self.read))
        self.read.clear()
        return number
