"""Sources that change between backups, and the truth about each: what every snapshot has to show."""

import hashlib
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.everything import noise

#: Path below the source → hash of its bytes; of a symlink, its target; of a directory, nothing.
Truth = dict[str, bytes]

MOST_FILES = 40


@dataclass
class Source:
    """A tree that only its owner changes, and not while it is being backed up."""

    root: Path
    random: random.Random
    busy: bool = False
    numbers: int = field(default=0)

    def change(self) -> None:
        """Some changes of every kind."""
        self.root.mkdir(exist_ok=True)
        for _ in range(self.random.randint(1, 6)):
            files = sorted(path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
            if len(files) < 3 or (self.random.random() < 0.5 and len(files) < MOST_FILES):
                self._add()
            else:
                self._alter(self.random.choice(files))

    def _add(self) -> None:
        self.numbers += 1
        directory = self.root / f"directory {self.random.randrange(4)}"
        directory.mkdir(exist_ok=True)
        path = directory / f"file {self.numbers}"
        size = self.random.choice([0, 1, 700, 5_000, 90_000, 300_000, 2_500_000])
        path.write_bytes(noise(size, self.random.randrange(30)))
        if self.random.random() < 0.2:
            os.link(path, f"{path} linked")
        if self.random.random() < 0.2:
            os.symlink(path.name, f"{path} symlink")

    def _alter(self, path: Path) -> None:
        way = self.random.randrange(4)
        if way == 0:
            path.unlink()
        elif way == 1:
            path.rename(path.with_name(f"{path.name} again"[-200:]))
        elif way == 2:
            with path.open("ab") as file:
                file.write(noise(self.random.randrange(1, 3000), self.random.randrange(1 << 20)))
        elif size := path.stat().st_size:
            with path.open("r+b") as file:
                file.seek(self.random.randrange(size))
                file.write(b"changed")

    def truth(self) -> Truth:
        return read_truth(self.root)


def read_truth(root: Path) -> Truth:
    """What stands below a directory. Raises OSError where it cannot be read."""
    found: Truth = {}
    for directory, subdirectories, files in os.walk(root, onerror=_raise):
        for name in [*subdirectories, *files]:
            path = Path(directory, name)
            found[str(path.relative_to(root))] = truth_of(path)
    return found


def _raise(error: OSError) -> None:
    raise error


def truth_of(path: Path) -> bytes:
    if path.is_symlink():
        return b"to " + os.fsencode(os.readlink(path))
    if path.is_dir():
        return b""
    return hashlib.blake2b(path.read_bytes()).digest()
