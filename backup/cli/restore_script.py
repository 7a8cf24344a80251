"""A shell script that restores what was found: plain POSIX sh, safe for every name."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from backup.cli.context import Context
from backup.cli.output import count
from backup.model.errors import ImbfsError

if TYPE_CHECKING:
    from backup.ops.find import Version

_HEAD = b"""#!/bin/sh
# Restores what `imbfs find` found, the newest version of each path, below the directory TARGET.
# What is there already is left where it is the same, and moved aside where it differs.
#
#     sh THIS-FILE TARGET
#
# IMBFS names another imbfs, IMBFS_REPOSITORY another place of the repository.
set -u

if [ "$#" -ne 1 ] || [ -z "$1" ]; then
    echo 'give one argument: the directory to restore into' >&2
    exit 2
fi
case $1 in
/*) target=$1 ;;
*) target=./$1 ;;
esac
imbfs=${IMBFS:-imbfs}
repository=%s
if [ -n "${IMBFS_REPOSITORY:-}" ]; then repository=$IMBFS_REPOSITORY; fi
failed=0

# put SNAPSHOT PATH DIRECTORY: restores one path into a directory below the target
put() {
    mkdir -p "$target/$3" &&
        "$imbfs" --quiet --repo "$repository" restore --overwrite keep --target "$target/$3" "$1:$2" ||
        { failed=$((failed + 1)); printf 'not restored: %%s\\n' "$2" >&2; }
}

"""

_TAIL = b"""
if [ "$failed" -ne 0 ]; then
    echo "$failed could not be restored" >&2
    exit 1
fi
"""


def write_script(context: Context, repository: Path, found: "Iterable[Version]", file: str) -> None:
    """Writes it to a new file, or to stdout for `-`. Raises `ImbfsError` where the file stands already."""
    lines = []
    newest: dict[bytes, Version] = {}
    for version in found:
        path = os.path.join(version.top, version.path)
        known = newest.get(path)
        if known is None or known.snapshots[-1].body.started_ns <= version.snapshots[-1].body.started_ns:
            newest[path] = version
    for version in newest.values():
        is_directory = version.entry.tree is not None
        directory = version.path if is_directory else os.path.dirname(version.path)
        words = (version.snapshots[-1].id.encode(), version.path, directory)
        lines.append(b"put " + b" ".join(map(quote, words)) + b"\n")
    _write(file, _HEAD % quote(os.fsencode(repository)) + b"".join(lines) + _TAIL)
    context.notice(f"{file} restores {count(len(lines), 'path')}: sh {file} TARGET")


def quote(data: bytes) -> bytes:
    """One word of a shell, whatever bytes it has."""
    return b"'" + data.replace(b"'", b"'\\''") + b"'"


def _write(file: str, data: bytes) -> None:
    from backup.cli.output import write

    if file == "-":
        write(data)
        return
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777)
    except FileExistsError:
        raise ImbfsError(f"{file} exists: nothing was written, name another file") from None
    with open(fd, "wb") as script:
        script.write(data)
