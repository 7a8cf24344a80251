"""Seals: a file's hash, kept on the file itself. `docs/decisions/0016-seals.md`.

The value is text: hash's name, hash, size in bytes, mtime in ns, inode number, and what proves that this user
wrote it for this file. So it is stale as soon as the file is written, or copied to another place.
"""

import errno
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backup.source.attributes import SEAL

KEY_SIZE = 32
_PROOF_SIZE = 16
#: A clock that ticks less often than this is taken for one that does not tell two writes apart.
_TICK_NS = 20_000_000
_COARSE_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Seal:
    """What a seal says; whose it is, and that nobody else wrote it, was checked."""

    hash_name: str
    hash: bytes
    size: int
    mtime_ns: int
    ino: int

    def fits(self, status: os.stat_result) -> bool:
        """Whether size, time and inode are those that the file had when it was sealed."""
        return (self.size, self.mtime_ns, self.ino) == (status.st_size, status.st_mtime_ns, status.st_ino)


class Seals:
    """One set of seals. `key` is secret; `number` from 1 on tells independent sets apart."""

    def __init__(
        self, key: bytes, hash_name: str, number: int = 1, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.attribute = attribute_of(number)
        self._key = key
        self._hash_name = hash_name
        self._clock = clock

    def read(self, handle: int | bytes) -> Seal | None:
        """The seal of an open file or a path, not followed; None where there is none of this user's."""
        try:
            value = os.getxattr(handle, self.attribute, follow_symlinks=isinstance(handle, int))
        except OSError:
            return None
        text, _, proof = value.rpartition(b" ")
        if not hmac.compare_digest(self._prove(text), proof):
            return None
        name, digest, size, mtime, ino = text.decode("ascii").split(" ")
        return Seal(name, bytes.fromhex(digest), int(size), int(mtime), int(ino))

    def find(self, handle: int | bytes, status: os.stat_result) -> bytes | None:
        """The hash of the content, by a seal that fits and is of our hash's kind."""
        seal = self.read(handle)
        if seal is None or seal.hash_name != self._hash_name or not seal.fits(status):
            return None
        return seal.hash

    def write(self, fd: int, digest: bytes, status: os.stat_result) -> bool:
        """Seals a file that had this status when it was read; False where that is not needed, or too early.

        One that fits stays, whatever hash it tells: so `scrub` finds what changed unseen. Raises OSError.
        """
        coarse = status.st_mtime_ns % 1_000_000_000 == 0
        # Written again within the same tick, the file would show the same time.
        early = self._clock() - status.st_mtime_ns < (_COARSE_NS if coarse else _TICK_NS)
        if early or self.find(fd, status) is not None:
            return False
        import xattr

        text = f"{self._hash_name} {digest.hex()} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
        encoded = text.encode()
        xattr.setxattr(fd, os.fsdecode(self.attribute), encoded + b" " + self._prove(encoded))
        return True

    def _prove(self, text: bytes) -> bytes:
        proof = hashlib.blake2b(
            self.attribute + b"\0" + text, key=self._key, digest_size=_PROOF_SIZE, person=b"imbfs seal"
        )
        return proof.hexdigest().encode()


def attribute_of(number: int) -> bytes:
    """The attribute of a set of seals: `user.imbfs.hash`, `user.imbfs.hash.2`, …"""
    return SEAL if number == 1 else b"%s.%d" % (SEAL, number)


def remove_seal(fd: int, attribute: bytes) -> bool:
    """Whether the file had one. Raises OSError."""
    try:
        os.removexattr(fd, attribute)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise
    return True


def find_key(path: Path) -> bytes | None:
    """The user's secret; None where there is none that is whole. Raises OSError."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    return key if len(key) == KEY_SIZE else None


def make_key(path: Path) -> bytes:
    """The user's secret, made where there is none. Raises OSError."""
    key = find_key(path)
    if key is not None:
        return key
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(secrets.token_bytes(KEY_SIZE))
    # Of two that come first, one wins: what the other has sealed meanwhile is sealed again.
    new.replace(path)
    return path.read_bytes()
