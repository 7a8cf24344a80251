"""Which process wrote a lease or a temporary file, and whether it still runs."""

import os
import re
import socket
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b

import msgspec


class Process(msgspec.Struct, frozen=True):
    """A process among all machines: `boot` and `namespace` say where its number `pid` counts, and
    `start` (in clock ticks since the boot) tells it from a later process of the same number.
    """

    host: str
    pid: int
    start: int
    boot: str
    namespace: str

    def lives(self) -> bool | None:
        """Whether it runs; None where this machine cannot tell, because it is another one's."""
        if not self.boot or (self.boot, self.namespace) != (_boot(), _namespace()):
            return None
        return start_ticks(self.pid) == self.start


def this_process() -> Process:
    pid = os.getpid()
    return Process(socket.gethostname(), pid, start_ticks(pid) or 0, _boot(), _namespace())


def mark() -> str:
    """This process as a part of a file's name: number, start, and the place where the number counts."""
    return _mark(os.getpid())


@lru_cache(maxsize=1)
def _mark(pid: int) -> str:
    return f"{pid}.{start_ticks(pid) or 0}.{_place()}"


def marked_process_has_ended(name: str) -> bool:
    """Whether the process whose mark ends a file's name has; False where this machine cannot tell."""
    found = re.search(r"\.([0-9]+)\.([0-9]+)\.([0-9a-f]{16})$", name)
    if found is None or found[3] != _place():
        return False
    return start_ticks(int(found[1])) != int(found[2])


@lru_cache(maxsize=1)
def _place() -> str:
    return blake2b(f"{_boot()} {_namespace()}".encode(), digest_size=8).hexdigest()


def _boot() -> str:
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return ""


def _namespace() -> str:
    """That of process numbers: a container has the boot of its machine, and numbers of its own."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def start_ticks(pid: int) -> int | None:
    """None where there is no such process, or it has ended and only waits for its parent."""
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        # The name, in brackets, may hold anything.
        fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in b"ZX" else int(fields[19])
    return None
