"""Many snapshots of one tree, without backing it up each time: manifests alone."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from backup.model.ids import SnapshotId
from backup.model.text import to_name
from backup.repository import Repository, Writer
from backup.snapshots.manifest import Labels
from tests.support.imbfs import Imbfs


def add_snapshots(
    imbfs: Imbfs,
    times: Iterable[str],
    host: str | None = None,
    paths: list[bytes] | None = None,
    tags: Iterable[str] = (),
) -> list[SnapshotId]:
    """Copies of the newest snapshot at other times; ids in the order of `times`."""
    made = []
    with Repository.open(imbfs.repository, imbfs.directory / "cache", print) as repository:
        newest = repository.snapshots()[-1]
        writer = Writer(repository)
        for time in times:
            body = msgspec.structs.replace(
                newest.body,
                time=time,
                host=host or newest.body.host,
                paths=newest.body.paths if paths is None else [to_name(path) for path in paths],
            )
            made.append(writer.commit(body, Labels(list(tags))).id)
    return made


def manifest(imbfs: Imbfs, snapshot: str) -> Path:
    return imbfs.repository / "snapshots" / snapshot
