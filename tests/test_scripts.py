"""Scripts. quickstart against a stand-in for imbfs: what it says, and how it ends when things go wrong."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"

#: Does what the real one does as seen from outside, by copying. A test changes what goes wrong through BREAK.
STAND_IN = r"""#!/usr/bin/env bash
set -e
repository=$2
[ "$1" != -r ] || shift 2
case $1 in
init) mkdir "$repository" ;;
backup)
    cp -a "$2" "$repository/files"
    case ${BREAK-} in backup*) exit "${BREAK#backup}" ;; esac
    ;;
mount)
    [ "${BREAK-}" != mount ] || exit 1
    cp -a "$repository/files/." "$3"
    [ "${BREAK-}" != bytes ] || printf X | dd of="$3/file" conv=notrunc status=none
    [ "${BREAK-}" != time ] || touch "$3/file"
    [ "${BREAK-}" != name ] || rm "$3/file"
    ;;
umount) find "$2" -mindepth 1 -delete ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout, with a space in its path, that is set up and holds the stand-in."""
    top = tmp_path / "check out"
    (top / ".venv/bin").mkdir(parents=True)
    (top / "scripts").mkdir()
    (top / "backup").mkdir()
    (top / "backup/code.py").write_text("pass\n")
    (tmp_path / "temporary files").mkdir()
    shutil.copy(SCRIPTS / "quickstart", top / "scripts")
    for path, text in ((top / "scripts/setup", "#!/bin/sh\n"), (top / ".venv/bin/imbfs", STAND_IN)):
        path.write_text(text)
        path.chmod(0o755)
    return top


@pytest.fixture
def source(tmp_path: Path) -> Path:
    top = tmp_path / "a source"
    (top / "sub").mkdir(parents=True)
    (top / "file").write_text("some bytes\n")
    os.utime(top / "file", ns=(10**18, 10**18 + 1))
    os.link(top / "file", top / "sub/link")
    os.symlink("nowhere", top / "broken")
    os.mkfifo(top / "fifo")
    return top


def quickstart(checkout: Path, *arguments: str, broken: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "scripts/quickstart", *arguments],
        cwd=checkout.parent,
        env=os.environ | {"TMPDIR": f"{checkout.parent}/temporary files", "BREAK": broken},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def made(checkout: Path) -> list[str]:
    """What the run left in its temporary directory."""
    return sorted(path.name for path in (checkout.parent / "temporary files").glob("*/*"))


def test_it_needs_no_argument(checkout: Path) -> None:
    done = quickstart(checkout)
    assert done.returncode == 0, done
    assert "All of it came back" in done.stdout


def test_a_relative_directory_with_a_space_is_backed_up_and_the_repository_kept(
    checkout: Path, source: Path
) -> None:
    done = quickstart(checkout, "a source")
    assert done.returncode == 0, done
    assert f" backup '{source}'\n" in done.stdout
    assert made(checkout) == ["copy", "mount", "repository"]


def test_every_command_is_shown_before_it_runs_and_without_colours(checkout: Path, source: Path) -> None:
    shown = [
        line[2:].split() for line in quickstart(checkout, str(source)).stdout.splitlines() if line[:2] == "$ "
    ]
    names = [
        " ".join(word for word in words if word in {"imbfs", "init", "backup", "mount"}) for words in shown
    ]
    assert names[:2] == ["imbfs init", "imbfs backup"]
    assert [words[0] for words in shown[4:8]] == ["ls", "cp", "diff", "rsync"]
    assert "\x1b" not in quickstart(checkout, str(source)).stdout


def test_remove_leaves_nothing(checkout: Path, source: Path) -> None:
    assert quickstart(checkout, "--remove", str(source)).returncode == 0
    assert list((checkout.parent / "temporary files").iterdir()) == []


@pytest.mark.parametrize("broken", ["bytes", "time", "name"])
def test_a_copy_that_differs_fails(checkout: Path, source: Path, broken: str) -> None:
    done = quickstart(checkout, str(source), broken=broken)
    assert done.returncode == 1
    assert "NOT the same" in done.stdout


def test_a_backup_in_part_is_told_and_goes_on(checkout: Path, source: Path) -> None:
    done = quickstart(checkout, str(source), broken="backup3")
    assert done.returncode == 3
    assert "could not be read" in done.stdout
    assert "$ imbfs umount" in done.stdout


def test_a_difference_fails_after_a_backup_in_part_too(checkout: Path, source: Path) -> None:
    stand_in = checkout / ".venv/bin/imbfs"
    stand_in.write_text(STAND_IN.replace("${BREAK#backup}", "3").replace('"${BREAK-}" != bytes', "yes = no"))
    assert quickstart(checkout, str(source), broken="backup3").returncode == 1


@pytest.mark.parametrize("broken", ["backup1", "mount"])
def test_a_step_that_fails_ends_it_with_a_reason(checkout: Path, source: Path, broken: str) -> None:
    done = quickstart(checkout, str(source), broken=broken)
    assert done.returncode == 1
    assert "failed" in done.stderr
    assert "umount" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no such"], "no such directory: no such"),
        (["a source/file"], "not a directory: a source/file"),
        (["a source", "check out"], "one directory at a time"),
        (["--colour"], "no such option: --colour"),
        (["."], "holds the temporary directory"),
        (["/"], "holds the temporary directory"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_is_made(
    checkout: Path, source: Path, arguments: list[str], reason: str
) -> None:
    done = quickstart(checkout, *arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert made(checkout) == []


def test_a_script_is_run_by_the_python_that_has_the_packages(checkout: Path) -> None:
    shutil.copy(SCRIPTS / "own_python.py", checkout / "scripts")
    script = checkout / "scripts/some"
    script.write_text("from own_python import use_own_python\nuse_own_python()\n")
    # Without site, it has no packages.
    command = [sys.executable, "-S", str(script), "an argument"]
    missing = subprocess.run(command, capture_output=True, text=True)
    assert missing.returncode == 1
    assert "run scripts/setup" in missing.stderr
    python = checkout / ".venv/bin/python"
    python.write_text("#!/bin/sh\nprintf '%s|' \"$@\"\n")
    python.chmod(0o755)
    assert subprocess.check_output(command, text=True) == f"{script}|an argument|"
