"""Mount options in the form that libfuse takes them."""

import os
from collections.abc import Iterable

from fusefs.mountinfo import OUR_TYPE
from fusefs.mountpoint import MountError

_DEFAULTS = {
    "fsname": "imbfs",
    "subtype": OUR_TYPE.decode().partition(".")[2],
    # The kernel checks modes and ACLs as on a local disk, without asking.
    "default_permissions": "",
    "ro": "",
}

#: Not to be had, with the reason.
_REFUSED = {
    "max_read": "pyfuse3 cannot mount with it",
    "subtype": "it is how mounts of imbfs are told from others",
    "rw": "backups are not written to",
}


def libfuse_options(options: Iterable[str]) -> set[str]:
    """`options`, each `name` or `name=value` as it is meant, with ours added; escaped and ASCII.

    `fsname` is what `mount` and `df` show as the device. Raises MountError.
    """
    chosen = dict(_DEFAULTS)
    for option in options:
        name, _, value = option.partition("=")
        if name in _REFUSED:
            raise MountError(f"the mount option {name} cannot be given: {_REFUSED[name]}")
        chosen[name] = value
    return {_escaped(name) + (f"={_escaped(value)}" if value else "") for name, value in chosen.items()}


def _escaped(text: str) -> str:
    """libfuse splits at commas, and reads a backslash with three octal digits as a byte."""
    return "".join(
        chr(byte) if 0x20 < byte < 0x7F and byte not in b",\\" else f"\\{byte:03o}"
        for byte in os.fsencode(text)
    )
