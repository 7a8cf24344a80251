"""What sets of objects take, and how that is divided among snapshots. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate


@dataclass(slots=True)
class Amount:
    """Objects, their plain bytes, and the bytes that they take in packs: each its part of its block."""

    objects: int = 0
    plain: int = 0
    stored: float = 0.0

    def add(self, plain: int, stored: float) -> None:
        self.objects += 1
        self.plain += plain
        self.stored += stored

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.objects + other.objects, self.plain + other.plain, self.stored + other.stored)


@dataclass(frozen=True)
class Divided:
    """What one snapshot reaches, in all; what it alone reaches; and what none before it reaches.

    `share` divides the stored bytes of each object evenly among the snapshots that reach it: the shares of
    all snapshots add up to all that is reached.
    """

    reached: Amount
    unique: Amount
    new: Amount
    share: float


def total(amounts: Iterator[Amount]) -> Amount:
    found = Amount()
    for amount in amounts:
        found += amount
    return found


def divide(count: int, amounts: Mapping[int, Amount]) -> list[Divided]:
    """For each of `count` snapshots, given what each set of snapshots (a number, a bit each) reaches."""
    # Most sets are a run of neighbours: a run costs its two ends, however long it is.
    steps = [[0.0] * (count + 1) for _ in range(4)]
    unique = [Amount() for _ in range(count)]
    new = [Amount() for _ in range(count)]
    for snapshots, amount in amounts.items():
        first = (snapshots & -snapshots).bit_length() - 1
        new[first] += amount
        number = snapshots.bit_count()
        if number == 1:
            unique[first] += amount
        values = (amount.objects, amount.plain, amount.stored, amount.stored / number)
        for start, end in runs(snapshots):
            for step, value in zip(steps, values, strict=True):
                step[start] += value
                step[end] -= value
    columns = zip(*(list(accumulate(step))[:count] for step in steps), strict=True)
    return [
        Divided(Amount(round(objects), round(plain), stored), unique[number], new[number], share)
        for number, (objects, plain, stored, share) in enumerate(columns)
    ]


def runs(bits: int) -> Iterator[tuple[int, int]]:
    """Where each run of ones begins, and the place after its end."""
    at = 0
    while bits:
        zeros = (bits & -bits).bit_length() - 1
        bits >>= zeros
        ones = (~bits & bits + 1).bit_length() - 1
        bits >>= ones
        yield at + zeros, at + zeros + ones
        at += zeros + ones


def by_references(amounts: Mapping[int, Amount]) -> dict[int, Amount]:
    """What is reached by exactly so many snapshots, fewest first."""
    found: dict[int, Amount] = {}
    for snapshots, amount in amounts.items():
        number = snapshots.bit_count()
        found[number] = found.get(number, Amount()) + amount
    return dict(sorted(found.items()))
