"""One reader of files, as a process of its own: takes a job as JSON, says `ready`, and works when told `go`.

Run as a file; imports nothing of the package, so that it starts at once.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

MIB = 1 << 20


def read_parts(job: dict[str, Any]) -> dict[str, Any]:
    """Each part of a file from its start to its end, 1 MiB at a time."""
    total = 0
    buffer = bytearray(MIB)
    for path, start, length in job["parts"]:
        fd = os.open(path, os.O_RDONLY)
        os.lseek(fd, start, os.SEEK_SET)
        left = length
        while left > 0 and (count := os.readv(fd, [memoryview(buffer)[: min(left, MIB)]])):
            left -= count
        total += length - left
        os.close(fd)
    return {"amount": total}


def read_random(job: dict[str, Any]) -> dict[str, Any]:
    """4 KiB at offsets drawn anew, for a given time."""
    draw = random.Random(job["seed"])
    fd = os.open(job["path"], os.O_RDONLY)
    pages = os.fstat(fd).st_size // 4096
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    count, end = 0, time.monotonic() + job["seconds"]
    while time.monotonic() < end:
        count += len(os.pread(fd, 4096, draw.randrange(pages) * 4096)) == 4096
    os.close(fd)
    return {"amount": count}


def read_small(job: dict[str, Any]) -> dict[str, Any]:
    """Open, read and close each file; the seconds that each took."""
    taken = []
    for path in job["paths"]:
        began = time.perf_counter()
        fd = os.open(path, os.O_RDONLY)
        while os.read(fd, MIB):
            pass
        os.close(fd)
        taken.append(time.perf_counter() - began)
    return {"amount": len(taken), "taken": taken}


JOBS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "parts": read_parts,
    "random": read_random,
    "small": read_small,
}


def main() -> None:
    job = json.loads(sys.stdin.readline())
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    done = JOBS[job["kind"]](job)
    print(json.dumps(done | {"began": began, "ended": time.monotonic()}), flush=True)


if __name__ == "__main__":
    main()
