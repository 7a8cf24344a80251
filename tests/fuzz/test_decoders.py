"""No decoder ends in anything but an error of ours: on what hypothesis makes, and on the kept corpus."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup.model.errors import ImbfsError
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).resolve().parent.parent / "corpus"

#: What lengths, counts and offsets are made of when they mean harm.
EXTREMES = [b"\0", b"\xff", b"\x7f", b"\xff" * 4, b"\xff" * 8, b"\0\0\0\x80", bytes(7) + b"\x80", bytes(8)]

targets = pytest.mark.parametrize("target", TARGETS)


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    """The driver logs what a view does wrong."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@st.composite
def nearly(draw: st.DrawFn, target: str) -> bytes:
    """A sound input with some pieces changed, cut out, doubled or put in."""
    data = draw(st.sampled_from(seeds()[target]))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 16)))
        piece = draw(st.sampled_from([*EXTREMES, b"", data[start:end] * 2]) | st.binary(max_size=8))
        data = data[:start] + piece + data[end:]
    return data


def meets(target: str, data: bytes) -> None:
    with contextlib.suppress(ImbfsError):
        TARGETS[target](data)


@targets
def test_what_the_encoders_make_decodes(target: str) -> None:
    for data in seeds()[target]:
        TARGETS[target](data)


@targets
def test_bytes_near_a_sound_input_end_in_our_errors_only(target: str) -> None:
    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(nearly(target) | st.binary(max_size=200))
    def check(data: bytes) -> None:
        meets(target, data)

    check()


@targets
def test_what_was_found_before_ends_in_our_errors_only(target: str) -> None:
    for path in sorted((CORPUS / target).glob("*")):
        meets(target, path.read_bytes())
