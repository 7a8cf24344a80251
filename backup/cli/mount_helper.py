"""`mount.imbfs`: what mount(8) and an fstab line call.

    mount -t fuse.imbfs REPO#SNAPSHOT[:PATH] /mnt
    /srv/backup#latest  /mnt/backup  fuse.imbfs  noauto,x-systemd.automount,allow_other  0 0

Found by mount(8) as /sbin/mount.fuse.imbfs, a link to the installed `mount.imbfs`. A source without
`#`, or that is a directory, is the whole repository; else what is before the last `#` that has a directory
before it. Follows mount(8), "EXTERNAL HELPERS": SOURCE DIR [-sfnv] [-N namespace]
[-o options] [-t type].
"""

import argparse
import os
import sys

from backup.cli.main import main as run_command

#: Options of fstab that are mount(8)'s and systemd's own, and not the file system's.
_NOT_OURS = frozenset(
    {
        *("defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail"),
        *("_netdev", "rw", "ro"),
    }
)


def main(argv: list[str] | None = None) -> int:
    """Returns what the `mount` command returns."""
    parser = argparse.ArgumentParser(prog="mount.imbfs", allow_abbrev=False)
    parser.add_argument("source", metavar="REPO[#SNAPSHOT[:PATH]]")
    parser.add_argument("mountpoint", metavar="DIR")
    parser.add_argument("-o", dest="options", action="append", default=[])
    parser.add_argument("-t", dest="kind")
    parser.add_argument("-N", dest="namespace")
    for flag in "sfnv":
        parser.add_argument(f"-{flag}", action="store_true", dest=f"flag_{flag}")
    arguments = parser.parse_args(argv)
    if arguments.flag_f:
        # A dry run: mount(8) only wants to know that there is a helper.
        return 0
    return run_command(command_line(arguments.source, arguments.mountpoint, arguments.options))


def command_line(source: str, mountpoint: str, options: list[str]) -> list[str]:
    """The `imbfs` arguments for what mount(8) asks."""
    repository, snapshot = _split(source)
    line = ["--repo", repository, "--quiet", "mount"]
    kept = []
    for option in (option for text in options for option in text.split(",") if option):
        name, _, value = option.partition("=")
        if name == "increment":
            line.append("--increment")
        elif name == "idle_timeout":
            line += ["--idle-timeout", value]
        elif name not in _NOT_OURS and not name.startswith(("x-", "X-", "comment")):
            kept.append(option)
    device = source.replace("\\", r"\\").replace(",", r"\,")
    line += ["-o", ",".join([f"fsname={device}", *kept])]
    return [*line, *([snapshot] if snapshot else []), mountpoint]


def _split(source: str) -> tuple[str, str]:
    """Repository, and snapshot or "". Either may have a `#` in it: what is a directory is the repository."""
    if not os.path.isdir(source):
        for place in (place for place in range(len(source) - 1, 0, -1) if source[place] == "#"):
            if os.path.isdir(source[:place]):
                return source[:place], source[place + 1 :]
        if "#" in source:
            repository, _, snapshot = source.partition("#")
            return repository, snapshot
    return source, ""


if __name__ == "__main__":
    sys.exit(main())
