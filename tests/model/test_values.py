"""Names as JSON has them, and what an entry tells of itself."""

import json
import stat

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.entry import Entry
from backup.model.text import Encoded, Name, to_bytes, to_name
from tests.objects.samples import codec


@codec
@given(st.binary())
def test_any_bytes_survive_json(data: bytes) -> None:
    encoded = msgspec.json.encode(to_name(data))
    assert to_bytes(msgspec.json.decode(encoded, type=Name)) == data


@codec
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_utf_8_stays_readable(text: str) -> None:
    assert to_name(text.encode()) == text


@pytest.mark.parametrize("data", [b"caf\xe9", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_what_is_not_utf_8_is_in_base64(data: bytes) -> None:
    assert json.loads(msgspec.json.encode(to_name(data))).keys() == {"b64"}


@pytest.mark.parametrize("text", ["!", "YQ", "YQ==\n", "Y Q=="])
def test_base64_that_is_none_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        to_bytes(Encoded(text))


def entry(mode: int, nlink: int = 1) -> Entry:
    return Entry(b"name", mode, 0, 0, nlink, 0, 0, 0, 7, 0, 3, 0, "", "", None, b"", (), ())


def test_only_a_file_with_several_names_is_in_a_group_of_links() -> None:
    assert entry(stat.S_IFREG | 0o644).link_group is None
    assert entry(stat.S_IFREG | 0o644, 2).link_group == entry(stat.S_IFREG, 2).link_group == (3, 7)
    assert entry(stat.S_IFDIR | 0o755, 2).link_group is None


def test_every_kind_has_its_word() -> None:
    formats = [
        stat.S_IFREG,
        stat.S_IFDIR,
        stat.S_IFLNK,
        stat.S_IFIFO,
        stat.S_IFSOCK,
        stat.S_IFBLK,
        stat.S_IFCHR,
    ]
    words = [entry(number | 0o7777).kind for number in formats]
    assert words == ["file", "dir", "symlink", "fifo", "socket", "block", "char"]
