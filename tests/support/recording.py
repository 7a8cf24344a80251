"""What a disk may hold after a crash, from a record of what a program did to it.

A kill keeps every step that was made. A power cut may take those that no fsync covered: the bytes of a file
until fsync of the file, a name until fsync of its directory. A rename is one step: it happened or it did not.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from tests.support.steps import Step

#: Directories and files by number; the top is directory 0.
Names = dict[int, dict[str, int]]


@dataclass
class _Change:
    """What one step does. Names: (directory, name) → what it then stands for, None where it is gone."""

    names: list[tuple[int, str, int | None]] = field(default_factory=list)
    #: File, offset, bytes; the file is cut there where `cuts`.
    file: int = 0
    offset: int = 0
    data: bytes = b""
    cuts: bool = False
    #: The file or directory whose fsync makes this durable; and what this is an fsync of.
    needs: int = 0
    syncs: int | None = None


class Tree:
    """Directories and files as they stand: what a program left, or what a crash left of it."""

    def __init__(self) -> None:
        self.names: Names = {0: {}}
        self.files: dict[int, bytearray] = {}

    def copy(self) -> "Tree":
        new = Tree()
        new.names = {number: dict(names) for number, names in self.names.items()}
        new.files = {number: bytearray(data) for number, data in self.files.items()}
        return new

    def apply(self, change: _Change) -> None:
        for directory, name, number in change.names:
            names = self.names.setdefault(directory, {})
            if number is None:
                names.pop(name, None)
            else:
                names[name] = number
        if change.cuts:
            data = self.files.setdefault(change.file, bytearray())
            del data[change.offset :]
            data.extend(bytes(change.offset - len(data)))
        elif change.data:
            data = self.files.setdefault(change.file, bytearray())
            data.extend(bytes(max(0, change.offset - len(data))))
            data[change.offset : change.offset + len(change.data)] = change.data

    def walk(self, number: int = 0, path: str = "") -> Iterator[tuple[str, bytes | None]]:
        """Path and bytes of all that can be reached; None: a directory."""
        for name, inner in sorted(self.names[number].items()):
            here = f"{path}{name}"
            if inner in self.names:
                yield here, None
                yield from self.walk(inner, here + "/")
            else:
                yield here, bytes(self.files.get(inner, b""))

    def digest(self) -> bytes:
        """The same for trees that are equal, but for the bytes of temporary files, which nobody reads, and of
        leases, of which only an empty one differs from another of a process that has ended."""
        hasher = blake3()
        for path, data in self.walk():
            passing = "/tmp/" in path or "/leases/" in path
            shown = bool(data) if passing else blake3(data or b"").digest()
            hasher.update(repr((path, data is None, shown)).encode())
        return hasher.digest()

    def write(self, top: Path) -> None:
        """Makes the tree at `top`, with the modes that a repository has."""
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir(mode=0o700)
        for path, data in self.walk():
            if data is None:
                (top / path).mkdir(mode=0o700)
            else:
                (top / path).write_bytes(data)
                (top / path).chmod(0o400)

    def find(self, path: str) -> int:
        number = 0
        for name in filter(None, path.split("/")):
            number = self.names[number][name]
        return number


def read_tree(top: Path) -> Tree:
    """A directory that is all durable."""
    tree, number = Tree(), 0
    numbers = {os.fspath(top): 0}
    for directory, subdirectories, files in os.walk(top):
        here = tree.names[numbers[directory]]
        for name in subdirectories + files:
            number -= 1  # those of a record count up
            here[name] = number
            path = os.path.join(directory, name)
            if name in subdirectories:
                numbers[path] = number
                tree.names[number] = {}
            else:
                tree.files[number] = bytearray(Path(path).read_bytes())
    return tree


class Record:
    """The steps of a program, with every state that a crash may have left."""

    def __init__(self, before: Tree, steps: list[Step]) -> None:
        self.before = before
        self._number = 1 << 32
        after = before.copy()
        self._changes: list[_Change] = []
        for step in steps:
            change = self._change(after, step)
            after.apply(change)
            self._changes.append(change)
        self.after = after

    def __len__(self) -> int:
        return len(self._changes)

    def _change(self, tree: Tree, step: Step) -> _Change:
        parent, _, name = step.path.rpartition("/")
        if step.operation in ("write", "truncate", "fsync"):
            file = step.file or tree.find(step.path)
            if step.operation == "fsync":
                return _Change(syncs=file)
            cuts = step.operation == "truncate"
            return _Change(file=file, offset=step.offset, data=step.data, cuts=cuts, needs=file)
        if step.operation == "fsyncdir":
            return _Change(syncs=tree.find(step.path))
        directory = tree.find(parent)
        if step.operation == "create":
            tree.files[step.file] = bytearray()
            return _Change([(directory, name, step.file)], needs=directory)
        if step.operation == "mkdir":
            self._number += 1
            # Its number is known from now on, whether its name is lost or not.
            self.before.names[self._number], tree.names[self._number] = {}, {}
            return _Change([(directory, name, self._number)], needs=directory)
        if step.operation in ("unlink", "rmdir"):
            return _Change([(directory, name, None)], needs=directory)
        if step.operation in ("rename", "link"):
            number = tree.find(step.path)
            parent, _, other = step.other.rpartition("/")
            target = tree.find(parent)
            gone: list[tuple[int, str, int | None]] = (
                [(directory, name, None)] if step.operation == "rename" else []
            )
            return _Change([*gone, (target, other, number)], needs=target)
        raise AssertionError(f"what a crash leaves of {step.operation} is not known")

    def killed(self, length: int) -> Tree:
        """After so many steps, all of them kept."""
        return self._without(length, {})

    def states(self, length: int) -> Iterator[tuple[str, Tree]]:
        """What may be found after so many steps, each with how it came about."""
        loose = self._loose(length)
        yield "killed", self.killed(length)
        yield "all lost", self._without(length, dict.fromkeys(loose, "lost"))
        yield "all cut", self._without(length, dict.fromkeys(loose, "cut"))
        for position in loose:
            yield f"step {position} lost", self._without(length, {position: "lost"})
            kept = dict.fromkeys((other for other in loose if other != position), "lost")
            yield f"step {position} alone kept", self._without(length, kept)
            if self._changes[position].data:
                yield f"step {position} cut", self._without(length, {position: "cut"})
                yield f"step {position} zeros", self._without(length, {position: "zeros"})

    def _loose(self, length: int) -> list[int]:
        """The steps that no fsync covers yet."""
        synced: set[int] = set()
        loose = []
        for position in range(length - 1, -1, -1):
            change = self._changes[position]
            if change.syncs is not None:
                synced.add(change.syncs)
            elif change.needs not in synced:
                loose.append(position)
        return loose[::-1]

    def _without(self, length: int, fates: dict[int, str]) -> Tree:
        tree = self.before.copy()
        for position, change in enumerate(self._changes[:length]):
            fate = fates.get(position)
            if fate == "lost" or (fate == "cut" and not change.data):
                continue
            if fate == "cut":
                half = change.data[: len(change.data) // 2]
                change = _Change(file=change.file, offset=change.offset, data=half)
            elif fate == "zeros":
                change = _Change(file=change.file, offset=change.offset, data=bytes(len(change.data)))
            tree.apply(change)
        return tree
