"""The content store: bytes that stay for as long as a token for them stands, whatever they are called."""

import io
import os
import secrets
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, NewType, Protocol, Self

import msgspec

from backup import __version__
from backup.library.environment import user_name
from backup.library.monitor import Monitor
from backup.library.paths import Pathlike
from backup.library.reader import open_entry
from backup.model.entry import Entry
from backup.model.errors import Damaged, NotFound
from backup.model.ids import ObjectId, SnapshotId
from backup.model.text import to_name
from backup.objects.chunker import ReadInto
from backup.ops.forget import forget
from backup.ops.storing.monitor import Counts
from backup.ops.storing.stream import StoredStream, StreamStore
from backup.repository import Repository, Writer
from backup.repository.reading import Reading
from backup.snapshots.manifest import FORMAT, Body, Labels, Snapshot, Statistics
from backup.snapshots.tree import ROOT_NAME, STAT, Row
from backup.snapshots.tree_writer import write_tree
from backup.source.descent import open_file

#: Stands for one reference to a content: 64 hex digits.
Token = NewType("Token", str)
#: Equal contents are to have equal trees: names and numbers are the same in all.
NAME = b"content"
#: Bytes that are copied out at a time.
PIECE = 1 << 20


class Readable(Protocol):
    """A file object open for reading bytes."""

    def read(self, size: int, /) -> bytes: ...


class ContentSize(NamedTuple):
    """In bytes. `stored` is what its chunks take in packs, each its part of its block, shared or not."""

    plain: int
    stored: int


class ContentStore:
    """Keeps contents in a repository, beside its snapshots or alone. Use it in a `with`.

    Each call of `store` gives a token of its own, also where the bytes are there already: they are
    kept once, for as long as one token stands. What is released is freed by the next prune. Not for
    several threads; any number of processes may use one repository.

    Where a token is asked for, methods raise `NotFound` for one that does not stand, and `Damaged`.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._reading = Reading(repository, "content store")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.__exit__(kind, error, trace)

    def store(self, source: Pathlike | Readable, *, label: str = "") -> Token:
        """Stores a file, given by its path, or what a file object gives to its end.

        `label` is the caller's own, kept with the token. What the token stands for is durable on return.
        Raises OSError where the source cannot be read, ESTALE where it is no regular file; `CannotStore`.
        """
        return self.store_all([source], label=label)[0]

    def store_all(self, sources: Iterable[Pathlike | Readable], *, label: str = "") -> list[Token]:
        """As `store`, for many: small contents are packed together. All of them, or an error and none."""
        writer = Writer(self._repository, "content store")
        tokens: list[Token] = []
        try:
            stream = StreamStore(self._repository, writer, Counts(), Monitor())
            stored = [_store(stream, source) for source in sources]
            roots = [_root(each, writer) for each in stored]
            writer.finish()
            for each, root in zip(stored, roots, strict=True):
                body = _body(self._repository, root, each.size)
                tokens.append(Token(writer.commit(body, Labels([], label)).id))
        except BaseException:
            writer.discard()
            with suppress(Exception):
                forget(self._repository, [SnapshotId(token) for token in tokens])
            raise
        finally:
            writer.close()
        return tokens

    def tokens(self) -> Iterator[tuple[Token, str]]:
        """All tokens that stand, oldest first, each with its label."""
        for content in self._repository.contents():
            yield Token(content.id), content.labels.description

    def label(self, token: Token) -> str:
        return self._content(token).labels.description

    def open(self, token: Token) -> io.BufferedReader:
        """The content, open for reading bytes at any place; it stays readable when it is released."""
        content = self._content(token)
        self._reading.show([content])
        return open_entry(self._repository, self._entry(content), token.encode())

    def copy_out(self, token: Token, target: Pathlike) -> None:
        """Writes the content into a new file. Raises FileExistsError where something stands there."""
        path = os.fsencode(target)
        beside = path + f".imbfs-{secrets.token_hex(8)}".encode()
        try:
            with self.open(token) as content, _private(beside) as file:
                while piece := content.read(PIECE):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            # Replaces nothing, and is whole from the start.
            os.link(beside, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(beside)

    def release(self, token: Token) -> None:
        """Drops the token. The bytes stay until the last token for them is released, and a prune follows.

        Raises `NotFound` where it was released before; `CannotStore`.
        """
        forget(self._repository, [self._content(token).id])

    def size(self, token: Token) -> ContentSize:
        entry = self._entry(self._content(token))
        chunks = {extent.chunk for extent in entry.extents if extent.chunk is not None}
        stored = 0.0
        for chunk in chunks:
            if (place := self._repository.lookup.place(chunk)) is not None:
                stored += place.block_size * place.length / max(place.plain, 1)
        return ContentSize(entry.size, round(stored))

    def references(self, token: Token) -> int:
        """How many tokens stand for these bytes, this one among them."""
        root = self._content(token).root
        return sum(content.root == root for content in self._repository.contents())

    def _content(self, token: Token) -> Snapshot:
        try:
            found = self._repository.catalogue.read(SnapshotId(token)) if _is_token(token) else None
        except FileNotFoundError:
            found = None
        # What is a snapshot of a source is never taken for a content, nor released as one.
        if found is None or not found.body.content:
            raise NotFound(f"no content has the token {token[:64]!r}: it was released, or never given")
        return found

    def _entry(self, content: Snapshot) -> Entry:
        root = self._repository.root(content).entry(0)
        entry = None if root.tree is None else self._repository.directory(root.tree).entry(0)
        if entry is None or entry.name != NAME:
            raise Damaged(f"the content {content.id[:12]} is not one that imbfs stored")
        return entry


def _private(path: bytes) -> io.BufferedWriter:
    """A new file that nobody else may read: whoever asked for the bytes says who may."""
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _is_token(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _store(stream: StreamStore, source: Pathlike | Readable) -> StoredStream:
    if not isinstance(source, (str, bytes, os.PathLike)):
        return stream.store(_reader(source))
    fd, _ = open_file(None, os.fsencode(source))
    try:
        return stream.store(lambda room: os.readv(fd, [room]))
    finally:
        os.close(fd)


def _reader(source: Readable) -> ReadInto:
    def read_into(room: memoryview) -> int:
        data = source.read(len(room))
        room[: len(data)] = data
        return len(data)

    return read_into


def _root(stored: StoredStream, writer: Writer) -> ObjectId:
    """A directory that holds the content alone; both without owner and time."""
    row = Row(NAME, _record(stat.S_IFREG | 0o600, stored.size), stored.object, stored.extra, 0, 0)
    tree = write_tree([row], writer.store_tree, _nobody, _nobody)
    top = Row(ROOT_NAME, _record(stat.S_IFDIR | 0o700, 0), tree, b"", 0, 0)
    return write_tree([top], writer.store_tree, _nobody, _nobody)


def _nobody(_: int) -> str:
    return ""


def _record(mode: int, size: int) -> bytes:
    return STAT.pack(mode, 0, 0, 1, size, 0, 0, 0, 0, 0, 0)


def _body(repository: Repository, root: ObjectId, size: int) -> Body:
    """No two are the same: each token has a place of its own, which no source has."""
    place = to_name(b"/content/" + secrets.token_hex(16).encode())
    return Body(
        format=FORMAT,
        repository=repository.config.id,
        root=root.hex(),
        time=datetime.now(UTC).isoformat(timespec="microseconds"),
        started_ns=time.time_ns(),
        host=socket.gethostname(),
        user=user_name(),
        top=place,
        paths=[place],
        parent=None,
        program=f"imbfs {__version__}",
        statistics=Statistics(files=1, bytes=size, dirs=1),
        config=msgspec.to_builtins(repository.config),
        content=True,
    )
