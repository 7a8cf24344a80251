"""`imbfs export --tar`."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.filters import parse_sizes
from backup.cli.output import count, flush, show_json, size, tell, write
from backup.cli.selecting import find_target
from backup.model.errors import UsageError

if TYPE_CHECKING:
    from backup.ops.export_tar import TarSummary
    from backup.ops.exporting.volumes import Sink

#: A volume has room for the headers of any name.
LEAST_VOLUME = 64 << 10


def run_tar(context: Context, arguments: argparse.Namespace) -> int:
    """Raises `UsageError` for what cannot go together."""
    from backup.cli.progress import restore_progress
    from backup.ops.export_tar import export_tar
    from backup.ops.restoring.reader import RepositoryReader
    from backup.repository.reading import Reading
    from backup.snapshots.paths import find_entry

    limit = _volume_size(arguments)
    with context.open_repository() as repository, Reading(repository, "export") as reading:
        snapshot, path = find_target(context, repository, arguments.source, arguments)
        reading.show([snapshot])
        entry, parts = find_entry(snapshot, path, repository.tree)
        whole = snapshot if not parts else None
        with (
            restore_progress(context, whole, lines=arguments.tar != "-") as monitor,
            _opened(context, arguments.tar, limit) as (sink, index),
        ):
            summary = export_tar(RepositoryReader(repository), entry, sink, monitor, index)
    _tell(context, arguments, summary)
    return exits.PARTLY if summary.errors else exits.DONE


def _volume_size(arguments: argparse.Namespace) -> int | None:
    if arguments.directory is not None or arguments.increment:
        raise UsageError(
            "--tar writes one snapshot to FILE: it goes with neither a directory nor --increment"
        )
    if not arguments.tar:
        raise UsageError("--tar: name a file, or - for stdout")
    if arguments.volume_size is None:
        return None
    if arguments.tar == "-":
        raise UsageError("--volume-size needs a file to name the volumes after")
    limit = parse_sizes(arguments.volume_size)[0]
    if limit is None or limit < LEAST_VOLUME:
        raise UsageError(f"{arguments.volume_size!r} is no size of a volume: 64k is the least")
    return limit


class _Stdout:
    write = staticmethod(write)
    flush = staticmethod(flush)


_Index = Callable[[dict[str, Any]], None]


@contextmanager
def _opened(context: Context, name: str, limit: int | None) -> "Iterator[tuple[Sink, _Index | None]]":
    """Where to write, and what is told of each member. What is not whole goes away."""
    from backup.ops.exporting.volumes import Single, Stream, Volumes, create, finish

    if name == "-":
        if sys.stdout is None or sys.stdout.isatty():
            raise UsageError(
                "a tar file is not for a terminal: name a file, or read stdout with another program"
            )
        yield Stream(_Stdout()), None
        return
    partial = [f"{name}.partial"]
    try:
        if limit is None:
            yield Single(name), None
            return
        path = f"{os.path.splitext(name)[0]}.index.jsonl"
        partial.append(f"{path}.partial")
        file = create(path)
        volumes = Volumes(name, limit, context.notice)
        try:
            with file:
                yield volumes, _writer(file)
                finish(file, path)
        finally:
            volumes.discard()
    finally:
        for left in partial:
            if os.path.exists(left):
                os.unlink(left)


def _writer(file: BinaryIO) -> _Index:
    import msgspec

    encoder = msgspec.json.Encoder()

    def add(record: dict[str, Any]) -> None:
        file.write(encoder.encode(record) + b"\n")

    return add


def _tell(context: Context, arguments: argparse.Namespace, summary: "TarSummary") -> None:
    if context.json and arguments.tar != "-":
        show_json(dataclasses.asdict(summary))
    elif not context.quiet:
        failed = f"; {count(summary.errors, 'error')}" if summary.errors else ""
        tell(f"{count(summary.members, 'member')}, {size(summary.bytes)} of data{failed}")
