"""`tree`: a directory drawn, with its sizes, to any depth."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.check import DAMAGED, FAILED, WRONG_USE, assert_clear_error, assert_no_traceback
from tests.support.damage import files_of
from tests.support.imbfs import Imbfs, name
from tests.support.small import FILES


def drawn(imbfs: Imbfs, *arguments: str) -> list[str]:
    return imbfs.run("tree", *arguments).stdout.decode(errors="surrogateescape").splitlines()


def flat(item: dict[str, Any]) -> dict[bytes, dict[str, Any]]:
    found = {name(item["path"]): item}
    for child in item.get("children", ()):
        found |= flat(child)
    return found


def test_a_directory_is_drawn_with_all_below_it(copied: Imbfs) -> None:
    lines = drawn(copied, "latest")
    assert lines[0].endswith("/source")
    assert lines[1:] == [
        "├── café",
        "├── caf\udce9",
        "├── empty",
        "├── empty-directory/",
        "├── large",
        "├── new\\nline",
        "├── readme",
        "├── sub/",
        "│   ├── deeper/",
        "│   │   ├── same as readme",
        "│   │   └── two",
        "│   ├── link to readme",
        "│   └── one",
        "└── symlink -> sub/one",
        "3 directories, 11 files",
    ]


def test_it_goes_down_only_so_far_and_shows_only_directories_where_asked(copied: Imbfs) -> None:
    assert drawn(copied, "-d", "latest")[1:] == [
        "├── empty-directory/", "└── sub/", "    └── deeper/", "3 directories"
    ]  # fmt: skip
    assert drawn(copied, "--depth", "1", "latest:sub")[1:] == [
        "├── deeper/", "├── link to readme", "└── one", "1 directory, 2 files"
    ]  # fmt: skip


def test_a_directorys_size_is_that_of_all_below_it_shown_or_not(copied: Imbfs) -> None:
    lines = drawn(copied, "-s", "-L", "1", "latest:sub")
    sizes = [line[line.index("[") + 1 : line.index("]")].strip() for line in lines[:-1]]
    assert sizes == ["297.9 KiB", "293.0 KiB", "6 B", "4.9 KiB"]


def test_the_tree_as_json_has_every_entry_in_its_directory(copied: Imbfs) -> None:
    tree = copied.run("--json", "tree", "--size", "latest").json()
    listed = copied.ls("latest", "-R")
    found = flat(tree)
    assert found.keys() - {b""} == listed.keys()
    for path, entry in listed.items():
        assert {key: found[path][key] for key in entry} == entry
    everything = sum(map(len, FILES.values())) + len(FILES[b"readme"])  # a hard link
    assert tree["total"] == everything
    shallow = copied.run("--json", "tree", "-L", "1", "latest").json()
    assert all("children" not in child for child in shallow["children"])


def test_a_deep_tree_is_drawn(imbfs: Imbfs, tmp_path: Path) -> None:
    subprocess.run(["mkdir", "-p", f"{tmp_path}/deep{'/d' * 400}"], check=True)
    imbfs.run("init")
    imbfs.run("backup", tmp_path / "deep")
    assert drawn(imbfs, "-s", "latest")[-1] == "400 directories, 0 files"
    assert imbfs.run("--json", "tree", "latest").stdout.count(b'"children"') == 401


def test_wrong_use_is_told(copied: Imbfs) -> None:
    assert_clear_error(copied.run("tree", "-L", "0", "latest", check=False), WRONG_USE)
    assert_clear_error(copied.run("tree", "latest:readme", check=False), FAILED, "name a directory")
    assert_clear_error(copied.run("tree", "latest:none", check=False), FAILED)


@pytest.mark.parametrize("options", [[], ["--size"], ["--json"]], ids=repr)
def test_a_damaged_directory_is_told_and_the_rest_is_drawn(
    saved: Imbfs, source: Path, options: list[str]
) -> None:
    """The trees of the first backup are gone; those of the second, of what changed, are there."""
    packs = files_of(saved.repository, "pack")
    (source / "sub" / "deeper" / "more").write_bytes(b"more")
    saved.run("backup", source)
    for path in packs:
        path.unlink()
    (saved.repository / "index.lmdb").unlink()
    result = saved.run("tree", *options, "latest", check=False)
    assert result.code == DAMAGED
    assert "empty-directory" in result.errors
    assert b"more" in result.stdout
    assert_no_traceback(result)
