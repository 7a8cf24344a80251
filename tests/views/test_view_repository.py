"""The whole repository: every snapshot by id, time, host, tag and path, and its increment."""

import errno
import os
import stat
import time
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from backup.views.open import open_repository
from backup.views.repository import NAMES
from backup.views.snapshot import Options
from tests.views.clocked import Clocked
from tests.views.grow import change, grow
from tests.views.kept import START, Kept, TreesRead
from tests.views.shown import Shown

TOP = ["by-host", "by-path", "by-tag", "by-time", "increments", "snapshots", "versions"]
NOON = "2026-11-20T12:00:00+01:00"
NOON_NAME = "2026-11-20T12.00.00+0100"


@pytest.fixture
def tree(source: Path) -> Path:
    return grow(source, {"file": b"first\n", "sub": {"inner": b"inner\n"}})


def test_an_empty_repository_has_all_its_directories_and_no_latest(kept: Kept) -> None:
    found = Clocked(kept)
    assert found.ls() == TOP
    assert [found.ls(name) for name in TOP] == [[]] * len(TOP)


def test_latest_leads_to_the_newest_snapshot(kept: Kept, tree: Path) -> None:
    kept.backup(tree)
    change(tree / "file", b"second\n")
    newest = kept.backup(tree)
    found = Clocked(kept)
    assert found.ls() == [*TOP[:5], "latest", *TOP[5:]]
    assert found.target("latest") == f"snapshots/{newest.id}"
    assert found.data(found.target("latest") + "/file") == b"second\n"


def test_every_snapshot_is_there_by_its_id(kept: Kept, tree: Path) -> None:
    first = kept.backup(tree)
    change(tree / "file", b"second\n")
    second = kept.backup(tree)
    found = Clocked(kept)
    assert found.ls("snapshots") == sorted([first.id, second.id])
    assert found.data(f"snapshots/{first.id}/file") == b"first\n"
    assert found.data(f"snapshots/{second.id}/file") == b"second\n"


def test_names_by_time_have_the_zone_and_no_colon(kept: Kept, tree: Path) -> None:
    kept.backup(tree, time=NOON)
    kept.backup(tree, time="2026-11-20T12:00:00-03:30")
    kept.backup(tree, time="2026-06-01T00:00:00+00:00")
    assert Clocked(kept).ls("by-time") == [
        "2026-06-01T00.00.00+0000",
        NOON_NAME,
        "2026-11-20T12.00.00-0330",
    ]


def test_two_snapshots_of_one_second_never_share_a_name(kept: Kept, tree: Path) -> None:
    snapshots = []
    for number in range(3):
        change(tree / "file", b"%d" % number)
        snapshots.append(kept.backup(tree, time=f"2026-11-20T12:00:00.{number}+01:00"))
    found = Clocked(kept)
    names = found.ls("by-time")
    assert names[0] == NOON_NAME
    assert [found.data(f"by-time/{name}/file") for name in names[:1]] == [b"0"]
    assert {found.data(f"by-time/{name}/file") for name in names} == {b"0", b"1", b"2"}


def test_a_name_that_passes_to_another_snapshot_shows_that_one(kept: Kept, tree: Path) -> None:
    """Forgetting the first of two snapshots of one second gives its name to the second."""
    first = kept.backup(tree, time=NOON)
    change(tree / "file", b"second\n")
    kept.backup(tree, time=NOON.replace("+", ".5+"))
    found = Clocked(kept)
    number = found.ino(f"by-time/{NOON_NAME}")
    assert found.data(f"by-time/{NOON_NAME}/file") == b"first\n"
    kept.forget(first)
    found.later()
    assert found.data(f"by-time/{NOON_NAME}/file") == b"second\n"
    assert found.ino(f"by-time/{NOON_NAME}") != number
    with pytest.raises(OSError):
        found.view.attributes(number)


def test_a_snapshot_made_for_an_earlier_time_leaves_no_name_with_another_content(
    kept: Kept, tree: Path
) -> None:
    kept.backup(tree, time=NOON.replace("+", ".5+"))
    found = Clocked(kept)
    assert found.data(f"by-time/{NOON_NAME}/file") == b"first\n"
    change(tree / "file", b"second\n")
    kept.backup(tree, time=NOON)
    found.later()
    shown = {found.data(f"by-time/{name}/file") for name in found.ls("by-time")}
    assert shown == {b"first\n", b"second\n"}


def test_snapshots_are_grouped_by_host(kept: Kept, tree: Path) -> None:
    kept.backup(tree, host="one")
    kept.backup(tree, host="two")
    kept.backup(tree, host="one")
    found = Clocked(kept)
    assert found.ls("by-host") == ["one", "two"]
    assert found.ls("by-host/one") == ["2026-11-20T12.00.00+0100", "2026-11-20T12.02.00+0100"]
    assert found.ls("by-host/two") == ["2026-11-20T12.01.00+0100"]
    assert found.data("by-host/two/2026-11-20T12.01.00+0100/file") == b"first\n"


def test_a_snapshot_is_with_each_of_its_tags(kept: Kept, tree: Path) -> None:
    kept.backup(tree, tags=("daily", "before the move"))
    kept.backup(tree, tags=("daily",))
    kept.backup(tree)
    found = Clocked(kept)
    assert found.ls("by-tag") == ["before the move", "daily"]
    assert len(found.ls("by-tag/daily")) == 2
    assert found.ls("by-tag/before the move") == [NOON_NAME]


ODD_TAGS = {
    "a/b": "a%2Fb",
    "..": "%2E%2E",
    ".": "%2E",
    "100%": "100%25",
    "a%2Fb": "a%252Fb",
    "two\nlines": "two\nlines",
    "-dash": "-dash",
    "ümlaut 🐎": "ümlaut 🐎",
    "...": "...",
    " ": " ",
}


def test_odd_tags_are_names_that_a_directory_can_have(kept: Kept, tree: Path) -> None:
    kept.backup(tree, tags=tuple(ODD_TAGS))
    found = Clocked(kept)
    assert found.ls("by-tag") == sorted(ODD_TAGS.values())
    for name in ODD_TAGS.values():
        assert found.data(f"by-tag/{name}/{NOON_NAME}/file") == b"first\n"


def test_very_long_tags_are_shortened_and_stay_apart(kept: Kept, tree: Path) -> None:
    kept.backup(tree, tags=("ä" * 200, "ä" * 200 + "2", "x" * 300))
    found = Clocked(kept)
    names = found.ls("by-tag")
    assert len(names) == 3
    assert all(len(os.fsencode(name)) <= 255 and name.isprintable() for name in names)
    assert [found.ls(f"by-tag/{name}") for name in names] == [[NOON_NAME]] * 3


def test_snapshots_are_where_their_sources_are(kept: Kept, tmp_path: Path) -> None:
    one, nested, two = tmp_path / "one", tmp_path / "one" / "nested", tmp_path / "two"
    for place in (one, nested, two):
        grow(place, {"file": os.fsencode(place.name)})
    kept.backup(one)
    kept.backup(nested)
    kept.backup(one, two)
    found = Clocked(kept)
    where = f"by-path{tmp_path}"
    times = [f"2026-11-20T12.0{minute}.00+0100" for minute in range(3)]
    assert found.ls(where) == ["one", "two"]
    assert found.ls(f"{where}/one") == [times[0], times[2], "nested"]
    assert found.ls(f"{where}/one/nested") == [times[1]]
    assert found.ls(f"{where}/two") == [times[2]]
    assert found.data(f"{where}/one/{times[0]}/file") == b"one"
    assert found.data(f"{where}/one/nested/{times[1]}/file") == b"nested"
    assert found.data(f"{where}/two/{times[2]}/file") == b"two"
    assert found.data(f"{where}/one/{times[2]}/file") == b"one"
    assert found.data(f"{where}/one/{times[2]}/nested/file") == b"nested"


def test_a_source_that_is_a_file_is_a_file_at_its_path(kept: Kept, tmp_path: Path) -> None:
    grow(tmp_path / "x", {"file": b"x", "beside": b"y", "sub": {"z": b"z"}})
    kept.backup(tmp_path / "x" / "file", tmp_path / "x" / "sub")
    found = Clocked(kept)
    assert found.data(f"by-path{tmp_path}/x/file/{NOON_NAME}") == b"x"
    assert found.data(f"by-path{tmp_path}/x/sub/{NOON_NAME}/z") == b"z"


def test_the_root_directory_as_a_source_is_at_the_top_of_by_path(kept: Kept, tmp_path: Path) -> None:
    snapshot = kept.backup(grow(tmp_path / "x", {"file": b"x"}))
    body = type(snapshot.body)(
        **{field: getattr(snapshot.body, field) for field in snapshot.body.__struct_fields__}
        | {"paths": ["/"]}
    )
    kept.repository.snapshots = lambda *_: [type(snapshot)(snapshot.id, body, snapshot.labels)]  # type: ignore[method-assign]
    assert Clocked(kept).data(f"by-path/{NOON_NAME}/file") == b"x"


def test_increments_show_what_each_snapshot_changed(kept: Kept, tree: Path) -> None:
    first = kept.backup(tree)
    change(tree / "file", b"second\n")
    second = kept.backup(tree)
    found = Clocked(kept)
    assert found.ls("increments") == sorted([first.id, second.id])
    assert found.ls(f"increments/{second.id}") == ["changes.jsonl", "deleted", "files"]
    assert found.files(f"increments/{second.id}/files") == {"file": b"second\n"}
    assert found.summary(f"increments/{second.id}/changes.jsonl") == {"file": "content"}
    assert found.files(f"increments/{first.id}/files") == {"file": b"first\n", "sub/inner": b"inner\n"}
    assert found.ls(f"increments/{first.id}/deleted") == []


def test_where_the_parent_is_forgotten_an_increment_is_against_the_one_before(kept: Kept, tree: Path) -> None:
    kept.backup(tree)
    change(tree / "file", b"second\n")
    second = kept.backup(tree)
    change(tree / "sub" / "inner", b"third\n")
    third = kept.backup(tree)
    kept.forget(second)
    found = Clocked(kept)
    assert found.files(f"increments/{third.id}/files") == {"file": b"second\n", "sub/inner": b"third\n"}


def test_where_no_older_snapshot_is_left_an_increment_is_everything(kept: Kept, tree: Path) -> None:
    first = kept.backup(tree)
    change(tree / "file", b"second\n")
    second = kept.backup(tree)
    kept.forget(first)
    found = Clocked(kept)
    assert found.files(f"increments/{second.id}/files") == {"file": b"second\n", "sub/inner": b"inner\n"}


def test_listing_increments_compares_nothing(kept: Kept, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        change(tree / "file", b"%d" % number)
        kept.backup(tree)
    trees = TreesRead(kept.repository, monkeypatch.setattr)
    assert len(Clocked(kept).listing("increments")) == 5
    assert trees.distinct() == 0


def test_many_snapshots_are_listed_and_looked_up_quickly(
    kept: Kept, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking at all snapshots again for each of them would take minutes."""
    one = kept.backup(tree)
    many = []
    for number in range(3_000):
        when = (START + timedelta(minutes=number)).isoformat()
        body = msgspec.structs.replace(one.body, time=when)
        many.append(msgspec.structs.replace(one, id=f"{number:064}", body=body))
    monkeypatch.setattr(kept.repository, "snapshots", lambda *_: many)
    found = Clocked(kept)
    start = time.process_time()
    for path in ("snapshots", "by-time", "by-host/host", f"by-path{tree}", "increments"):
        assert len(found.listing(path)) == 3_000
        ino = found.ino(path)
        for name in list(found.listing(path))[:300]:
            found.view.lookup(ino, name)
    assert time.process_time() - start < 15


# What comes and goes.


def test_a_new_snapshot_appears_after_a_moment_everywhere(kept: Kept, tree: Path) -> None:
    first = kept.backup(tree)
    found = Clocked(kept)
    assert found.ls("snapshots") == [first.id]
    before = {name: found.ls(name) for name in TOP}
    second = kept.backup(tree, host="new host", tags=("new tag",))
    assert {name: found.ls(name) for name in TOP} == before, "the list is kept for a moment"
    found.later()
    assert found.ls("snapshots") == sorted([first.id, second.id])
    assert found.target("latest") == f"snapshots/{second.id}"
    assert len(found.ls("by-time")) == len(found.ls("increments")) == 2
    assert found.ls("by-host") == ["host", "new host"]
    assert found.ls("by-tag") == ["new tag"]


def test_a_moment_is_less_than_half_a_second(kept: Kept) -> None:
    found = Clocked(kept)
    assert NAMES < 0.5
    for path in ("", *TOP):
        found.ls(path)
        assert found.view.timeout(found.ino(path)) <= NAMES


def test_what_a_snapshot_holds_may_be_kept_for_ever_there_too(kept: Kept, tree: Path) -> None:
    snapshot = kept.backup(tree)
    found = Clocked(kept)
    found.ls(f"snapshots/{snapshot.id}")
    assert found.view.timeout(found.ino(f"snapshots/{snapshot.id}/file")) > 1e6


def test_a_forgotten_snapshot_vanishes_after_a_moment_everywhere(kept: Kept, tree: Path) -> None:
    first = kept.backup(tree, tags=("gone",), host="gone")
    second = kept.backup(tree)
    found = Clocked(kept)
    inside = found.ino(f"snapshots/{first.id}/file")
    assert found.exists(f"snapshots/{first.id}")
    kept.forget(first)
    found.later()
    assert found.ls("snapshots") == found.ls("increments") == [second.id]
    assert found.ls("by-host") == ["host"]
    assert found.ls("by-tag") == []
    assert len(found.ls("by-time")) == 1
    for path in (f"snapshots/{first.id}", "by-tag/gone", "by-host/gone"):
        assert not found.exists(path)
    assert found.read(inside) == b"first\n", "who has it open already may read on"


def test_the_last_snapshot_may_go_and_another_come(kept: Kept, tree: Path) -> None:
    kept.forget(kept.backup(tree))
    found = Clocked(kept)
    assert not found.exists("latest")
    snapshot = kept.backup(tree)
    assert found.later().target("latest") == f"snapshots/{snapshot.id}"
    kept.forget(snapshot)
    assert found.later().ls() == TOP


def test_a_repository_that_is_away_is_not_one_without_snapshots(kept: Kept, tree: Path) -> None:
    snapshot = kept.backup(tree)
    found = Clocked(kept)
    found.ls("snapshots")
    kept.path.rename(kept.path.with_name("away"))
    found.later()
    for path in ("", "snapshots", "by-time", "versions", f"snapshots/{snapshot.id}"):
        with pytest.raises(OSError, match="cannot be read") as refusal:
            found.ls(path)
        assert refusal.value.errno == errno.EIO
    kept.path.with_name("away").rename(kept.path)
    assert found.ls("snapshots") == [snapshot.id]


def test_a_damaged_manifest_hides_its_snapshot_alone(kept: Kept, tree: Path) -> None:
    first, second = kept.backup(tree), kept.backup(tree)
    path = kept.path / "snapshots" / first.id
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-20])
    assert Clocked(kept).ls("snapshots") == [second.id]
    assert any("damaged" in text or first.id[:12] in text for text in kept.notices)


def test_inode_numbers_stay_while_snapshots_come_and_go(kept: Kept, tree: Path) -> None:
    snapshots = [kept.backup(tree) for _ in range(3)]
    found = Clocked(kept)
    first = {path: at.ino for path, at in found.walk("snapshots").items()}
    assert len(set(first.values())) == len(first)
    kept.forget(snapshots[1])
    kept.backup(tree)
    found.later()
    again = {path: at.ino for path, at in found.walk("snapshots").items()}
    assert {path: number for path, number in again.items() if path in first}.items() <= first.items()
    assert len(set(again.values()) | set(first.values())) == len(again.keys() | first.keys())


def test_a_listing_under_way_stays_whole_when_a_snapshot_comes(kept: Kept, tree: Path) -> None:
    old = {kept.backup(tree).id for _ in range(4)}
    found = Clocked(kept)
    ino = found.ino("snapshots")
    first = [(name, following) for name, _, following in found.view.entries(ino, 0)][:2]
    kept.backup(tree)
    found.later()
    rest = [name for name, _, _ in found.view.entries(ino, first[-1][1])]
    listed = [os.fsdecode(name) for name in [*(name for name, _ in first), *rest]]
    assert old <= set(listed)
    assert len(listed) == len(set(listed))


def test_hard_links_share_an_inode_in_each_snapshot_alone(kept: Kept, tree: Path) -> None:
    os.link(tree / "file", tree / "sub" / "linked")
    one, other = kept.backup(tree), kept.backup(tree)
    found = Clocked(kept)
    for snapshot in (one, other):
        top = f"snapshots/{snapshot.id}"
        assert found.ino(f"{top}/file") == found.ino(f"{top}/sub/linked")
    assert found.ino(f"snapshots/{one.id}/file") != found.ino(f"snapshots/{other.id}/file")


def test_directories_of_the_view_alone_can_be_read_by_all_and_written_by_nobody(
    kept: Kept, tree: Path
) -> None:
    kept.backup(tree, tags=("tag",))
    found = Clocked(kept)
    for path in ("", *TOP, "by-tag/tag", "by-host/host"):
        at = found.stat(path)
        assert (stat.S_IFMT(at.mode), stat.S_IMODE(at.mode), at.uid) == (stat.S_IFDIR, 0o555, 0)


def test_virtual_attributes_tell_which_snapshot_it_is(kept: Kept, tree: Path) -> None:
    one, other = kept.backup(tree), kept.backup(tree)
    found = Clocked(kept)
    for snapshot in (one, other):
        told = found.xattr(f"snapshots/{snapshot.id}/file", "user.imbfs.snapshot")
        assert told == snapshot.id.encode()
    assert found.xattr("by-time", "user.imbfs.snapshot") is None


# Samba.


def test_the_shadow_layout_is_what_samba_looks_for(kept: Kept, tree: Path) -> None:
    kept.backup(tree, time="2026-11-20T00:30:00+01:00")
    kept.backup(tree, time="2026-11-20T12:00:00+00:00")
    found = Clocked(kept, "shadow")
    assert found.ls() == ["@GMT-2026.11.19-23.30.00", "@GMT-2026.11.20-12.00.00"]
    assert found.data("@GMT-2026.11.19-23.30.00/sub/inner") == b"inner\n"
    kept.backup(tree, time="2026-11-21T12:00:00+00:00")
    assert len(found.later().ls()) == 3


def test_of_two_snapshots_of_one_second_samba_is_shown_the_later(kept: Kept, tree: Path) -> None:
    kept.backup(tree, time=NOON)
    found = Clocked(kept, "shadow")
    (name,) = found.ls()
    assert found.data(f"{name}/file") == b"first\n"
    change(tree / "file", b"second\n")
    kept.backup(tree, time=NOON.replace("+", ".5+"))
    assert found.later().ls() == [name]
    assert found.data(f"{name}/file") == b"second\n"


def test_the_view_that_a_mount_opens_is_this_one(kept: Kept, tree: Path) -> None:
    kept.backup(tree)
    assert Shown(open_repository(kept.repository)).ls() == sorted([*TOP, "latest"])
    assert Shown(open_repository(kept.repository, "shadow")).ls() == ["@GMT-2026.11.20-11.00.00"]
    listing = Shown(open_repository(kept.repository, options=Options(list_xattrs=True)))
    assert b"user.imbfs.hash" in listing.view.xattr_names(listing.ino(f"by-time/{NOON_NAME}/file"))
