"""Bytes that people call text: names and paths, as they stand in JSON."""

from base64 import b64decode, b64encode

import msgspec


class Encoded(msgspec.Struct, frozen=True):
    """A name that is not UTF-8, in base64."""

    b64: str


Name = str | Encoded


def to_name(data: bytes) -> Name:
    """A string where the bytes are UTF-8, else `{"b64": …}`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Encoded(b64encode(data).decode())


def to_bytes(name: Name) -> bytes:
    """Raises ValueError where the base64 is none."""
    return name.encode() if isinstance(name, str) else b64decode(name.b64, validate=True)
