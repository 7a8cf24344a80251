"""A repository made and opened by the engine itself, and what tests do with it."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from backup.model.ids import ObjectId
from backup.objects.block import CompressionSettings
from backup.objects.hashing import HashName
from backup.ops.backup import BackupOptions, BackupResult, backup
from backup.repository import Repository, Writer
from backup.repository.config import new_config
from backup.snapshots.manifest import FORMAT, Body, Labels, Snapshot, Statistics
from backup.snapshots.tree_writer import write_tree
from backup.storage.local import LocalStaged, LocalStorage
from tests.snapshots.rows import no_name, plain_row

MIB = 1 << 20


@dataclass
class Opened:
    """A repository of its own, that can be closed and opened again as another process would."""

    path: Path
    cache: Path
    notices: list[str] = field(default_factory=list)
    repository: Repository = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> Repository:
        self.repository = Repository.open(self.path, self.cache, self.notices.append)
        return self.repository

    def close(self) -> None:
        self.repository.close()

    def reopen(self) -> Repository:
        self.close()
        return self.open()

    def files(self, part: str) -> list[Path]:
        return sorted(path for path in (self.path / part).rglob("*") if path.is_file())

    def read(self, object_id: ObjectId) -> bytes:
        return bytes(self.repository.reader.read(object_id))


def make(path: Path, hash_name: HashName = "blake3", compression: str = "zstd") -> Opened:
    config = new_config(hash_name, CompressionSettings(compression, 3), MIB)
    Repository.create(path / "repository", config)
    return Opened(path / "repository", path / "cache")


def noise(label: int, size: int = MIB) -> bytes:
    """Bytes that fill a pack; the same ones for the same label."""
    return random.Random(label).randbytes(size)


def snapshot_of(writer: Writer, repository: Repository, data: list[bytes]) -> Snapshot:
    """Stores chunks, and a snapshot of an empty directory."""
    for piece in data:
        writer.store(piece)
    inner = write_tree([], writer.store_tree, no_name, no_name)
    root = write_tree([plain_row(b".", 0o040755, object=inner)], writer.store_tree, no_name, no_name)
    writer.finish()
    return writer.commit(body_of(repository, root), Labels())


def body_of(repository: Repository, root: ObjectId) -> Body:
    return Body(
        format=FORMAT,
        repository=repository.config.id,
        root=root.hex(),
        time=datetime(2026, 11, 1, tzinfo=UTC).isoformat(),
        started_ns=1,
        host="host",
        user="user",
        top="/",
        paths=["/"],
        parent=None,
        program="test",
        statistics=Statistics(),
    )


class Silent:
    """A monitor that keeps what it is told of problems."""

    def __init__(self) -> None:
        self.problems: list[tuple[bytes, str]] = []
        self.notices: list[str] = []

    def entries(self, files: int, size: int) -> None: ...
    def read(self, size: int) -> None: ...
    def directory(self, path: bytes) -> None: ...
    def step(self, text: str, total: int) -> None: ...
    def advance(self, amount: int) -> None: ...

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def problem(self, path: bytes, text: str) -> None:
        self.problems.append((path, text))


def back_up(repository: Repository, *paths: Path) -> BackupResult:
    options = BackupOptions(datetime.now(UTC), "host", "user")
    monitor = Silent()
    result = backup(repository, [os.fsencode(path) for path in paths], options, monitor)
    assert monitor.problems == []
    return result


class SpyStorage(LocalStorage):
    """Tells each step that makes a file durable, or could."""

    def __init__(self, root: Path, tell: Callable[[str], None]) -> None:
        super().__init__(root)
        self._tell = tell

    def stage(self) -> LocalStaged:
        return _SpyStaged(self.root, self._tell)


class _SpyStaged(LocalStaged):
    def __init__(self, root: Path, tell: Callable[[str], None]) -> None:
        super().__init__(root, set())
        self._tell = tell

    def publish(self, key: str, *, durable: bool = True) -> None:
        super().publish(key, durable=durable)
        if durable:
            self._tell(key.partition("/")[0])
