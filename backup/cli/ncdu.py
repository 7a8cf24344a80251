"""A directory of a snapshot as ncdu reads it (`ncdu -f FILE`): https://dev.yorhel.nl/ncdu/jsonfmt, 1.2.

Names stand there as the bytes that they are, whatever their encoding: so this is not always JSON.
"""

import re
import time
from collections.abc import Callable, Iterator
from itertools import repeat

from backup import __version__
from backup.model.entry import FLAG_NO_CONTENT, Entry
from backup.model.errors import Damaged
from backup.model.ids import ObjectId

#: The entries of a directory's tree.
Entries = Callable[[ObjectId], Iterator[Entry]]

_ESCAPED = re.compile(rb'[\x00-\x1f"\\\x7f]')


def ncdu_export(
    top: Entry, path: bytes, entries: Entries, problem: Callable[[bytes, Damaged], None]
) -> Iterator[bytes]:
    """The document in pieces. `path` is the top directory's at the source.

    A directory that is damaged is told to `problem`, and marked.
    """
    yield b'[1,2,{"progname":"imbfs","progver":"%s","timestamp":%d}' % (
        __version__.encode(),
        int(time.time()),
    )
    stack: list[Iterator[tuple[Entry, int]]] = []
    found: tuple[Entry, int] | None = (top._replace(name=path), -1)
    while found is not None or stack:
        if found is None:
            yield b"]"
            stack.pop()
        else:
            entry, volume = found
            yield b",\n" + (b"[" if entry.tree is not None else b"")
            below: Iterator[Entry] = iter(())
            damaged = False
            if entry.tree is not None:
                try:
                    below = entries(entry.tree)
                except Damaged as error:
                    damaged = True
                    problem(entry.name, error)
                stack.append(zip(below, repeat(entry.volume)))
            yield _info(entry, volume, damaged)
        found = next(stack[-1], None) if stack else None
    yield b"]\n"


def _info(entry: Entry, volume: int, damaged: bool) -> bytes:
    """`dsize` is without holes. `volume` is that of the directory it is in."""
    fields = [
        b'"name":"%s"' % _ESCAPED.sub(lambda match: b"\\u%04x" % match[0][0], entry.name),
        b'"asize":%d,"dsize":%d' % (entry.size, _allocated(entry)),
        b'"uid":%d,"gid":%d,"mode":%d,"mtime":%d'
        % (entry.uid, entry.gid, entry.mode, entry.mtime_ns // 1_000_000_000),
    ]
    if entry.tree is not None and entry.volume != volume:
        fields.append(b'"dev":%d' % entry.volume)
    if entry.link_group is not None:
        fields.append(b'"ino":%d,"nlink":%d,"hlnkc":true' % (entry.ino, entry.nlink))
    if entry.kind not in ("file", "dir"):
        fields.append(b'"notreg":true')
    if damaged or (entry.tree is not None and entry.flags & FLAG_NO_CONTENT):
        fields.append(b'"read_error":true')
    return b"{" + b",".join(fields) + b"}"


def _allocated(entry: Entry) -> int:
    if entry.kind != "file":
        return entry.size if entry.tree is not None else 0
    size = start = 0
    for extent in entry.extents:
        size += extent.end - start if extent.chunk is not None else 0
        start = extent.end
    return size
