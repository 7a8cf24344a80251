"""A snapshot as a tar file, in one file or in volumes, with an index of their members."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from backup.model.entry import FLAG_NO_CONTENT, Entry
from backup.model.errors import Damaged
from backup.model.text import to_name
from backup.ops.exporting.members import can_be_member, data_size, headers, is_sparse, sparse_map
from backup.ops.exporting.volumes import Sink
from backup.ops.restoring.contract import Reader, RestoreMonitor

_BLOCK = 512
#: Of a hole in what cannot be read, so much is written at a time.
_PIECE = 1 << 20


@dataclass(slots=True)
class TarSummary:
    """Names in it, bytes of file data, and names that are not in it, or not as they were."""

    members: int = 0
    bytes: int = 0
    errors: int = 0


def export_tar(
    reader: Reader,
    root: Entry,
    sink: Sink,
    monitor: RestoreMonitor,
    index: Callable[[dict[str, Any]], None] | None = None,
) -> TarSummary:
    """Writes all below a directory of a snapshot, or one file. `index` is told where each member lies.

    What cannot be read is told to the monitor and counted: a directory is left out with all below it, a file
    has zeros in place of what is damaged. Raises OSError where it cannot be written.
    """
    export = _Export(reader, sink, monitor, index)
    for path, entry in export.walk(root):
        export.add(path, entry)
    sink.close()
    return export.summary


class _Export:
    def __init__(
        self,
        reader: Reader,
        sink: Sink,
        monitor: RestoreMonitor,
        index: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self.summary = TarSummary()
        self._reader = reader
        self._sink = sink
        self._monitor = monitor
        self._index = index
        #: Of hard-linked files: the path of the name that has the content.
        self._links: dict[tuple[int, int], bytes] = {}

    def walk(self, root: Entry) -> Iterator[tuple[bytes, Entry]]:
        """Each directory before what it holds; its own root as `.`."""
        yield (b"." if root.tree is not None else root.name), root
        waiting = [(b"", root)]
        while waiting:
            path, directory = waiting.pop()
            if directory.tree is None:
                continue
            below = []
            try:
                for entry in self._reader.entries(directory.tree):
                    here = path + b"/" + entry.name if path else entry.name
                    yield here, entry
                    below.append((here, entry))
            except Damaged as error:
                self._failed(path or b".", str(error))
            waiting += [item for item in reversed(below) if item[1].tree is not None]

    def add(self, path: bytes, entry: Entry) -> None:
        if not can_be_member(entry):
            self._monitor.notice(f"{os.fsdecode(path)} is left out: tar has no sockets")
            return
        if stat.S_ISREG(entry.mode) and entry.flags & FLAG_NO_CONTENT:
            self._failed(path, "left out: its content is not in the snapshot")
            return
        link = self._link(path, entry)
        head, size = headers(path, entry, link), data_size(entry, link)
        volume, offset = self._sink.member(len(head) + size + -size % _BLOCK)
        self._sink.write(head)
        if size:
            self._write_data(path, entry)
            self._sink.write(bytes(-size % _BLOCK))
        self.summary.members += 1
        self._monitor.progress(self.summary.members, self.summary.bytes, path)
        if self._index is not None:
            self._index(_record(path, entry, link, volume, offset))

    def _link(self, path: bytes, entry: Entry) -> bytes | None:
        """The other member that it is a hard link to."""
        group = entry.link_group
        if group is None:
            return None
        first = self._links.setdefault(group, path)
        return None if first == path else first

    def _write_data(self, path: bytes, entry: Entry) -> None:
        if is_sparse(entry):
            self._sink.write(sparse_map(entry))
        start = 0
        damaged: Damaged | None = None
        for extent in entry.extents:
            length = extent.end - start
            start = extent.end
            if extent.chunk is None:
                continue
            try:
                data = memoryview(self._reader.chunk(extent.chunk))
                if len(data) != length:
                    raise Damaged("a chunk is not as long as its file says")
                self._sink.write(data)
                self.summary.bytes += length
            except Damaged as error:
                damaged = error
                # The headers say how much follows.
                for at in range(0, length, _PIECE):
                    self._sink.write(bytes(min(_PIECE, length - at)))
        if damaged is not None:
            self._failed(path, f"{damaged}: zeros are in place of what is damaged")

    def _failed(self, path: bytes, text: str) -> None:
        self.summary.errors += 1
        self._monitor.problem(path, text)


def _record(path: bytes, entry: Entry, link: bytes | None, volume: str, offset: int) -> dict[str, Any]:
    """A line of the index: `offset` is where the member's headers begin in its volume, in bytes."""
    record = {
        "path": to_name(path),
        "kind": entry.kind,
        "size": entry.size,
        "volume": volume,
        "offset": offset,
    }
    return record if link is None else record | {"link": to_name(link)}
