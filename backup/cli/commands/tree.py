"""imbfs tree"""

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from backup.cli import exits
from backup.cli.commands.ls import record
from backup.cli.context import Context
from backup.cli.output import count, printable, show, size
from backup.cli.selecting import add_filters, find_target
from backup.model.entry import Entry
from backup.model.errors import Damaged, NotFound

if TYPE_CHECKING:
    from backup.repository import Repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="SNAPSHOT[:PATH]", help="a snapshot, and a directory in it")
    parser.add_argument("-L", "--depth", metavar="N", type=_depth, help="go down so many directories only")
    parser.add_argument("-d", "--dirs", action="store_true", help="show directories only")
    parser.add_argument(
        "-s", "--size", action="store_true", help="show sizes; of a directory, that of all below it"
    )
    add_filters(parser)


def _depth(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9])):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text[:9])


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.snapshots.paths import find_entry, source_path

    with context.open_repository() as repository:
        snapshot, path = find_target(context, repository, arguments.target, arguments)
        top, parts = find_entry(snapshot, path, repository.tree)
        if top.tree is None:
            raise NotFound(f"{os.fsdecode(path)} is a {top.kind_noun}: name a directory")
        drawing = _Drawing(context, repository, arguments)
        if context.json:
            drawing.show_json(top, b"/".join(parts))
        else:
            drawing.show(top, source_path(snapshot, parts))
    return exits.DAMAGE if drawing.damaged else exits.DONE


class _Level:
    """The entries of a directory that are still to be shown, one looked at ahead."""

    def __init__(self, entries: Iterator[Entry], path: bytes, indent: str) -> None:
        self._entries = entries
        self._next = next(entries, None)
        self.path = path
        self.indent = indent
        self.first = True

    def take(self) -> tuple[Entry | None, bool]:
        """The next entry, and whether it is the last one."""
        found, self._next = self._next, next(self._entries, None) if self._next is not None else None
        return found, self._next is None


class _Drawing:
    def __init__(self, context: Context, repository: "Repository", arguments: argparse.Namespace) -> None:
        from backup.snapshots.totals import Totals

        self.damaged = False
        self._context = context
        self._repository = repository
        self._depth: int | None = arguments.depth
        self._dirs_only: bool = arguments.dirs
        self._totals = Totals(repository.tree) if arguments.size else None
        self._files = self._dirs = 0

    def show(self, top: Entry, path: bytes) -> None:
        show(self._size(top) + printable(path))
        stack = [self._level(top, path, "")]
        while stack:
            level = stack[-1]
            entry, last = level.take()
            if entry is None:
                stack.pop()
                continue
            target = f" -> {printable(entry.target)}" if entry.kind == "symlink" else ""
            mark = "/" if entry.tree is not None else target
            branch = "└── " if last else "├── "
            show(level.indent + branch + self._size(entry) + printable(entry.name) + mark)
            self._count(entry)
            if entry.tree is not None and self._goes_below(len(stack)):
                indent = level.indent + ("    " if last else "│   ")
                stack.append(self._level(entry, level.path + b"/" + entry.name, indent))
        dirs = f"{self._dirs:,} {'directory' if self._dirs == 1 else 'directories'}"
        show(dirs if self._dirs_only else f"{dirs}, {count(self._files, 'file')}")

    def show_json(self, top: Entry, path: bytes) -> None:
        """One document, written as it is made, however large and deep."""
        stack = [self._open_json(top, path)]
        while stack:
            level = stack[-1]
            entry, _ = level.take()
            if entry is None:
                stack.pop()
                show("]}")
                continue
            comma, level.first = "" if level.first else ",", False
            below = level.path + b"/" + entry.name if level.path else entry.name
            if entry.tree is not None and self._goes_below(len(stack)):
                stack.append(self._open_json(entry, below, comma))
            else:
                show(comma + self._json(entry, below))

    def _open_json(self, entry: Entry, path: bytes, comma: str = "") -> _Level:
        show(comma + self._json(entry, path).removesuffix("}") + ',"children":[')
        return self._level(entry, path, "")

    def _json(self, entry: Entry, path: bytes) -> str:
        import msgspec

        total = {} if self._totals is None or entry.tree is None else {"total": self._total(entry)}
        return msgspec.json.encode(record(path, entry) | total).decode()

    def _goes_below(self, depth: int) -> bool:
        return self._depth is None or depth < self._depth

    def _count(self, entry: Entry) -> None:
        self._dirs += entry.tree is not None
        self._files += entry.tree is None

    def _level(self, entry: Entry, path: bytes, indent: str) -> _Level:
        return _Level(self._entries(entry, path), path, indent)

    def _entries(self, directory: Entry, path: bytes) -> Iterator[Entry]:
        assert directory.tree is not None
        try:
            for entry in self._repository.directory(directory.tree).entries():
                if entry.tree is not None or not self._dirs_only:
                    yield entry
        except Damaged as error:
            self.damaged = True
            self._context.warn(f"{printable(path)}: {error}")

    def _size(self, entry: Entry) -> str:
        if self._totals is None:
            return ""
        total = self._total(entry)
        return f"[{'damaged' if total is None else size(total):>10}]  "

    def _total(self, entry: Entry) -> int | None:
        assert self._totals is not None
        if entry.tree is None:
            return entry.size
        try:
            return self._totals.of(entry.tree).size
        except Damaged:
            return None
