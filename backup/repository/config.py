"""What is fixed when a repository is made. `docs/format.md`, "config.json"."""

import secrets

import msgspec

from backup.model.errors import Damaged, ImbfsError
from backup.objects.block import CompressionSettings
from backup.objects.chunker import ChunkerSettings
from backup.objects.hashing import HASH_NAMES, HashName, name_of

KEY = "config.json"
FORMAT = 1
MIB = 1 << 20
PACK_SIZE = 16 * MIB
#: Offsets in a pack have 32 bits, and the last block may be as large as a block can be.
MIN_PACK_SIZE, MAX_PACK_SIZE = MIB, 2048 * MIB


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes in bytes. `id` is 32 random hex digits."""

    format: int = FORMAT
    id: str = ""
    hash: HashName = "blake3"
    compression: CompressionSettings = CompressionSettings()
    chunker: ChunkerSettings = ChunkerSettings()
    pack_size: int = PACK_SIZE


def new_config(hash_name: HashName, compression: CompressionSettings, pack_size: int) -> Config:
    return Config(id=secrets.token_hex(16), hash=hash_name, compression=compression, pack_size=pack_size)


def encode_config(config: Config) -> bytes:
    """Two lines: the settings as JSON, and their hash."""
    body = msgspec.json.encode(config)
    return body + b"\n" + name_of(config.hash)(body).hex().encode() + b"\n"


def decode_config(data: bytes) -> Config:
    """Raises `Damaged`; or `ImbfsError` where a newer imbfs wrote it."""
    lines = data.split(b"\n")
    if len(lines) != 3 or lines[2]:
        raise Damaged("config.json is damaged: it does not have two lines")
    body, check, _ = lines
    if check.decode("latin-1") not in {name_of(name)(body).hex() for name in HASH_NAMES}:
        raise Damaged("config.json is damaged: it does not hash to what its second line says")
    try:
        version = msgspec.json.decode(body, type=_Version).format
        if version != FORMAT:
            raise ImbfsError(
                f"the repository has format {version}, and this imbfs knows format {FORMAT}:"
                " install a newer imbfs"
            )
        return msgspec.json.decode(body, type=Config)
    except msgspec.MsgspecError as error:
        raise Damaged(f"config.json is damaged: {error}") from error


class _Version(msgspec.Struct):
    format: int
