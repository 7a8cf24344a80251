"""Which file systems there are, by the kernel's table of mounts."""

import os

#: What the kernel or a desktop makes up while it is looked at, and our own mounts: nothing to back up.
PSEUDO = frozenset(
    {
        *("proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "cpuset", "tracefs", "debugfs"),
        *("securityfs", "configfs", "pstore", "bpf", "efivarfs", "hugetlbfs", "mqueue", "fusectl"),
        *("binfmt_misc", "binder", "autofs", "rpc_pipefs", "nfsd", "selinuxfs", "smackfs", "nsfs"),
        *("resctrl", "fuse.imbfs", "fuse.lxcfs", "fuse.gvfsd-fuse", "fuse.portal"),
    }
)
#: Here a file may have another inode number each time that it is mounted or looked at.
UNSTABLE = frozenset({"vfat", "msdos", "exfat", "hfs", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "fuse"})

#: These keep no time of the last change to a file's attributes: what they show for it comes and goes.
WITHOUT_CTIME = frozenset({"vfat", "msdos", "exfat"})


def inodes_last(kind: str) -> bool:
    """Whether a file keeps its inode number on a file system of this kind."""
    return kind not in UNSTABLE and not kind.startswith("fuse.")


class FileSystems:
    """By device number and by mount point. The table is read when it is first needed, and for new devices."""

    def __init__(self, table: str = "/proc/self/mountinfo") -> None:
        self._table = table
        self._kinds: dict[int, str] = {}
        self._points: dict[bytes, str] = {}

    def kind(self, device: int) -> str:
        """The kernel's name for the kind of the file system with this `st_dev`; '' where it has none."""
        if device not in self._kinds:
            self._read()
        # Some file systems give their parts devices that no table lists.
        return self._kinds.setdefault(device, "")

    def kind_at(self, path: bytes) -> str:
        """The kind of what is mounted at this very path; '' where nothing is."""
        if not self._points:
            self._read()
        return self._points.get(path, "")

    def _read(self) -> None:
        try:
            with open(self._table, "rb") as file:
                lines = file.read().split(b"\n")
        except OSError:
            return
        for line in filter(None, lines):
            fields = line.split(b" ")
            kind = os.fsdecode(fields[fields.index(b"-", 6) + 1])
            major, minor = map(int, fields[2].split(b":"))
            self._kinds[os.makedev(major, minor)] = kind
            self._points[_unescaped(fields[4])] = kind


def _unescaped(field: bytes) -> bytes:
    """Octal escapes stand for space, tab, newline, backslash and `#`."""
    head, *rest = field.split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def mount_point(path: bytes, status: os.stat_result) -> bytes:
    """The path, or the directory above it, at which its file system begins. `path` has no symlinks."""
    while path != b"/":
        above = os.path.dirname(path)
        try:
            if os.lstat(above).st_dev != status.st_dev:
                break
        except OSError:
            break
        path = above
    return path
