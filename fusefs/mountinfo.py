"""The kernel's table of mounts, as this process sees it."""

from typing import NamedTuple

#: What `mount` shows as the type of our mounts.
OUR_TYPE = b"fuse.imbfs"


class Mount(NamedTuple):
    """A line of /proc/self/mountinfo. Paths and names are bytes: nothing assumes UTF-8."""

    number: int
    parent: int
    #: "major:minor", as in /sys/class/bdi.
    device: str
    point: bytes
    kind: bytes
    #: The option `fsname`; for a local disk its device.
    source: bytes
    #: Of the file system, such as b"rw,user_id=0,group_id=0".
    options: bytes

    @property
    def ours(self) -> bool:
        return self.kind == OUR_TYPE

    @property
    def minor(self) -> int:
        return int(self.device.partition(":")[2])


def mounts() -> list[Mount]:
    """All mounts; of several at one point, the one that is seen comes last."""
    with open("/proc/self/mountinfo", "rb") as file:
        return parse(file.read())


def mounted_at(point: bytes) -> Mount | None:
    """What is seen at `point`, an absolute path without symlinks."""
    here = [mount for mount in mounts() if mount.point == point]
    covered = {mount.parent for mount in here}
    return next((mount for mount in reversed(here) if mount.number not in covered), None)


def parse(table: bytes) -> list[Mount]:
    """The lines of a mountinfo file: see proc_pid_mountinfo(5)."""
    return [_parse_line(line) for line in table.split(b"\n") if line]


def _parse_line(line: bytes) -> Mount:
    fields = line.split(b" ")
    # Optional fields, any number of them, end with a dash of its own.
    kind, source, options = fields[fields.index(b"-", 6) + 1 :][:3]
    return Mount(
        number=int(fields[0]),
        parent=int(fields[1]),
        device=fields[2].decode(),
        point=_unescape(fields[4]),
        kind=_unescape(kind),
        source=_unescape(source),
        options=options,
    )


def _unescape(field: bytes) -> bytes:
    """Octal escapes stand for space, tab, newline, backslash and `#`."""
    head, *rest = field.split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)
