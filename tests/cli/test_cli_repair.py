"""`imbfs repair` from the outside: what it says, what it leaves, and what a backup after it heals."""

import json
from pathlib import Path

from tests.support.check import DAMAGED, DONE, assert_clear_error
from tests.support.damage import DAMAGES, files_of
from tests.support.imbfs import Imbfs
from tests.support.small import FILES


def break_largest_pack(imbfs: Imbfs) -> None:
    DAMAGES["flipped-in-the-middle"](
        max(files_of(imbfs.repository, "pack"), key=lambda path: path.stat().st_size)
    )


def test_a_broken_pack_is_healed_from_the_source(saved: Imbfs) -> None:
    break_largest_pack(saved)
    planned = saved.run("repair", "--dry-run").text
    assert planned.startswith("would: ")
    assert saved.run("check", "--read-data", check=False).code == DAMAGED
    result = saved.run("repair")
    assert "healed from" in result.text
    assert saved.run("check", "--read-data").code == DONE
    assert saved.run("cat", "latest:large").stdout == FILES[b"large"]
    assert "nothing to repair" in saved.run("repair").text


def test_what_is_gone_is_named_and_the_next_backup_heals_it(saved: Imbfs, source: Path) -> None:
    break_largest_pack(saved)
    source.rename(source.with_name("away"))
    result = saved.run("repair", check=False)
    assert result.code == DAMAGED
    assert ":large" in result.text
    assert json.loads(saved.run("--json", "repair", check=False).stdout)["reaches"][0]["path"] == "large"
    source.with_name("away").rename(source)
    saved.run("backup", source)
    assert saved.run("check", "--read-data").code == DONE
    assert saved.run("cat", "latest~1:large").stdout == FILES[b"large"]


def test_every_command_says_how_to_get_a_lost_config_back(saved: Imbfs) -> None:
    (saved.repository / "config.json").unlink()
    (saved.repository / "config.json").mkdir()
    for command in (["snapshots"], ["ls", "latest"], ["check"], ["backup", "/etc/hostname"]):
        assert_clear_error(saved.run(*command, check=False), DAMAGED, "imbfs repair")
    saved.run("repair")
    assert saved.run("cat", "latest:readme").stdout == FILES[b"readme"]


def test_a_source_or_a_repository_that_is_not_there_is_an_error(saved: Imbfs, tmp_path: Path) -> None:
    assert saved.run("repair", tmp_path / "nowhere", check=False).code == 1
    assert saved.run("repair", "--from", tmp_path / "nowhere", check=False).code == 10
