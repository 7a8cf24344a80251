"""The trees to back up: made once, the same on every machine, and kept for the next run."""

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

KIB, MIB = 1 << 10, 1 << 20
SOURCES = Path("/usr/src")
PER_DIRECTORY = 1000
AVERAGE = 1500
IMAGE = "image.raw"


class NoData(Exception):
    """A tree cannot be made here."""


@dataclass(frozen=True)
class Sizes:
    """How large the trees are. `kernel` false: a small stand-in, to try the benchmark out."""

    small: int = 1_000_000
    image: int = 1024 * MIB
    media: int = 256 * MIB
    media_files: int = 8
    kernel: bool = True


QUICK = Sizes(small=600, image=8 * MIB, media=MIB, media_files=8, kernel=False)


@dataclass(frozen=True)
class Tree:
    name: str
    path: Path
    entries: int
    files: int
    size: int

    @property
    def about(self) -> str:
        return f"{self.entries:,} entries, {self.size / 1e6:,.0f} MB"

    def paths(self) -> list[str]:
        """Its regular files, relative to its top, in one order everywhere."""
        return sorted(_regular(self.path))

    @property
    def room(self) -> int:
        """What a copy takes where each file begins on a page."""
        return self.size + self.entries * 4 * KIB


def make_tree(name: str, sizes: Sizes, directory: Path) -> Tree:
    """The tree of this name, from an earlier run where there is one. Appears whole or not at all."""
    path, note = directory / _directory_name(name, sizes), directory / f"{_directory_name(name, sizes)}.json"
    if not note.exists():
        part = path.with_suffix(".part")
        for leftover in (part, path):
            shutil.rmtree(leftover, ignore_errors=True)
        part.mkdir(parents=True)
        print(f"making {path}", file=sys.stderr)
        _MAKERS[name](part, sizes)
        part.rename(path)
        note.write_text(json.dumps(asdict(_counted(name, path)), default=str))
    return Tree(**(json.loads(note.read_text()) | {"path": path}))


def _directory_name(name: str, sizes: Sizes) -> str:
    if name == "small":
        return f"small-{sizes.small}"
    if name == "large":
        return f"large-{sizes.image // MIB}-{sizes.media_files}x{sizes.media // MIB}"
    return "kernel" if sizes.kernel else "kernel-stand-in"


def _counted(name: str, path: Path) -> Tree:
    entries = 1 + sum(len(names) + len(inner) for _, inner, names in os.walk(path))
    sizes = [os.lstat(path / one).st_size for one in _regular(path)]
    return Tree(name, path, entries, len(sizes), sum(sizes))


def _regular(top: Path) -> Iterator[str]:
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                yield os.path.relpath(path, top)


# The kernel's source.


def _make_kernel(path: Path, sizes: Sizes) -> None:
    if not sizes.kernel:
        _make_files(path, 400, 40, random.Random("kernel"))
        return
    archives = sorted(SOURCES.glob("linux-source-*.tar.xz"))
    if not archives:
        raise NoData(f"no linux-source-*.tar.xz in {SOURCES}: install Debian's package linux-source")
    subprocess.run(["tar", "xf", archives[-1], "--strip-components=1", "-C", path], check=True)


# Small files.


def _make_small(path: Path, sizes: Sizes) -> None:
    _make_files(path, sizes.small, min(PER_DIRECTORY, max(1, sizes.small // 10)), random.Random("small"))


def _make_files(path: Path, count: int, per_directory: int, draw: random.Random) -> None:
    """Text-like files of AVERAGE bytes, no two the same."""
    text = _text(32 * MIB if count > 10_000 else MIB, draw)
    for start in range(0, count, per_directory):
        directory = path / f"{start // per_directory:04}"
        directory.mkdir()
        for number in range(start, min(start + per_directory, count)):
            length = min(64 + int(draw.expovariate(1 / (AVERAGE - 100))), 64 * KIB)
            at = draw.randrange(len(text) - length)
            (directory / f"file-{number:07}.txt").write_bytes(b"%d\n" % number + text[at : at + length])


def _text(size: int, draw: random.Random) -> bytes:
    """Words of a made-up language, some of them far more common than others."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 10))) for _ in range(8000)]
    common = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
    parts: list[bytes] = []
    length = 0
    while length < size:
        line = " ".join(draw.choices(words, cum_weights=common, k=5000)).encode()
        parts.append(line.replace(b" a", b"\na"))
        length += len(line) + 1
    return b" ".join(parts)[:size]


# Large files.


def _make_large(path: Path, sizes: Sizes) -> None:
    draw = random.Random("image")
    text = _text(8 * MIB, draw) if sizes.image > 64 * MIB else _text(MIB, draw)
    with (path / IMAGE).open("wb") as image:
        while image.tell() < sizes.image:
            image.write(_extent(text, draw))
        image.truncate(sizes.image)
    for number in range(sizes.media_files):
        draw = random.Random(f"media {number}")
        with (path / f"media-{number}.bin").open("wb") as media:
            for _ in range(sizes.media // MIB):
                media.write(draw.randbytes(MIB))


def _extent(text: bytes, draw: random.Random) -> bytes:
    """64 KiB of a disk image: half is text in new order, a third does not compress, the rest is empty."""
    kind = draw.random()
    if kind < 0.15:
        return bytes(64 * KIB)
    if kind < 0.5:
        return draw.randbytes(64 * KIB)
    starts = (draw.randrange(len(text) - 256) for _ in range(256))
    return b"".join(text[at : at + 256] for at in starts)


_MAKERS: dict[str, Callable[[Path, Sizes], None]] = {
    "kernel": _make_kernel,
    "small": _make_small,
    "large": _make_large,
}


# Changing one percent, and changing it back.

_FLIPPED = bytes(byte ^ 1 for byte in range(256))


def change(tree: Tree, paths: list[str]) -> None:
    """Change one file in a hundred, or one run of 1 MiB in a hundred of a large one. Twice undoes it."""
    for relative in paths[::100] if len(paths) >= 100 else []:
        _flip(tree.path / relative, 0, 1)
    for relative in paths if len(paths) < 100 else []:
        length = (tree.path / relative).stat().st_size
        for start in range(0, length, 100 * MIB):
            _flip(tree.path / relative, start, min(MIB, max(1, length // 100)))


def _flip(path: Path, start: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        flipped = file.read(length).translate(_FLIPPED)
        file.seek(start)
        file.write(flipped)
