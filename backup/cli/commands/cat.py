"""imbfs cat"""

import argparse
import os
from typing import TYPE_CHECKING

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import write
from backup.cli.selecting import add_filters, find_target
from backup.model.errors import Damaged, NotFound
from backup.model.ids import ObjectId

if TYPE_CHECKING:
    from backup.repository import Repository


#: Holes are written in pieces of so many zeros.
PIECE = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="SNAPSHOT:FILE", help="a snapshot, and a file in it")
    add_filters(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.repository.reading import Reading
    from backup.snapshots.paths import find_entry

    with context.open_repository() as repository, Reading(repository, "cat") as reading:
        snapshot, path = find_target(context, repository, arguments.target, arguments)
        reading.show([snapshot])
        entry, _ = find_entry(snapshot, path, repository.tree)
        if entry.kind != "file":
            raise NotFound(f"{os.fsdecode(path) or 'the root'} is a {entry.kind_noun}: name a file")
        start = 0
        for extent in entry.extents:
            if extent.chunk is None:
                for at in range(start, extent.end, PIECE):
                    write(bytes(min(PIECE, extent.end - at)))
            else:
                write(_chunk(repository, extent.chunk, extent.end - start))
            start = extent.end
    return exits.DONE


def _chunk(repository: "Repository", name: ObjectId, length: int) -> bytes | memoryview:
    data = repository.reader.read(name)
    if len(data) != length:
        raise Damaged("a chunk does not have the length that the file's list of chunks says")
    return data
