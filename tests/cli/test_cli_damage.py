"""Damage to each kind of repository file is found, and never comes out as a wrong byte."""

from pathlib import Path

import pytest

from tests.support.check import DAMAGED, DONE, NO_REPOSITORY, assert_no_traceback
from tests.support.damage import DAMAGES, KINDS, files_of
from tests.support.imbfs import Imbfs
from tests.support.small import FILES, bytes_of

CASES = [(kind, how) for kind in KINDS if kind != "index" for how in DAMAGES]


def strike(imbfs: Imbfs, kind: str, how: str) -> None:
    """Damage the largest file of the kind."""
    DAMAGES[how](max(files_of(imbfs.repository, kind), key=lambda path: path.stat().st_size))


def assert_only_right_bytes(imbfs: Imbfs, back: Path, *, all_back: bool = False) -> None:
    """What `cat` and `restore` give is right, or they say that they do not."""
    for path in (b"readme", b"large"):
        result = imbfs.run("cat", b"latest:" + path, check=False)
        assert_no_traceback(result)
        assert result.stdout == FILES[path] or (result.code != DONE and FILES[path].startswith(result.stdout))
        assert not all_back or result.code == DONE, result
    restored = imbfs.run("restore", "latest", "--target", back, check=False)
    assert_no_traceback(restored)
    found = bytes_of(back) if back.exists() else {}
    wrong = {path for path, data in found.items() if data != FILES.get(path, FILES[b"readme"])}
    assert wrong == set()
    missing = FILES.keys() - found.keys()
    assert not missing or restored.code != DONE, f"{missing} are missing and restore says nothing: {restored}"
    assert not (all_back and missing), restored


@pytest.mark.parametrize(("kind", "how"), CASES)
def test_damage_is_found_and_no_wrong_byte_comes_back(
    copied: Imbfs, tmp_path: Path, kind: str, how: str
) -> None:
    strike(copied, kind, how)
    result = copied.run("check", "--read-data", check=False)
    # Without its config.json, a directory is no repository at all.
    assert result.code == DAMAGED or (kind == "config" and result.code == NO_REPOSITORY), result
    assert_no_traceback(result)
    assert result.stderr or result.stdout
    assert_only_right_bytes(copied, tmp_path / "back")


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_index_is_made_anew_and_costs_nothing(copied: Imbfs, tmp_path: Path, how: str) -> None:
    files = files_of(copied.repository, "index")
    if not files:
        pytest.skip("the index does not live in the repository here")
    DAMAGES[how](max(files, key=lambda path: path.stat().st_size))
    assert_only_right_bytes(copied, tmp_path / "back", all_back=True)
    assert copied.run("check", "--read-data", check=False).code in (DONE, DAMAGED)


def test_every_pack_is_read_by_check_read_data(saved: Imbfs, source: Path) -> None:
    for number in range(3):
        (source / f"more-{number}").write_bytes(b"%d" % number * 5000)
        saved.run("backup", source)
    for pack in files_of(saved.repository, "pack"):
        whole = pack.read_bytes()
        DAMAGES["flipped-in-the-middle"](pack)
        assert saved.run("check", "--read-data", check=False).code == DAMAGED, pack
        pack.chmod(0o600)
        pack.write_bytes(whole)
    assert saved.run("check", "--read-data").code == DONE


def test_check_names_the_file_and_the_snapshot_that_damage_reaches(copied: Imbfs) -> None:
    strike(copied, "pack", "flipped-in-the-middle")
    result = copied.run("check", "--read-data", check=False)
    (snapshot,) = copied.snapshots()
    told = result.errors + result.text
    assert "large" in told, result
    assert snapshot["id"][:8] in told, result


def test_damage_to_one_file_leaves_the_others_readable(copied: Imbfs) -> None:
    # The largest file fills most of the pack, so the middle of the pack is in it.
    strike(copied, "pack", "flipped-in-the-middle")
    assert copied.run("cat", "latest:large", check=False).code != DONE
    for path in (b"readme", b"sub/one", b"caf\xe9"):
        assert copied.run("cat", b"latest:" + path).stdout == FILES[path]


def test_in_a_mount_damage_is_eio_for_that_file_and_nothing_else(copied: Imbfs) -> None:
    strike(copied, "pack", "flipped-in-the-middle")
    with copied.mounted("latest") as mount:
        with pytest.raises(OSError, match="Input/output error"):
            (mount / "large").read_bytes()
        assert (mount / "readme").read_bytes() == FILES[b"readme"]
        assert (mount / "sub" / "one").read_bytes() == FILES[b"sub/one"]
        with pytest.raises(OSError, match="Input/output error"):
            (mount / "large").read_bytes()


def test_one_bad_file_never_stops_a_restore(copied: Imbfs, tmp_path: Path) -> None:
    strike(copied, "pack", "flipped-in-the-middle")
    result = copied.run("restore", "latest", "--target", tmp_path / "back", check=False)
    assert result.code != DONE
    assert "large" in result.errors
    found = bytes_of(tmp_path / "back")
    assert FILES.keys() - found.keys() == {b"large"}


def test_a_damaged_snapshot_does_not_hide_the_others(saved: Imbfs, source: Path) -> None:
    (first,) = saved.snapshots()
    (source / "readme").write_text("second\n")
    saved.run("backup", source)
    (damaged,) = [
        path for path in files_of(saved.repository, "manifest") if path.name.startswith(first["id"])
    ]
    DAMAGES["flipped-in-the-middle"](damaged)
    assert saved.run("cat", "latest:readme", check=False).text == "second\n"


def test_a_backup_after_damage_to_a_pack_stores_the_bytes_again_or_says_so(
    saved: Imbfs, source: Path
) -> None:
    for pack in files_of(saved.repository, "pack"):
        pack.unlink()
    result = saved.run("backup", "--read-all", source, check=False)
    assert_no_traceback(result)
    if result.code == DONE:
        assert saved.run("cat", "latest:large").stdout == FILES[b"large"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("5%", DONE),
        ("0.5%", DONE),
        ("100%", DONE),
        ("2/3", DONE),
        ("0%", 2),
        ("101%", 2),
        ("0/3", 2),
        ("4/3", 2),
        ("x", 2),
    ],
)
def test_check_takes_a_share_or_a_part(copied: Imbfs, text: str, code: int) -> None:
    assert copied.run("check", "--read-data", "--subset", text, check=False).code == code


def test_a_subset_without_reading_is_wrong_use(copied: Imbfs) -> None:
    assert copied.run("check", "--subset", "5%", check=False).code == 2


def test_a_damaged_manifest_is_told_once(saved: Imbfs, source: Path) -> None:
    DAMAGES["flipped-in-the-middle"](files_of(saved.repository, "manifest")[0])
    result = saved.run("backup", source)
    assert result.errors.count("`imbfs check` tells more") == 1
