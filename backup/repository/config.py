"""What is fixed when a repository is made. `docs/format.md`, "config.json"."""

import re
import secrets

import msgspec

from backup.model.errors import Damaged, ImbfsError
from backup.objects.block import CompressionSettings
from backup.objects.chunker import ChunkerSettings
from backup.objects.hashing import HashName, name_of
from backup.objects.parity import MAX_PERCENT

KEY = "config.json"
FORMAT = 1
MIB = 1 << 20
PACK_SIZE = 16 * MIB
#: Offsets in a pack have 32 bits, and the last block may be as large as a block can be.
MIN_PACK_SIZE, MAX_PACK_SIZE = MIB, 2048 * MIB


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes in bytes, `parity` in percent. `id` is 32 random hex digits; `check` the hash of all the rest."""

    format: int = FORMAT
    id: str = ""
    hash: HashName = "blake3"
    compression: CompressionSettings = CompressionSettings()
    chunker: ChunkerSettings = ChunkerSettings()
    pack_size: int = PACK_SIZE
    parity: int = 0
    check: str = ""


def new_config(
    hash_name: HashName, compression: CompressionSettings, pack_size: int, parity: int = 0
) -> Config:
    return Config(
        id=secrets.token_hex(16),
        hash=hash_name,
        compression=compression,
        pack_size=pack_size,
        parity=parity,
    )


def encode_config(config: Config) -> bytes:
    """One JSON object, that ends in the hash of itself without that hash."""
    return msgspec.json.encode(msgspec.structs.replace(config, check=_check(config))) + b"\n"


def _check(config: Config) -> str:
    plain = msgspec.json.encode(msgspec.structs.replace(config, check=""))
    return name_of(config.hash)(plain).hex()


def decode_config(data: bytes) -> Config:
    """Raises `Damaged`; or `ImbfsError` where a newer imbfs wrote it."""
    try:
        version = msgspec.json.decode(data, type=_Version).format
        if version != FORMAT:
            raise ImbfsError(
                f"the repository has format {version}, and this imbfs knows format {FORMAT}:"
                " install a newer imbfs"
            )
        config = msgspec.json.decode(data, type=Config)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged(f"config.json is damaged: {error}") from error
    if config.check != _check(config):
        raise Damaged("config.json is damaged: it does not hash to what its last field says")
    _require_possible(config)
    return config


def _require_possible(config: Config) -> None:
    """Whoever can write a repository can write a hash that fits: values are checked as well."""
    chunker = config.chunker
    if not (
        re.fullmatch(r"[0-9a-f]{32}", config.id)
        and MIN_PACK_SIZE <= config.pack_size <= MAX_PACK_SIZE
        and 0 <= config.parity <= MAX_PERCENT
        and config.compression.name in ("none", "zstd")
        and -7 <= config.compression.level <= 19
        and chunker.name == "fastcdc-2020"
        and 1 <= chunker.single <= 16 * MIB
        and 64 <= chunker.minimum <= chunker.average <= chunker.maximum <= 16 * MIB
        and chunker.minimum <= MIB
        and chunker.average <= 4 * MIB
        and 0 <= chunker.normalization <= 3
    ):
        raise Damaged("config.json holds a value that no imbfs writes")


class _Version(msgspec.Struct):
    format: int
