"""The names of all objects, as prune keeps them."""

from hypothesis import given
from hypothesis import strategies as st

from backup.model.ids import ID_SIZE, ObjectId
from backup.ops.pruning.names import Names

#: Many share their first bytes, as what someone made up may.
names = st.builds(
    lambda head, tail: ObjectId(head + bytes(ID_SIZE - len(head) - len(tail)) + tail),
    st.binary(max_size=4),
    st.sampled_from([b"", b"\x00", b"\x01", b"\xff\xff", b"\x01" * 28]),
)


@given(st.lists(st.lists(names)), names)
def test_a_name_has_the_number_of_its_place_among_the_distinct_ones_in_order(
    pieces: list[list[ObjectId]], other: ObjectId
) -> None:
    found = Names(b"".join(piece) for piece in pieces)
    ordered = sorted({name for piece in pieces for name in piece})
    assert [found[number] for number in range(len(found))] == ordered
    assert [found.number(name) for name in ordered] == list(range(len(ordered)))
    assert found.number(other) == (ordered.index(other) if other in ordered else -1)
