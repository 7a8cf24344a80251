"""The index against the segments: what do they tell that it does not?"""

from collections.abc import Callable, Iterable

from backup.index import Index
from backup.model.ids import ObjectId
from backup.objects.pack import PackRecord, Place, places


def compare_index(
    index: Index, listed: Callable[[], Iterable[PackRecord]]
) -> tuple[dict[ObjectId, list[Place]], str]:
    """The places that the listed packs tell and the index does not, and in a few words what is wrong with it.

    An object may be in several packs, and the index gives one of its places. Wrong is a place that no listed
    pack tells, and none where there is one: then the text is not empty, and the places may not be all.
    """
    others: dict[ObjectId, list[Place]] = {}
    for pack in listed():
        told = dict(places(pack))
        found = index.places(told)
        lacking = len(told) - len(found)
        if lacking:
            return others, f"it lacks {lacking} objects of pack {pack.id.hex()[:12]}"
        for name, place in told.items():
            if found[name] != place:
                others.setdefault(name, []).append(place)
    wrong = _unconfirmed(index, others, listed)
    return others, f"{wrong} objects are not where it says" if wrong else ""


def _unconfirmed(
    index: Index, others: dict[ObjectId, list[Place]], listed: Callable[[], Iterable[PackRecord]]
) -> int:
    """Of how many of the objects no pack tells the place that the index gives."""
    doubtful = set(others)
    for pack in listed() if doubtful else ():
        told = {name: place for name, place in places(pack) if name in doubtful}
        doubtful -= {name for name, place in index.places(told).items() if told[name] == place}
    return len(doubtful)
