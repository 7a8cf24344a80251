"""How stored bytes are divided among snapshots: compared with counting one by one."""

import math

from hypothesis import given
from hypothesis import strategies as st

from backup.ops.measuring.amounts import Amount, by_references, divide, runs, total
from tests.objects.samples import codec

SNAPSHOTS = 9
#: By set of snapshots: some objects with their plain and stored bytes.
OBJECTS = st.dictionaries(
    st.integers(1, (1 << SNAPSHOTS) - 1),
    st.lists(st.tuples(st.integers(1, 1 << 20), st.floats(0.1, 1e6)), min_size=1, max_size=4),
    max_size=20,
)


def amounts_of(objects: dict[int, list[tuple[int, float]]]) -> dict[int, Amount]:
    found: dict[int, Amount] = {}
    for snapshots, each in objects.items():
        for plain, stored in each:
            found.setdefault(snapshots, Amount()).add(plain, stored)
    return found


def close(one: Amount, other: Amount) -> bool:
    return one.objects == other.objects and one.plain == other.plain and near(one.stored, other.stored)


def near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-3)


@codec
@given(OBJECTS)
def test_shares_add_up_to_all_that_is_reached(objects: dict[int, list[tuple[int, float]]]) -> None:
    amounts = amounts_of(objects)
    divided = divide(SNAPSHOTS, amounts)
    everything = total(iter(amounts.values()))
    assert near(sum(each.share for each in divided), everything.stored)
    assert close(total(each.new for each in divided), everything)
    assert close(total(iter(by_references(amounts).values())), everything)


@codec
@given(OBJECTS)
def test_each_snapshots_figures_are_those_of_counting_one_by_one(
    objects: dict[int, list[tuple[int, float]]],
) -> None:
    amounts = amounts_of(objects)
    for number, found in enumerate(divide(SNAPSHOTS, amounts)):
        mine = {each: amount for each, amount in amounts.items() if each >> number & 1}
        assert close(found.reached, total(iter(mine.values())))
        assert close(found.unique, total(a for each, a in mine.items() if each == 1 << number))
        assert close(found.new, total(a for each, a in mine.items() if not each % (1 << number)))
        assert near(found.share, sum(a.stored / each.bit_count() for each, a in mine.items()))


@codec
@given(st.integers(0, 1 << 70))
def test_runs_of_ones_are_the_number(bits: int) -> None:
    assert sum((1 << end) - (1 << start) for start, end in runs(bits)) == bits
    ends = [place for run in runs(bits) for place in run]
    assert ends == sorted(set(ends))
