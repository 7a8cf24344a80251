"""No pattern takes exponential time, and a quick expression fits what the plain one fits."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup.source.gitignore import Nonsense, _translate, parse_lines, parse_pattern


@pytest.mark.parametrize(
    "text",
    [
        "*" * 49 + "]",
        "*a" * 24 + "b",
        "*?" * 24 + "b",
        "**/a/" * 24 + "b",
        "**/*a*" * 12 + "/b",
        "[!b]*" * 24 + "b",
    ],
)
def test_no_pattern_takes_long(text: str) -> None:
    pattern = re.compile(parse_pattern(text, "test").regex, re.DOTALL)
    started = time.process_time()
    for name in ("a" * 60, "a/" * 60 + "a", "a" * 255):
        assert pattern.fullmatch(name) is None
    assert time.process_time() - started < 2


def test_a_line_of_spaces_takes_no_long_time() -> None:
    started = time.process_time()
    assert parse_lines(b" " * 200_000 + b"a", "test", lambda text: None)
    assert time.process_time() - started < 2


texts = st.lists(
    st.sampled_from(["a", "b", "*", "**", "**/", "/", "?", "[ab]", "[!a]", "\\*", ".", "a/"]), max_size=8
).map("".join)
paths = st.lists(st.sampled_from(["a", "b", "ab", "a.b", "*", "ba", "aab"]), min_size=1, max_size=5)


@settings(max_examples=1500, deadline=None)
@given(texts, paths.map("/".join))
def test_a_quick_expression_fits_what_the_plain_one_fits(text: str, path: str) -> None:
    try:
        quick = parse_pattern(text, "test")
    except Nonsense:
        return
    body = text[quick.negative :].removesuffix("/").removeprefix("/")
    plain = "".join(_translate(body))
    assert bool(re.fullmatch(quick.regex, path, re.DOTALL)) == bool(re.fullmatch(plain, path, re.DOTALL))
