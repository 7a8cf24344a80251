"""config.json: what was fixed comes back, and anything else is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.errors import Damaged, ImbfsError, NoRepository
from backup.objects.block import CompressionSettings
from backup.objects.chunker import ChunkerSettings
from backup.objects.hashing import HASH_NAMES, name_of
from backup.repository import Config, Repository
from backup.repository.config import MAX_PACK_SIZE, MIN_PACK_SIZE, decode_config, encode_config, new_config
from backup.repository.layout import read_config
from tests.objects.samples import codec, compressions, damaged, never_but_our_own

ID = "0123456789abcdef" * 2
configs = st.builds(
    Config,
    id=st.just(ID),
    hash=st.sampled_from(HASH_NAMES),
    compression=compressions,
    chunker=st.builds(ChunkerSettings, single=st.integers(1, 16 << 20)),
    pack_size=st.integers(MIN_PACK_SIZE, MAX_PACK_SIZE),
)


def same_but_check(a: Config, b: Config) -> bool:
    return encode_config(a) == encode_config(b)


@codec
@given(configs)
def test_a_config_comes_back(config: Config) -> None:
    assert same_but_check(decode_config(encode_config(config)), config)


@codec
@given(st.data(), configs)
def test_a_damaged_config_is_refused_or_says_the_same(data: st.DataObject, config: Config) -> None:
    changed = data.draw(damaged(encode_config(config)))
    found = never_but_our_own(lambda: decode_config(changed))
    assert found is None or (isinstance(found, Config) and same_but_check(found, config))


def test_the_check_is_the_hash_of_the_object_with_an_empty_check() -> None:
    for hash_name in HASH_NAMES:
        data = encode_config(new_config(hash_name, CompressionSettings(), MIN_PACK_SIZE))
        check = json.loads(data)["check"]
        assert data.endswith(b'"}\n')
        plain = data[: -len(check) - 3] + b'"}'
        assert name_of(hash_name)(plain).hex() == check


def forged(**fields: Any) -> bytes:
    """A config that hashes to its check, with any fields."""
    plain = json.loads(encode_config(Config(id=ID)))
    told = json.dumps({**plain, **fields, "check": ""}, separators=(",", ":")).encode()
    return told.replace(b'"check":""', b'"check":"' + name_of("blake3")(told).hex().encode() + b'"')


def test_a_forged_config_of_sound_fields_is_one() -> None:
    assert decode_config(forged()).id == ID


@pytest.mark.parametrize(
    "fields",
    [
        {"id": ""},
        {"id": "../../../somewhere"},
        {"id": "A" * 32},
        {"hash": "md5"},
        {"pack_size": 0},
        {"pack_size": MAX_PACK_SIZE + 1},
        {"compression": {"name": "lz4", "level": 3}},
        {"compression": {"name": "zstd", "level": 1000}},
        {"chunker": {"name": "other"}},
    ],
    ids=str,
)
def test_a_config_that_this_imbfs_cannot_work_with_is_refused(fields: dict[str, Any]) -> None:
    """The id becomes a part of a path; an unknown way to store must not be taken for a known one."""
    with pytest.raises(ImbfsError):
        decode_config(forged(**fields))


def test_another_format_is_refused_by_its_number_whatever_else_it_holds() -> None:
    for data in (forged(format=2), b'{"format":2,"id":["of another shape"]}\n'):
        with pytest.raises(ImbfsError, match="format 2"):
            decode_config(data)


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"{}", b"[]", b"null\n", b"\xff\xfe", b'{"format":"1"}', b"[" * 5000]
)
def test_what_is_no_config_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged):
        decode_config(data)


# Repositories


def test_an_empty_repository_is_recognisable_even_without_its_config(tmp_path: Path) -> None:
    Repository.create(tmp_path / "new", Config(id=ID))
    assert read_config(tmp_path / "new").id == ID
    (tmp_path / "new" / "config.json").unlink()
    with pytest.raises(Damaged, match="is missing"):
        read_config(tmp_path / "new")


def test_nothing_is_made_where_something_stands(tmp_path: Path) -> None:
    Repository.create(tmp_path / "new", Config(id=ID))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "file").touch()
    for taken in ("new", "full", "file"):
        with pytest.raises(ImbfsError):
            Repository.create(tmp_path / taken, Config(id="cd" * 16))
    assert read_config(tmp_path / "new").id == ID


def test_what_is_no_repository_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory" / "config.json").mkdir(parents=True)
    for path in ("missing", "file", "file/below", "directory", "."):
        with pytest.raises(NoRepository):
            read_config(tmp_path / path)


def test_a_repository_is_for_its_owner_alone(tmp_path: Path) -> None:
    Repository.create(tmp_path / "new", Config(id=ID))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()}
    directories = dict.fromkeys(("packs", "index", "snapshots", "tmp"), 0o700)
    assert modes == {"config.json": 0o400, "reserve": 0o400, **directories}
