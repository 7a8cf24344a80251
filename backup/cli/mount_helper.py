"""`mount.imbfs`: what mount(8) and an fstab line call.

    mount -t fuse.imbfs REPO#SNAPSHOT[:PATH] /mnt
    /srv/backup#latest  /mnt/backup  fuse.imbfs  noauto,x-systemd.automount,allow_other  0 0

Found by mount(8) as /sbin/mount.fuse.imbfs, a link to the installed `mount.imbfs`. A source without
`#` is the whole repository. Follows mount(8), "EXTERNAL HELPERS": SOURCE DIR [-sfnv] [-N namespace]
[-o options] [-t type].
"""

import argparse
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
    repository, _, snapshot = source.partition("#")
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


if __name__ == "__main__":
    sys.exit(main())
