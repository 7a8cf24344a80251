"""POSIX ACLs: from the text that tar files have to the attribute that Linux keeps."""

import grp
import os
import pwd
import re
import struct

_VERSION = 2
_ENTRY = struct.Struct("<HHI")
_NOBODY = 0xFFFFFFFF
#: By kind: the tag of an entry without a name, and that of one with a name.
_TAGS = {b"user": (0x01, 0x02), b"group": (0x04, 0x08), b"mask": (0x10, 0), b"other": (0x20, 0)}
_SHORT = {b"u": b"user", b"g": b"group", b"m": b"mask", b"o": b"other"}
_PERMISSIONS = {ord("r"): 4, ord("w"): 2, ord("x"): 1, ord("-"): 0}


def encode_acl(text: bytes) -> bytes:
    """`text` as acl(5) has it, entries apart by commas or lines. Raises ValueError for anything else."""
    entries = []
    for line in re.split(rb"[,\n]", text):
        entry = line.partition(b"#")[0].strip()
        if entry:
            entries.append(_entry(entry))
    return struct.pack("<I", _VERSION) + b"".join(_ENTRY.pack(*entry) for entry in _ordered(entries))


def _ordered(entries: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """By tag and number, as the kernel wants them."""
    return sorted(entries, key=lambda entry: (entry[0], entry[2]))


def _entry(text: bytes) -> tuple[int, int, int]:
    kind, who, permissions, *number = text.split(b":")
    plain, named = _TAGS[kind] if kind in _TAGS else _TAGS[_SHORT[kind]]
    bits = sum({_PERMISSIONS[letter] for letter in permissions[:3]})
    if not who:
        return plain, bits, _NOBODY
    if not named:
        raise ValueError(f"no {os.fsdecode(kind)} has a name")
    # star adds the number behind; who is known here by another number has the name's.
    return named, bits, _number(kind, who, number)


def _number(kind: bytes, who: bytes, number: list[bytes]) -> int:
    if who.isdigit():
        return int(who)
    name = os.fsdecode(who)
    try:
        return pwd.getpwnam(name).pw_uid if kind.startswith(b"u") else grp.getgrnam(name).gr_gid
    except KeyError:
        if number and number[0].isdigit():
            return int(number[0])
        raise ValueError(f"nobody here is called {name}") from None
