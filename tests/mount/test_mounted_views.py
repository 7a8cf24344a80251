"""Every view through the kernel, as a user meets it."""

import errno
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import blake3
import pytest

from tests.mount.conftest import History
from tests.support.compare import differences
from tests.support.damage import files_of, flip_in_the_middle
from tests.support.imbfs import Imbfs, name, wait_until
from tests.support.small import FILES

TIMES = ["2026-11-20T12.00.00+0100", "2026-11-20T12.01.00+0100"]
#: Seconds in which what changed in the repository is to be seen.
SOON = 5.0


def test_a_snapshot_of_each_time_is_shown_exactly(history: History) -> None:
    for selector, tree in zip(history.ids, (history.one, history.two), strict=True):
        with history.imbfs.mounted(selector) as mount:
            assert differences(tree, mount) == []


def test_a_directory_and_a_files_parent_are_mounted_alone(history: History) -> None:
    for path in ("sub/deeper", "sub/deeper/two"):
        with history.imbfs.mounted(f"latest~1:{path}") as mount:
            assert differences(history.one / "sub" / "deeper", mount) == []


def test_the_whole_repository_shows_snapshots_by_everything(history: History) -> None:
    """Parity row 51: a graphical view."""
    imbfs, ids = history.imbfs, history.ids
    with imbfs.mounted() as mount:
        tops = "by-host by-path by-tag by-time increments latest snapshots versions"
        assert sorted(os.listdir(mount)) == tops.split()
        assert os.readlink(mount / "latest") == f"snapshots/{ids[1]}"
        by_path = mount / "by-path" / str(imbfs.directory / "source").lstrip("/")
        for number, tree in enumerate((history.one, history.two)):
            for place in (
                mount / "snapshots" / ids[number],
                mount / "by-time" / TIMES[number],
                mount / "by-host" / f"host{number}" / TIMES[number],
                by_path / TIMES[number],
            ):
                assert differences(tree, place) == []
        assert differences(history.two, mount / os.readlink(mount / "latest")) == []
        assert differences(history.two, mount / "by-tag" / "odd%2Ftag" / TIMES[1]) == []
        assert sorted(os.listdir(mount / "increments")) == sorted(ids)
        assert (mount / "increments" / ids[1] / "files" / "readme").read_bytes() == b"second\n"


def test_versions_of_a_file_are_side_by_side(history: History) -> None:
    with history.imbfs.mounted() as mount:
        readme = mount / "versions" / "readme"
        assert {path.name: path.read_bytes() for path in readme.iterdir()} == {
            TIMES[0]: b"hello\n",
            TIMES[1]: b"second\n",
        }
        both = mount / "versions" / "caf\u00e9"
        assert sorted(os.listdir(both)) == [TIMES[0], "inside"]
        assert (both / "inside" / TIMES[1]).read_bytes() == b"where a file was\n"
        walked = subprocess.run(["find", mount / "versions"], capture_output=True, check=True)
        assert b"/sub/deeper/two/" in walked.stdout


def test_the_shadow_layout_names_snapshots_for_samba(history: History) -> None:
    with history.imbfs.mounted(None, "-o", "layout=shadow") as mount:
        names = ["@GMT-2026.11.20-11.00.00", "@GMT-2026.11.20-11.01.00"]
        assert sorted(os.listdir(mount)) == names
        assert differences(history.one, mount / names[0]) == []


def gone(changes: Path) -> list[bytes]:
    """What has to go before `files/` is copied over: removed, moved away, or of another kind."""
    found = set()
    for line in map(json.loads, changes.read_bytes().splitlines()):
        if line["change"] == "removed":
            found.add(name(line["path"]))
        elif line["change"] == "renamed":
            found.add(name(line["from"]))
        elif line["change"] == "content" and line["before"]["kind"] != line["after"]["kind"]:
            found.add(name(line["path"]))
    return sorted(found, reverse=True)


def carry_over(mount: Path, target: Path) -> None:
    for path in gone(mount / "changes.jsonl"):
        subprocess.run([b"rm", b"-d", os.path.join(os.fsencode(target), path)], check=True)
    subprocess.run(["cp", "-a", f"{mount}/files/.", target], check=True)


def test_removing_what_is_gone_and_cp_a_of_files_gives_the_next_snapshot(
    history: History, tmp_path: Path
) -> None:
    subprocess.run(["cp", "-a", history.one, tmp_path / "target"], check=True)
    with history.imbfs.mounted("latest~1..latest", "--increment") as mount:
        assert sorted(os.listdir(mount)) == ["changes.jsonl", "deleted", "files"]
        assert (mount / "deleted" / "sub" / "deeper" / "two").read_bytes() == FILES[b"sub/deeper/two"]
        assert not (mount / "files" / "large").exists()
        carry_over(mount, tmp_path / "target")
    assert differences(history.two, tmp_path / "target") == []


def test_an_increment_between_two_snapshots_leads_back_as_well(history: History, tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", history.two, tmp_path / "target"], check=True)
    with history.imbfs.mounted(f"latest..{history.ids[0][:10]}", "--increment") as mount:
        carry_over(mount, tmp_path / "target")
    assert differences(history.one, tmp_path / "target") == []


def test_an_increment_is_against_the_parent(copied: Imbfs, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "same").write_bytes(b"same\n")
    parent = copied.backup(tree)["snapshot"]
    (tree / "new").write_bytes(b"new\n")
    assert copied.backup(tree)["parent"] == parent
    with copied.mounted("latest", "--increment") as mount:
        assert os.listdir(mount / "files") == ["new"]
        lines = [json.loads(line) for line in (mount / "changes.jsonl").read_bytes().splitlines()]
        assert [(line["change"], line["path"]) for line in lines] == [("metadata", "."), ("added", "new")]


def test_the_increment_of_a_first_snapshot_is_all_of_it(history: History) -> None:
    with history.imbfs.mounted("latest~1", "--increment") as mount:
        assert differences(history.one, mount / "files") == []
        assert os.listdir(mount / "deleted") == []


def test_snapshots_appear_and_vanish_within_a_second_in_a_mount(copied: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"while it is mounted\n")
    with copied.mounted() as mount:
        old = set(os.listdir(mount / "snapshots"))
        new = copied.backup("--tag", "new", tmp_path / "tree")["snapshot"]
        wait_until(lambda: set(os.listdir(mount / "snapshots")) == old | {new}, "the new snapshot", SOON)
        wait_until(lambda: os.readlink(mount / "latest") == f"snapshots/{new}", "latest", SOON)
        wait_until(lambda: "new" in os.listdir(mount / "by-tag"), "the new tag", SOON)
        assert (mount / "latest" / "file").read_bytes() == b"while it is mounted\n"
        (copied.repository / "snapshots" / new).unlink()
        wait_until(lambda: not (mount / "snapshots" / new).exists(), "the end of the snapshot", SOON)
        wait_until(lambda: "new" not in os.listdir(mount / "by-tag"), "the end of the tag", SOON)
        assert set(os.listdir(mount / "snapshots")) == old


def test_two_mounts_of_one_snapshot_at_the_same_time(history: History) -> None:
    with history.imbfs.mounted("latest") as one, history.imbfs.mounted("latest") as other:
        assert differences(one, other) == []
        assert differences(history.two, other) == []


def test_virtual_attributes_are_answered_by_name_and_listed_when_asked_for(history: History) -> None:
    imbfs, large = history.imbfs, FILES[b"large"]
    with imbfs.mounted("latest") as mount:
        wanted = blake3.blake3(large).hexdigest().encode()
        assert os.getxattr(mount / "large", "user.imbfs.hash") == wanted
        assert os.getxattr(mount / "large", "user.imbfs.snapshot") == history.ids[1].encode()
        assert os.getxattr(mount / "large", "user.imbfs.damaged") == b"0"
        assert len(os.getxattr(mount / "large", "user.imbfs.id")) == 64
        assert os.listxattr(mount / "large") == []
    with imbfs.mounted("latest", "-o", "list_xattrs") as mount:
        names = [f"user.imbfs.{name}" for name in ("damaged", "hash", "id", "snapshot")]
        assert sorted(os.listxattr(mount / "large")) == names


def test_damage_is_eio_for_its_file_and_zeros_where_that_is_allowed(copied: Imbfs) -> None:
    flip_in_the_middle(max(files_of(copied.repository, "pack"), key=lambda path: path.stat().st_size))
    refused = {}
    with copied.mounted("latest~1") as mount:
        for path, data in FILES.items():
            try:
                with open(os.path.join(os.fsencode(mount), path), "rb") as file:
                    assert file.read() == data
            except OSError as error:
                refused[path] = error.errno
        assert refused == {b"large": errno.EIO}
        assert os.getxattr(mount / "large", "user.imbfs.damaged") == b"1"
    with copied.mounted("latest~1", "-o", "allow_damaged") as mount:
        found = (mount / "large").read_bytes()
        assert len(found) == len(FILES[b"large"])
        wrong = [byte for byte, right in zip(found, FILES[b"large"], strict=True) if byte != right]
        assert wrong
        assert set(wrong) == {0}


def test_a_repository_that_is_gone_for_a_while_is_eio_and_then_works_again(copied: Imbfs) -> None:
    away = copied.directory / "away"
    with copied.mounted() as mount:
        before = sorted(os.listdir(mount / "snapshots"))
        (mount / "latest" / "readme").stat()
        shutil.move(copied.repository, away)
        time.sleep(0.5)
        for look in ((mount / "latest" / "large").read_bytes, lambda: os.listdir(mount / "snapshots")):
            with pytest.raises(OSError) as refusal:
                look()
            assert refusal.value.errno == errno.EIO
        shutil.move(away, copied.repository)
        wait_until(lambda: (mount / "latest").is_dir(), "the repository's return", SOON)
        assert sorted(os.listdir(mount / "snapshots")) == before
        assert (mount / "latest" / "large").read_bytes() == FILES[b"large"]
