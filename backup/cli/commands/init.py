"""imbfs init"""

import argparse
import re

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.output import show, show_json
from backup.model.errors import UsageError
from backup.model.size import parse_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hash", choices=("blake3", "sha256"), default="blake3", help="what names objects (blake3)"
    )
    parser.add_argument(
        "--compression", metavar="none|zstd[:LEVEL]", default="zstd:3", help="how blocks are stored (zstd:3)"
    )
    parser.add_argument(
        "--pack-size", metavar="N", default="16M", help="size of the files that data is kept in (16M)"
    )
    parser.add_argument(
        "--parity", metavar="PERCENT", default="0%", help="what is added to mend rotten bytes (0%%: nothing)"
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.objects.block import CompressionSettings
    from backup.objects.parity import require_library
    from backup.repository import Repository
    from backup.repository.config import MAX_PACK_SIZE, MIN_PACK_SIZE, new_config

    name, level = _compression(arguments.compression)
    pack_size = parse_size(arguments.pack_size, "--pack-size")
    if not MIN_PACK_SIZE <= pack_size <= MAX_PACK_SIZE:
        raise UsageError(f"--pack-size {arguments.pack_size}: give a size from 1M to 2048M")
    parity = _percent(arguments.parity)
    if parity:
        require_library()
    config = new_config(arguments.hash, CompressionSettings(name, level), pack_size, parity)
    Repository.create(context.repository_path, config)
    if context.json:
        show_json({"repository": str(context.repository_path), "id": config.id})
    else:
        show(f"made an empty repository at {context.repository_path}")
    return exits.DONE


def _percent(text: str) -> int:
    match = re.fullmatch(r"(\d{1,3})%?", text)
    if match is None or int(match[1]) > 100:
        raise UsageError(f"--parity {text}: give a whole number of percent, from 0% to 100%")
    return int(match[1])


def _compression(text: str) -> tuple[str, int]:
    if text == "none":
        return "none", 0
    match = re.fullmatch(r"zstd(?::(-?\d{1,2}))?", text)
    if match is None or not -7 <= (level := int(match[1] or 3)) <= 19 or level == 0:
        raise UsageError(f"--compression {text}: give none, zstd, or zstd:LEVEL with a level from -7 to 19")
    return "zstd", level
