"""Which packs are read, where not all are: a fixed part of them, or those that were not read for longest."""

import os
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

#: Names what is read: a pack, or a file of the source.
Name = TypeVar("Name", bound=bytes)


class Part(NamedTuple):
    """Part `number` of `of`, from 1 on. It depends on the packs' names alone: `of` checks read all."""

    number: int
    of: int


class Share(NamedTuple):
    """So many percent of all bytes."""

    percent: float


def choose(stored: Mapping[Name, int], subset: Part | Share | None, read: Mapping[bytes, int]) -> list[Name]:
    """The packs to read. `stored`: all, with sizes in bytes; `read`: when each was read last, in seconds."""
    if subset is None:
        return sorted(stored)
    if isinstance(subset, Part):
        return [pack for pack in sorted(stored) if int.from_bytes(pack[:8]) % subset.of == subset.number - 1]
    wanted = sum(stored.values()) * subset.percent / 100
    chosen: list[Name] = []
    for pack in sorted(stored, key=lambda pack: (read.get(pack, 0), pack)):
        if wanted <= 0:
            break
        chosen.append(pack)
        wanted -= stored[pack]
    return chosen


class ReadLog:
    """When each pack was read last and found sound: a file of lines, a pack's name and seconds since 1970."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.times: dict[bytes, int] = {}
        with suppress(OSError):
            for line in path.read_text("ascii", "replace").splitlines() if path else ():
                name, _, seconds = line.partition(" ")
                with suppress(ValueError):
                    self.times[bytes.fromhex(name)] = int(seconds)

    def note(self, pack: bytes, seconds: float) -> None:
        self.times[pack] = int(seconds)

    def save(self, stored: Container[bytes], notice: Callable[[str], None]) -> None:
        """Keeps what is known of the packs that are stored. What prevents it is told."""
        if self._path is None:
            return
        rows = sorted(row for row in self.times.items() if row[0] in stored)
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new.write_text("".join(f"{pack.hex()} {seconds}\n" for pack, seconds in rows))
            new.replace(self._path)
        except OSError as error:
            notice(f"{self._path}: {error.strerror}: which packs were read is not remembered")
