"""Naming an object: the one place where bytes become a name."""

import hashlib
from collections.abc import Callable
from typing import Literal, Protocol, get_args

from blake3 import blake3

from backup.model.errors import Damaged
from backup.model.ids import ObjectId

HashName = Literal["blake3", "sha256"]
HASH_NAMES: tuple[HashName, ...] = get_args(HashName)

Data = bytes | bytearray | memoryview
NameOf = Callable[[Data], ObjectId]


class Hasher(Protocol):
    """A hash in the making, for files that are named after all of their bytes."""

    def update(self, data: Data, /) -> object: ...

    def digest(self) -> bytes: ...

    def copy(self) -> "Hasher": ...


def _blake3(data: Data) -> ObjectId:
    return ObjectId(blake3(data).digest())


def _sha256(data: Data) -> ObjectId:
    return ObjectId(hashlib.sha256(data).digest())


def name_of(name: HashName) -> NameOf:
    """The function that names plain bytes: BLAKE3-256 or SHA-256, 32 bytes."""
    return _blake3 if name == "blake3" else _sha256


def new_hasher(name: HashName) -> Hasher:
    return blake3() if name == "blake3" else hashlib.sha256()


def require_name(name: NameOf, data: Data, expected: bytes, what: str) -> None:
    """Raises `Damaged` where the bytes are not those that `expected` names."""
    if name(data) != expected:
        raise misnamed(what)


def misnamed(what: str) -> Damaged:
    return Damaged(f"{what} does not hash to its name: its bytes have changed")
