"""What stands in a repository and is no part of it: worth knowing, and no damage."""

import re
from collections.abc import Iterator

from backup.objects.segment import PREFIX as SEGMENTS
from backup.repository import Repository
from backup.repository.layout import QUARANTINE
from backup.snapshots.manifest import PREFIX as SNAPSHOTS

#: Named one by one up to here.
MAX_NAMED = 5
_SHAPES = {
    "packs": r"packs/([0-9a-f]{2})/\1[0-9a-f]{62}",
    SEGMENTS: rf"{SEGMENTS}/[0-9a-f]{{64}}",
    SNAPSHOTS: rf"{SNAPSHOTS}/[0-9a-f]{{64}}",
}


def find_leftovers(repository: Repository) -> Iterator[str]:
    """A sentence for each kind of thing that was found."""
    unknown = [
        key
        for part, shape in _SHAPES.items()
        for key, _ in repository.storage.list(part)
        if not re.fullmatch(shape, key)
    ]
    if unknown:
        more = f" and {len(unknown) - MAX_NAMED} more" if len(unknown) > MAX_NAMED else ""
        yield f"not written by imbfs, and left alone: {', '.join(unknown[:MAX_NAMED])}{more}"
    for place, text in (
        (repository.storage.staging, "left by commands that were killed, or being written by others"),
        (QUARANTINE, "moved aside by a repair: `imbfs repair --discard` deletes them"),
    ):
        sizes = [size for _, size in repository.storage.list(place)]
        if sizes:
            yield f"{len(sizes):,} files of {sum(sizes):,} bytes in {place}/, {text}"
