"""Manifests: what a snapshot is. `docs/format.md`, "Manifests".

A manifest is three lines: the body (JSON, whose hash is the snapshot's id), the labels (JSON: what
may be changed later), and the hash of the two lines before.
"""

from datetime import datetime
from typing import Any

import msgspec

from backup.model.errors import Damaged, ImbfsError
from backup.model.ids import ID_SIZE, ObjectId, SnapshotId
from backup.model.text import Name, to_bytes
from backup.objects.hashing import NameOf
from backup.snapshots.names import Names, named

PREFIX = "snapshots"
FORMAT = 1


class Statistics(msgspec.Struct, frozen=True):
    """What a backup counted. Sizes in bytes; `seconds` is how long it took."""

    files: int = 0
    bytes: int = 0
    files_new: int = 0
    files_changed: int = 0
    files_unchanged: int = 0
    files_removed: int = 0
    dirs: int = 0
    bytes_read: int = 0
    bytes_deduplicated: int = 0
    bytes_added: int = 0
    bytes_stored: int = 0
    errors: int = 0
    alarms: int = 0
    seconds: float = 0.0


class ChosenBy(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rules of a backup, as they were given: `backup/source/rules.py`. Markers are name and header."""

    patterns: tuple[Name, ...] = ()
    weak_patterns: tuple[Name, ...] = ()
    ignore_names: tuple[Name, ...] = (".imbfsignore",)
    markers: tuple[tuple[Name, Name], ...] = ()
    larger_than: int | None = None
    one_file_system: bool = False


class Body(msgspec.Struct, frozen=True):
    """The part of a manifest that never changes.

    `time` is RFC 3339 with the zone of the machine; `started_ns` is when the walk began, by the
    same clock as the source's times; `top` is the source's directory that the root shows. `original` is
    the snapshot that this one was rewritten from; `config` a copy of config.json, for when that is lost;
    `rules` say what stayed out. `names` are those of a profile for places that hold paths, with the profile
    and its user before them. `content`: no source's snapshot, but a token of the content store.
    """

    format: int
    repository: str
    root: str
    time: str
    started_ns: int
    host: str
    user: str
    top: Name
    paths: list[Name]
    parent: str | None
    program: str
    statistics: Statistics
    original: str | None = None
    config: dict[str, Any] = {}
    rules: ChosenBy = ChosenBy()
    names: dict[str, Name] = {}
    content: bool = False


class Labels(msgspec.Struct, frozen=True):
    tags: list[str] = []
    description: str = ""


class Snapshot(msgspec.Struct, frozen=True):
    """A snapshot as the rest of the engine knows it."""

    id: SnapshotId
    body: Body
    labels: Labels

    @property
    def top(self) -> bytes:
        return to_bytes(self.body.top)

    @property
    def paths(self) -> list[bytes]:
        return [to_bytes(path) for path in self.body.paths]

    @property
    def names(self) -> Names:
        return {name: to_bytes(place) for name, place in self.body.names.items()}

    @property
    def named_paths(self) -> frozenset[bytes]:
        """The paths, by names where they have one: the same wherever a named place lies."""
        names = self.names
        return frozenset(named(path, names) for path in self.paths)

    @property
    def root(self) -> ObjectId:
        return ObjectId(bytes.fromhex(self.body.root))


def manifest_key(snapshot: SnapshotId) -> str:
    return f"{PREFIX}/{snapshot}"


def encode_manifest(body: Body, labels: Labels, name: NameOf) -> tuple[SnapshotId, bytes]:
    first = msgspec.json.encode(body)
    return SnapshotId(name(first).hex()), _lines(first, msgspec.json.encode(labels), name)


def relabel_manifest(data: bytes, labels: Labels, name: NameOf) -> bytes:
    """A sound manifest with other labels. The body, and labels that we know nothing of, stay as they are."""
    body, old = data.split(b"\n")[:2]
    new = msgspec.json.decode(old, type=dict[str, object]) | msgspec.to_builtins(labels)
    return _lines(body, msgspec.json.encode(new), name)


def _lines(body: bytes, labels: bytes, name: NameOf) -> bytes:
    lines = body + b"\n" + labels + b"\n"
    return lines + name(lines).hex().encode() + b"\n"


def decode_manifest(data: bytes, snapshot: SnapshotId, name: NameOf) -> Snapshot:
    """Raises `Damaged` where the bytes are not those that were written under this id."""
    what = f"snapshot {snapshot[:12]}: its manifest"
    lines = data.split(b"\n")
    if len(lines) != 4 or lines[3]:
        raise Damaged(f"{what} is cut short")
    body, labels, check, _ = lines
    if name(body).hex() != snapshot or name(body + b"\n" + labels + b"\n").hex() != check.decode("latin-1"):
        raise Damaged(f"{what} has changed since it was written")
    try:
        version = msgspec.json.decode(body, type=_Version).format
        if version != FORMAT:
            raise ImbfsError(f"snapshot {snapshot[:12]} has format {version}: a newer imbfs is needed")
        found = Snapshot(
            snapshot,
            msgspec.json.decode(body, type=Body),
            msgspec.json.decode(labels, type=Labels),
        )
        if len(found.root) != ID_SIZE or not found.top or not all(found.paths):
            raise ValueError("it lacks a root or a path")
        if datetime.fromisoformat(found.body.time).tzinfo is None:
            raise ValueError("its time has no zone")
    except (msgspec.MsgspecError, ValueError) as error:
        raise Damaged(f"{what} is not one ({error})") from error
    return found


class _Version(msgspec.Struct):
    format: int
