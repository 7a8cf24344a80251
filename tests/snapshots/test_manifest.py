"""Manifests and the catalogue: a snapshot is what was written under its id, and the right one is chosen."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.model.errors import Damaged, ImbfsError, NotFound
from backup.model.ids import SnapshotId
from backup.model.selector import Selector, parse_selector
from backup.model.text import to_name
from backup.objects.hashing import HASH_NAMES, HashName, name_of
from backup.snapshots.catalogue import Catalogue, Filter, select
from backup.snapshots.manifest import (
    FORMAT,
    Body,
    Labels,
    Snapshot,
    Statistics,
    decode_manifest,
    encode_manifest,
    manifest_key,
)
from backup.storage import MemoryStorage
from tests.objects.samples import codec, damaged, name, never_but_our_own

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def new_body(**fields: Any) -> Body:
    plain: dict[str, Any] = {
        "format": FORMAT, "repository": "ab" * 16, "root": "cd" * 32, "time": NOW.isoformat(),
        "started_ns": 1, "host": "host", "user": "user", "top": "/home", "paths": ["/home"], "parent": None,
        "program": "imbfs 0",
        "statistics": Statistics(files=1, seconds=0.5),
    }  # fmt: skip
    return Body(**{**plain, **fields})


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
paths = st.binary(min_size=1, max_size=20).map(lambda path: b"/" + path)
bodies = st.builds(
    new_body,
    host=text,
    user=text,
    top=paths.map(to_name),
    paths=st.lists(paths.map(to_name), min_size=1, max_size=4),
    parent=st.one_of(st.none(), st.just("ef" * 32)),
    started_ns=st.integers(-(2**63), 2**63 - 1),
)
labels = st.builds(Labels, st.lists(text, max_size=3), text)


@codec
@given(bodies, labels, st.sampled_from(HASH_NAMES))
def test_a_manifest_gives_back_its_snapshot(body: Body, told: Labels, hash_name: HashName) -> None:
    snapshot_id, data = encode_manifest(body, told, name_of(hash_name))
    assert decode_manifest(data, snapshot_id, name_of(hash_name)) == Snapshot(snapshot_id, body, told)


@codec
@given(paths)
def test_paths_are_bytes_whatever_their_encoding(path: bytes) -> None:
    snapshot_id, data = encode_manifest(new_body(top=to_name(path), paths=[to_name(path)]), Labels(), name)
    snapshot = decode_manifest(data, snapshot_id, name)
    assert (snapshot.top, snapshot.paths) == (path, [path])


def test_a_path_that_is_not_utf_8_stands_in_base64() -> None:
    _, data = encode_manifest(new_body(top=to_name(b"/caf\xe9")), Labels(), name)
    assert json.loads(data.splitlines()[0])["top"] == {"b64": base64.b64encode(b"/caf\xe9").decode()}


@codec
@given(st.data(), bodies, labels)
def test_damage_to_a_manifest_is_always_found(data: st.DataObject, body: Body, told: Labels) -> None:
    snapshot_id, whole = encode_manifest(body, told, name)
    changed = data.draw(damaged(whole).filter(lambda changed: changed != whole))
    with pytest.raises(Damaged):
        decode_manifest(changed, snapshot_id, name)


def test_another_snapshots_manifest_is_damaged() -> None:
    _, data = encode_manifest(new_body(), Labels(), name)
    other, _ = encode_manifest(new_body(host="other"), Labels(), name)
    with pytest.raises(Damaged):
        decode_manifest(data, other, name)


def forged(fields: dict[str, Any], told: object = None) -> tuple[SnapshotId, bytes]:
    """A manifest that hashes to its name, with any fields."""
    body = json.dumps({**msgspec.to_builtins(new_body()), **fields}).encode()
    lines = body + b"\n" + json.dumps({} if told is None else told).encode() + b"\n"
    return SnapshotId(name(body).hex()), lines + name(lines).hex().encode() + b"\n"


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=5,
)


@codec
@given(st.sampled_from(Body.__struct_fields__), json_values, json_values)
def test_a_forged_manifest_ends_in_an_error_of_ours_or_in_a_snapshot_that_can_be_used(
    field: str, value: object, told: object
) -> None:
    storage = MemoryStorage()
    for fields, forged_labels in (({}, None), ({field: value}, None), ({}, told)):
        snapshot_id, data = forged(fields, forged_labels)
        storage.put(manifest_key(snapshot_id), data)

    def use() -> None:
        snapshots = Catalogue(storage, name).snapshots(Filter(paths=[b"/home"]), problem=lambda _: None)
        assert all(snapshot.top and snapshot.root for snapshot in snapshots)
        select(Selector("@", before=NOW), snapshots)

    never_but_our_own(use)


@pytest.mark.parametrize(
    "fields",
    [
        {"root": "cd" * 31},
        {"root": "xy" * 32},
        {"top": ""},
        {"paths": ["/a", ""]},
        {"top": {"b64": "!"}},
        {"time": "yesterday"},
        {"time": "2026-11-01T12:00:00"},
        {"statistics": 5},
    ],
    ids=str,
)
def test_a_body_that_cannot_be_is_damaged(fields: dict[str, Any]) -> None:
    snapshot_id, data = forged(fields)
    with pytest.raises(Damaged):
        decode_manifest(data, snapshot_id, name)


def test_a_newer_format_is_refused_by_its_number() -> None:
    snapshot_id, data = forged({"format": 2, "root": ["of another shape"]})
    with pytest.raises(ImbfsError, match="format 2"):
        decode_manifest(data, snapshot_id, name)


def test_further_fields_are_passed_over() -> None:
    snapshot_id, data = forged({"later": [1]}, {"tags": ["t"], "later": 2})
    assert decode_manifest(data, snapshot_id, name).labels == Labels(["t"])


def test_a_manifest_is_three_lines_of_which_the_first_names_it() -> None:
    snapshot_id, data = encode_manifest(new_body(), Labels(["tag"], "text"), name)
    body, told, check, rest = data.split(b"\n")
    assert name(body).hex() == snapshot_id
    assert (json.loads(told), rest) == ({"tags": ["tag"], "description": "text"}, b"")
    assert name(body + b"\n" + told + b"\n").hex().encode() == check


def test_changed_labels_leave_the_id_as_it_is() -> None:
    assert (
        encode_manifest(new_body(), Labels(), name)[0] == encode_manifest(new_body(), Labels(["t"]), name)[0]
    )


# The catalogue


def snapshots_at(*days: int, **fields: Any) -> list[Snapshot]:
    """A snapshot for each number of days ago, oldest first."""
    found = []
    for day in sorted(days, reverse=True):
        body = new_body(time=(NOW - timedelta(days=day)).isoformat(), host=f"host-{day}", **fields)
        told = Labels(["even"] if day % 2 == 0 else [])
        found.append(Snapshot(encode_manifest(body, told, name)[0], body, told))
    return found


def stored(snapshots: list[Snapshot]) -> MemoryStorage:
    storage = MemoryStorage()
    for snapshot in snapshots:
        key, data = encode_manifest(snapshot.body, snapshot.labels, name)
        storage.put(manifest_key(key), data)
    return storage


def nothing(text: str) -> None:
    pytest.fail(text)


def test_snapshots_are_listed_oldest_first_by_the_instant_and_not_by_the_text() -> None:
    early = new_body(time="2026-11-01T23:00:00+09:00", host="early")
    late = new_body(time="2026-11-01T15:00:00+00:00", host="late")
    found = [Snapshot(encode_manifest(body, Labels(), name)[0], body, Labels()) for body in (late, early)]
    listed = Catalogue(stored(found), name).snapshots(problem=nothing)
    assert [snapshot.body.host for snapshot in listed] == ["early", "late"]


def test_a_damaged_manifest_is_told_and_the_others_are_listed() -> None:
    whole = snapshots_at(1, 2, 3)
    storage = stored(whole)
    storage.files[manifest_key(whole[1].id)] = b"{}"
    told: list[str] = []
    listed = Catalogue(storage, name).snapshots(problem=told.append)
    assert listed == [whole[0], whole[2]]
    assert len(told) == 1
    assert whole[1].id[:12] in told[0]


def test_labels_that_were_changed_are_seen() -> None:
    (snapshot,) = snapshots_at(1)
    storage = stored([snapshot])
    catalogue = Catalogue(storage, name)
    assert catalogue.read(snapshot.id).labels.tags == []
    storage.put(manifest_key(snapshot.id), encode_manifest(snapshot.body, Labels(["new"]), name)[1])
    assert catalogue.read(snapshot.id).labels.tags == ["new"]


def test_a_filter_takes_what_fits_in_host_paths_and_tags() -> None:
    found = snapshots_at(1, 2)
    assert [bool(Filter(host="host-2")(snapshot)) for snapshot in found] == [True, False]
    assert [bool(Filter(tags=["even", "other"])(snapshot)) for snapshot in found] == [True, False]
    assert [bool(Filter(paths=[b"/home", b"/else"])(snapshot)) for snapshot in found] == [True, True]
    assert not Filter(paths=[b"/else"])(found[0])


DAYS = [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("selector", "days"),
    [("latest", 1), ("latest~1", 2), ("latest~3", 4), ("tag:even", 2), ("@3 days ago", 3), ("@2026-10-29", 3),
     ("@2026-10-30T12:00:00+00:00", 2), ("@2026-10-30T11:59:59+00:00", 3), ("@now", 1)],
)  # fmt: skip
def test_a_selector_means_one_snapshot(selector: str, days: int) -> None:
    found = select(parse_selector(selector, NOW), snapshots_at(*DAYS))
    assert found.body.host == f"host-{days}"


@pytest.mark.parametrize("selector", ["latest~4", "tag:none", "@5 days ago", "0" * 64])
def test_a_selector_that_means_none_says_which_there_are(selector: str) -> None:
    with pytest.raises(NotFound) as caught:
        select(parse_selector(selector, NOW), snapshots_at(*DAYS))
    assert snapshots_at(1)[0].id[:12] in str(caught.value)


def test_of_no_snapshots_none_is_meant() -> None:
    for selector in ("latest", "tag:x", "@now", "ab"):
        with pytest.raises(NotFound, match="no snapshot"):
            select(parse_selector(selector, NOW), [])


def test_an_id_is_found_by_any_prefix_that_only_it_has() -> None:
    found = snapshots_at(*range(40))
    for snapshot in found:
        assert select(parse_selector(snapshot.id, NOW), found) is snapshot
        assert select(parse_selector(snapshot.id[:12], NOW), found) is snapshot
    digits = [snapshot.id[0] for snapshot in found]
    shared = next(digit for digit in digits if digits.count(digit) > 1)
    with pytest.raises(NotFound, match="more than one"):
        select(parse_selector(shared, NOW), found)
