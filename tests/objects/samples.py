"""What the property tests share: damage to bytes, and settings that suit codecs."""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st

from backup.model.errors import ImbfsError
from backup.model.ids import ObjectId
from backup.objects.block import CompressionSettings
from backup.objects.hashing import name_of

#: A loaded machine is no failure.
codec = settings(deadline=None, max_examples=40)
few = settings(deadline=None, max_examples=15)

name = name_of("blake3")
compressions = st.sampled_from(
    [CompressionSettings(), CompressionSettings("zstd", 1), CompressionSettings("none", 0)]
)
names = st.binary(min_size=32, max_size=32).map(ObjectId)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes cut short, with some replaced, or with some more: never the same."""
    kind = draw(st.sampled_from(["cut", "replace", "insert", "remove"]))
    at = draw(st.integers(0, max(0, len(data) - 1)))
    if kind == "cut":
        return data[:at]
    if kind == "insert":
        return data[:at] + draw(st.binary(min_size=1, max_size=9)) + data[at:]
    if kind == "remove":
        return data[:at] + data[at + draw(st.integers(1, 9)) :]
    new = draw(st.binary(min_size=1, max_size=9).filter(lambda new: new != data[at : at + len(new)]))
    return data[:at] + new + data[at + len(new) :]


def never_but_our_own(action: Callable[[], object]) -> object:
    """What the action gives, or None where it ends in an error of ours. Any other error fails the test."""
    try:
        return action()
    except ImbfsError:
        return None
