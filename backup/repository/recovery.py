"""A repository whose config.json is lost: each manifest has a copy of it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from backup.model.errors import Damaged, ImbfsError
from backup.objects.hashing import HASH_NAMES, name_of
from backup.repository.config import Config, decode_config
from backup.repository.layout import read_config
from backup.snapshots.catalogue import Catalogue
from backup.snapshots.manifest import Snapshot
from backup.storage import LocalStorage


def find_config(path: Path) -> tuple[Config, str]:
    """A repository's settings, and what is wrong with config.json: '' where nothing is.

    Raises `NoRepository`; `Damaged` where no manifest tells the settings.
    """
    try:
        return read_config(path), ""
    except Damaged as error:
        told = Counter(
            (msgspec.json.encode(snapshot.body.config), config)
            for snapshot, config in _configs(LocalStorage(path))
        )
        if not told:
            raise Damaged(f"{error}; and no manifest is there to tell what it said") from error
        return told.most_common(1)[0][0][1], str(error).partition(": ")[0]


def _configs(storage: LocalStorage) -> Iterator[tuple[Snapshot, Config]]:
    for hash_name in HASH_NAMES:
        catalogue = Catalogue(storage, name_of(hash_name))
        for snapshot_id in catalogue.ids():
            with suppress(ImbfsError, OSError):
                snapshot = catalogue.read(snapshot_id)
                config = decode_config(msgspec.json.encode(snapshot.body.config))
                if config.hash == hash_name and config.id == snapshot.body.repository:
                    yield snapshot, config
