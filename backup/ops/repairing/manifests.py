"""What can be made of a damaged manifest. Its first line hashes to the id, wherever the file lies."""

import re

import msgspec

from backup.model.errors import ImbfsError
from backup.model.ids import SHORT_ID, SnapshotId
from backup.objects.hashing import NameOf
from backup.ops.repairing.plan import ManifestRepair
from backup.repository import Repository
from backup.snapshots.manifest import Body, Labels, encode_manifest, manifest_key


def damaged_manifests(repository: Repository) -> list[ManifestRepair]:
    """A plan for each manifest that cannot be read."""
    found = []
    for snapshot in sorted(repository.catalogue.ids()):
        try:
            repository.catalogue.read(snapshot)
        except (ImbfsError, OSError) as error:
            found.append(_plan(repository, snapshot, str(error)))
    return found


def _plan(repository: Repository, snapshot: SnapshotId, reason: str) -> ManifestRepair:
    key = manifest_key(snapshot)
    try:
        lines = repository.storage.read(key).split(b"\n")
    except OSError:
        return ManifestRepair(key, reason, "")
    true_id = SnapshotId(repository.name(lines[0]).hex())
    made = _remade(lines, repository.name) if true_id == snapshot or _whole(lines, repository.name) else None
    if made is None or made[0] != true_id:
        return ManifestRepair(key, reason, _told(lines[0]))
    return ManifestRepair(key, reason, _told(lines[0]), true_id, made[1])


def _whole(lines: list[bytes], name: NameOf) -> bool:
    """Whether it is sound as it stands, and lies under another's name."""
    return len(lines) == 4 and name(b"\n".join([*lines[:2], b""])).hex().encode() == lines[2]


def _remade(lines: list[bytes], name: NameOf) -> tuple[SnapshotId, bytes] | None:
    """From a sound first line. Labels that do not say what they are lost with their line."""
    try:
        body = msgspec.json.decode(lines[0], type=Body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    try:
        labels = msgspec.json.decode(lines[1], type=Labels)
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError):
        labels = Labels()
    return encode_manifest(body, labels, name)


def _told(line: bytes) -> str:
    """What a damaged first line still says, for people."""
    text = line.decode("utf-8", "replace")
    found = [re.search(rf'"{field}":"([^"]*)"', text) for field in ("time", "host", "top", "root")]
    values = [match[1] for match in found if match]
    return ", ".join(value[:SHORT_ID] if re.fullmatch("[0-9a-f]{64}", value) else value for value in values)
