"""What a start imports: nothing that the command asked for does not need."""

import subprocess
import sys

import pytest

from backup.cli.commands import COMMANDS
from tests.support.imbfs import ROOT, Imbfs


def test_each_command_has_a_module_and_each_module_a_command() -> None:
    files = (ROOT / "backup" / "cli" / "commands").glob("*.py")
    assert {file.stem for file in files} - {"__init__"} == set(COMMANDS)


SCRIPT = """
import sys
from backup.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""


def imported(*args: object) -> set[str]:
    command = [sys.executable, "-c", SCRIPT, *map(str, args)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return set(done.stderr.decode().split())


@pytest.mark.parametrize("args", [["--help"], ["--version"]])
def test_help_and_version_import_no_command_and_no_package(args: list[str]) -> None:
    found = imported(*args)
    assert not {name for name in found if name.startswith("backup.cli.commands.")}
    assert found.isdisjoint({"msgspec", "lmdb", "rich", "backup.repository", "backup.ops"})


def test_listing_snapshots_imports_nothing_of_backups_mounts_and_other_commands(copied: Imbfs) -> None:
    found = imported("--repo", copied.repository, "snapshots")
    assert {name for name in found if name.startswith("backup.cli.commands.")} == {
        "backup.cli.commands.snapshots"
    }
    assert found.isdisjoint({"backup.ops", "backup.views", "fusefs", "rich", "trio", "zfec"})


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, imbfs: Imbfs) -> None:
    assert f"usage: imbfs {command}" in imbfs.run(command, "--help").text
