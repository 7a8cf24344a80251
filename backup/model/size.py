"""Sizes as people write them."""

import re

from backup.model.errors import UsageError

_UNITS = "KMGT"


def parse_size(text: str, option: str) -> int:
    """Bytes: `1000`, `16M`, `16 MiB`, `1.5G`; units are powers of 1024. Raises `UsageError`."""
    match = re.fullmatch(
        rf"(\d{{1,15}}(?:\.\d{{1,9}})?)\s*([{_UNITS}]?)(?:i?B)?", text.strip(), re.IGNORECASE
    )
    if match is None:
        raise UsageError(f"{option} {text}: give a size such as 16M")
    unit = match[2].upper()
    return int(float(match[1]) * (1024 ** (_UNITS.index(unit) + 1) if unit else 1))
