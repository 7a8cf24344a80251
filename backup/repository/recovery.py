"""A repository whose config.json is lost: each manifest has a copy of it. Where none is left, a file that is
named by its hash tells which hash that is.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from backup.model.errors import Damaged, ImbfsError
from backup.objects.hashing import HASH_NAMES, HashName, name_of, new_hasher
from backup.objects.segment import PREFIX as SEGMENTS
from backup.repository.config import Config, decode_config
from backup.repository.layout import only_begun, read_config
from backup.snapshots.catalogue import Catalogue
from backup.snapshots.manifest import Snapshot
from backup.storage import LocalStorage

#: Read at a time.
PIECE = 1 << 20


def find_config(path: Path) -> tuple[Config, str]:
    """A repository's settings; and what is wrong with config.json, and who tells the settings: '' where
    nothing is.

    Raises `NoRepository`; `Damaged` where nothing tells the settings.
    """
    try:
        return read_config(path), ""
    except Damaged as error:
        if only_begun(path):
            raise
        storage, wrong = LocalStorage(path), str(error).partition(": ")[0]
        told = Counter(
            (msgspec.json.encode(snapshot.body.config), config) for snapshot, config in _configs(storage)
        )
        if told:
            return told.most_common(1)[0][0][1], f"{wrong}: made anew from the snapshots"
        if (config := _by_names(storage)) is None:
            raise Damaged(
                f"{wrong}, and no sound snapshot, segment or pack tells what it said: where nothing was"
                " stored yet, delete the directory and make it anew with `imbfs init`"
            ) from error
        return config, (
            f"{wrong}, and no snapshot tells what it said: made anew with the hash {config.hash}, by which"
            " files are named, and otherwise with the settings of a new repository"
        )


def _configs(storage: LocalStorage) -> Iterator[tuple[Snapshot, Config]]:
    for hash_name in HASH_NAMES:
        catalogue = Catalogue(storage, name_of(hash_name))
        for snapshot_id in catalogue.ids():
            with suppress(ImbfsError, OSError):
                snapshot = catalogue.read(snapshot_id)
                config = decode_config(msgspec.json.encode(snapshot.body.config))
                if config.hash == hash_name and config.id == snapshot.body.repository:
                    yield snapshot, config


def _by_names(storage: LocalStorage) -> Config | None:
    """By the first sound file that is named by its hash. That name gives the id, too: the same each time."""
    for prefix in (SEGMENTS, "packs"):
        for key, _ in storage.list(prefix):
            name = key.rpartition("/")[2]
            with suppress(OSError):
                hashes = _hashes(storage, key)
                for hash_name in HASH_NAMES:
                    if hashes[hash_name] == name:
                        return Config(id=name[:32], hash=hash_name)
    return None


def _hashes(storage: LocalStorage, key: str) -> dict[HashName, str]:
    hashers = {hash_name: new_hasher(hash_name) for hash_name in HASH_NAMES}
    offset = 0
    while piece := storage.read(key, offset, PIECE):
        for hasher in hashers.values():
            hasher.update(piece)
        offset += len(piece)
    return {hash_name: hasher.digest().hex() for hash_name, hasher in hashers.items()}
