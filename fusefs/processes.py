"""Which process drives a mount, and which ones use it, told without touching the mount itself.

A file in it is never looked at: where the driver hangs, so would we.
"""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fusefs.mountinfo import Mount

_MOST_NAMED = 5


@contextmanager
def name_of_driver(mount: Mount) -> Iterator[None]:
    """Gives this process the name by which `driver_of` finds it. Unlike a file, it ends with the process."""
    with open("/proc/self/comm", "r+b", buffering=0) as file:
        before = file.read()
        file.write(_name(mount))
        try:
            yield
        finally:
            # The number of the device may be given to another mount before we have ended.
            file.write(before)


def driver_of(mount: Mount) -> int | None:
    """The process that answers `mount`; None when it ended, or /proc does not show it to us."""
    user = b"%d" % _user_of(mount)
    for pid in _processes():
        with suppress(OSError):
            # The name first: it is quickly read, and nearly always another's.
            if _read(pid, "comm").rstrip(b"\n") == _name(mount):
                status = dict(line.partition(b":")[::2] for line in _read(pid, "status").splitlines())
                if status[b"State"].split()[0] not in b"ZX" and status[b"Uid"].split()[0] == user:
                    return pid
    return None


def wait_for_end(descriptor: int, seconds: float) -> bool:
    """Whether the process of this pidfd has ended within the time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def users_of(mount: Mount) -> list[int]:
    """Processes with a file or directory of `mount` open, mapped or as their place. Only those we may see."""
    return [pid for pid in _processes() if pid != os.getpid() and _uses(pid, mount)]


def named(pids: list[int]) -> str:
    """As in "812 (bash), 4711 (less) and 3 more"."""
    shown = []
    for pid in pids[:_MOST_NAMED]:
        name = "?"
        with suppress(OSError):
            name = _read(pid, "comm").rstrip(b"\n").decode(errors="backslashreplace")
        shown.append(f"{pid} ({name})")
    more = len(pids) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _name(mount: Mount) -> bytes:
    return b"imbfs %d" % mount.minor


def _user_of(mount: Mount) -> int:
    options = dict(option.partition(b"=")[::2] for option in mount.options.split(b","))
    return int(options.get(b"user_id", b"0"))


def _uses(pid: int, mount: Mount) -> bool:
    return _stands_in(pid, mount.point) or _maps(pid, mount) or _has_open(pid, mount)


def _stands_in(pid: int, point: bytes) -> bool:
    for link in ("cwd", "root", "exe"):
        with suppress(OSError):
            target = os.readlink(b"/proc/%d/%s" % (pid, link.encode()))
            if target == point or target.startswith(point + b"/"):
                return True
    return False


def _maps(pid: int, mount: Mount) -> bool:
    """/proc/PID/maps gives each mapping's device in hexadecimal."""
    major, _, minor = mount.device.partition(":")
    device = b"%02x:%02x" % (int(major), int(minor))
    with suppress(OSError):
        return any(line.split(None, 4)[3] == device for line in _read(pid, "maps").splitlines())
    return False


def _has_open(pid: int, mount: Mount) -> bool:
    line = b"mnt_id:\t%d" % mount.number
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fdinfo"):
            with suppress(OSError):
                if line in _read(pid, f"fdinfo/{name}").splitlines():
                    return True
    return False


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()
