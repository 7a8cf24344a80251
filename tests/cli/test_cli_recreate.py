"""`export --recreate`: the list of an exported increment, made anew from its files."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.check import FAILED, WRONG_USE, assert_clear_error
from tests.support.compare import differences
from tests.support.imbfs import Imbfs, name
from tests.support.small import WRITTEN, build_small, bytes_of

Lines = dict[bytes, dict[str, Any]]


class Made(NamedTuple):
    older: Path
    newer: Path
    export: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, mark: str) -> Made:
    """An increment with every kind of change, made once; the repository is gone."""
    imbfs = Imbfs(tmp_path_factory.mktemp("increment"), mark)
    source, older, export = (imbfs.directory / each for each in ("source", "older", "export"))
    build_small(source)
    subprocess.run(["cp", "-a", source, older], check=True)
    imbfs.run("init")
    imbfs.run("backup", source)
    (source / "readme").write_text("new version")
    (source / "new/empty").mkdir(parents=True)
    (source / "new/file").write_text("new")
    (source / os.fsdecode(b"new/\xff\nline")).write_text("a hostile name")
    shutil.rmtree(source / "sub/deeper")
    (source / "large").unlink()
    (source / "large/new").mkdir(parents=True)
    (source / "large/new/file").write_text("where a file was")
    (source / "empty-directory").rmdir()
    (source / "empty-directory").symlink_to("/etc")
    (source / "symlink").unlink()
    (source / "symlink").symlink_to("..")
    (source / os.fsdecode(b"caf\xe9")).rename(source / "renamed")
    imbfs.run("backup", source)
    imbfs.run("export", "--increment", "latest", export)
    shutil.rmtree(imbfs.repository)
    return Made(older, source, export)


@pytest.fixture
def export(made: Made, tmp_path: Path) -> Path:
    """A copy of it, which may be changed."""
    subprocess.run(["cp", "-a", made.export, tmp_path / "export"], check=True)
    return tmp_path / "export"


def listed(export: Path) -> Lines:
    lines = [json.loads(line) for line in (export / "changes.jsonl").read_bytes().splitlines()]
    return {name(line["path"]): line for line in lines if line["change"] != "recreated"}


def recreate(imbfs: Imbfs, export: Path, *options: str) -> Any:
    return imbfs.run("--json", "export", "--recreate", export, *options, repository=False).json()


def carry_over(export: Path, target: Path) -> None:
    """As docs/commands.md says."""
    gone = [
        path
        for path, line in listed(export).items()
        if line["change"] == "removed"
        or (line["change"] == "content" and line["before"]["kind"] != line["after"]["kind"])
    ]
    for path in sorted(gone, reverse=True):
        subprocess.run([b"rm", b"-d", os.path.join(os.fsencode(target), path)], check=True)
    subprocess.run(["cp", "-a", f"{export}/files/.", target], check=True)


def test_a_lost_list_is_made_anew_from_the_files(imbfs: Imbfs, export: Path) -> None:
    """Parity row 36: the list of an exported increment made anew, without the repository."""
    first = listed(export)
    files = bytes_of(export / "files") | bytes_of(export / "deleted")
    (export / "changes.jsonl").unlink()
    summary = recreate(imbfs, export)
    assert (summary["found"], summary["written"]) == ("missing", True)
    again = listed(export)
    assert sum(summary["changes"].values()) == len(again)
    assert bytes_of(export / "files") | bytes_of(export / "deleted") == files
    assert sorted(os.listdir(export)) == ["changes.jsonl", "deleted", "files"]

    changes = {path: line["change"] for path, line in again.items()}
    assert changes[b"."] == changes[b"sub"] == "metadata"
    assert changes[b"readme"] == changes[b"new/\xff\nline"] == changes[b"new/empty"] == "changed"
    assert changes[b"symlink"] == changes[b"renamed"] == "changed"
    assert changes[b"sub/deeper"] == changes[b"sub/deeper/two"] == changes[b"caf\xe9"] == "removed"
    assert changes[b"large"] == changes[b"empty-directory"] == "content"
    assert changes[b"large/new"] == changes[b"large/new/file"] == "added"
    # Nothing that the first list had is missing, but for new directories that hold something.
    origins = {name(line["from"]) for line in first.values() if "from" in line}
    assert set(again) == (set(first) | origins) - {b"new"}


def test_what_a_recreated_list_tells_of_a_name_is_what_the_first_one_told(imbfs: Imbfs, export: Path) -> None:
    first = listed(export)
    (export / "changes.jsonl").unlink()
    recreate(imbfs, export)
    for path, line in listed(export).items():
        for side in ("before", "after"):
            if side in line and side in first.get(path, ()):
                one, other = line[side], first[path][side]
                assert one["kind"] == "dir" or one["size"] == other["size"]
                assert {**one, "size": 0} == {**other, "size": 0}, path


def test_a_recreated_list_leads_from_the_older_tree_to_the_newer(
    imbfs: Imbfs, export: Path, made: Made, tmp_path: Path
) -> None:
    (export / "changes.jsonl").unlink()
    recreate(imbfs, export)
    subprocess.run(["cp", "-a", made.older, tmp_path / "target"], check=True)
    carry_over(export, tmp_path / "target")
    assert differences(made.newer, tmp_path / "target") == []


def test_the_list_itself_says_what_it_does_not_know(imbfs: Imbfs, export: Path) -> None:
    (export / "changes.jsonl").unlink()
    recreate(imbfs, export)
    head = json.loads((export / "changes.jsonl").read_bytes().splitlines()[0])
    assert (head["change"], head["path"]) == ("recreated", ".")
    assert len(head["unknown"]) > 3


@pytest.mark.parametrize("damage", ["cut", "zeros", "empty", "other"])
def test_a_damaged_list_is_replaced(imbfs: Imbfs, export: Path, damage: str) -> None:
    path = export / "changes.jsonl"
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-1],
            "zeros": bytes(len(data)),
            "empty": b"",
            "other": b'{"change":"eaten","path":"x"}\n',
        }[damage]
    )
    assert recreate(imbfs, export)["found"] == "damaged"
    assert b"readme" in listed(export)
    kept = path.stat()
    summary = recreate(imbfs, export)
    assert (summary["found"], summary["written"]) == ("same", False)
    assert path.stat() == kept


def test_a_sound_list_is_not_replaced_unless_told(imbfs: Imbfs, export: Path) -> None:
    path = export / "changes.jsonl"
    kept = path.read_bytes()
    for options in ((), ("--dry-run",)):
        result = imbfs.run("export", "--recreate", export, *options, repository=False, check=False)
        assert_clear_error(result, FAILED, "sound", "--force")
        assert path.read_bytes() == kept
    assert recreate(imbfs, export, "--force", "--dry-run")["written"] is False
    assert path.read_bytes() == kept
    assert recreate(imbfs, export, "--force")["found"] == "other"
    assert path.read_bytes().startswith(b'{"change":"recreated"')


def test_what_was_taken_out_of_an_increment_is_not_listed_any_more(imbfs: Imbfs, export: Path) -> None:
    (export / "files/readme").unlink()
    shutil.rmtree(export / "deleted/sub/deeper")
    recreate(imbfs, export, "--force")
    assert {b"readme", b"sub/deeper", b"sub/deeper/two"} & set(listed(export)) == set()


def test_what_only_leads_to_something_is_no_change(saved: Imbfs, source: Path, tmp_path: Path) -> None:
    (source / "sub/one").write_text("new version")
    os.utime(source / "sub", (WRITTEN, WRITTEN))
    saved.run("backup", source)
    saved.run("export", "--increment", "latest", tmp_path / "export")
    (tmp_path / "export/changes.jsonl").unlink()
    recreate(saved, tmp_path / "export")
    assert {path: line["change"] for path, line in listed(tmp_path / "export").items()} == {
        b"sub/one": "changed"
    }


@pytest.mark.parametrize("missing", ["files", "deleted"])
def test_a_directory_that_is_no_increment_is_told(imbfs: Imbfs, export: Path, missing: str) -> None:
    for make in (lambda path: None, lambda path: path.symlink_to("/etc"), lambda path: path.write_text("")):
        (export / missing).rename(export / "away")
        make(export / missing)
        result = imbfs.run("export", "--recreate", export, "--force", repository=False, check=False)
        assert_clear_error(result, FAILED, "no exported increment", f"/{missing} ")
        (export / missing).unlink(missing_ok=True)
        (export / "away").rename(export / missing)
    result = imbfs.run("export", "--recreate", export / "no such", repository=False, check=False)
    assert_clear_error(result, FAILED, "no such")


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_what_takes_the_place_of_the_list_is_neither_followed_nor_replaced(
    imbfs: Imbfs, export: Path, tmp_path: Path, force: tuple[str, ...]
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (export / "changes.jsonl").unlink()
    (export / "changes.jsonl").symlink_to(mine)
    (export / "changes.jsonl.partial").symlink_to(mine)
    result = imbfs.run("export", "--recreate", export, *force, repository=False, check=False)
    assert_clear_error(result, FAILED, "symlink")
    (export / "changes.jsonl").unlink()
    recreate(imbfs, export)
    assert mine.read_text() == "mine"
    assert sorted(os.listdir(export)) == ["changes.jsonl", "deleted", "files"]


def test_an_export_that_was_killed_is_not_taken_for_whole(imbfs: Imbfs, export: Path) -> None:
    (export / "changes.jsonl").unlink()
    (export / "files/new/.imbfs-restore-0000000100000002").write_text("half of a fi")
    result = imbfs.run("export", "--recreate", export, repository=False, check=False)
    assert_clear_error(result, FAILED, "killed", "export it again")
    assert not (export / "changes.jsonl").exists()
    recreate(imbfs, export, "--force")


def test_a_tree_deeper_than_any_path_is_listed(imbfs: Imbfs, export: Path) -> None:
    (export / "changes.jsonl").unlink()
    top = os.open(export / "files", os.O_RDONLY)
    part = "d" * 200
    for _ in range(30):
        os.mkdir(part, dir_fd=top)
        below = os.open(part, os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = below
    os.close(top)
    recreate(imbfs, export)
    assert "/".join([part] * 30).encode() in listed(export)


def test_where_something_cannot_be_read_the_list_is_left_alone(
    made: Made, open_path: Path, ordinary_user: int, mark: str
) -> None:
    export = open_path / "export"
    subprocess.run(["cp", "-a", made.export, export], check=True)
    (export / "changes.jsonl").write_bytes(b"damaged")
    (export / "files/new").chmod(0o700)
    imbfs = Imbfs(open_path, mark)
    result = imbfs.run("export", "--recreate", export, user=ordinary_user, repository=False, check=False)
    assert_clear_error(result, FAILED, "files/new", "Permission denied")
    assert (export / "changes.jsonl").read_bytes() == b"damaged"


@pytest.mark.parametrize(
    "call",
    [
        "--recreate",
        "--recreate DIR latest",
        "--recreate DIR --increment",
        "--recreate DIR --tar x.tar",
        "--recreate DIR --host h",
        "latest DIR --force",
        "latest DIR --dry-run",
        "--increment",
    ],
)
def test_what_does_not_go_together_is_wrong_use(copied: Imbfs, call: str) -> None:
    assert_clear_error(copied.run("export", *call.split(), check=False), WRONG_USE)
    result = copied.run("export", "--recreate", "", check=False)
    assert_clear_error(result, WRONG_USE, "name the directory")


def test_people_are_told_what_was_done(imbfs: Imbfs, export: Path) -> None:
    (export / "changes.jsonl").unlink()
    dry = imbfs.run("export", "--recreate", export, "--dry-run", repository=False)
    assert "dry run, nothing written" in dry.errors
    assert not (export / "changes.jsonl").exists()
    told = imbfs.run("export", "--recreate", export, repository=False).errors
    assert "made anew" in told
    assert "removed" in told
    quiet = imbfs.run("export", "--recreate", export, "--quiet", repository=False)
    assert (quiet.stdout, quiet.stderr) == (b"", b"")
