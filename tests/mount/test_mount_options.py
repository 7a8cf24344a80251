"""How a mount begins, what it is told, and how it ends."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from backup.cli.mount_helper import command_line
from fusefs.mountinfo import mounted_at
from tests.mount.conftest import History
from tests.support.check import (
    DONE,
    FAILED,
    NO_REPOSITORY,
    WRONG_USE,
    assert_clear_error,
    assert_no_traceback,
)
from tests.support.damage import files_of, truncate
from tests.support.imbfs import MARK, Imbfs, mounts_below, processes_marked, wait_until
from tests.support.small import FILES


def mounted(imbfs: Imbfs, place: Path) -> bool:
    return place in mounts_below(imbfs.directory)


def options_of(mount: Path) -> tuple[str, str]:
    """The device that the kernel shows, and the options of the file system."""
    found = mounted_at(bytes(mount))
    assert found is not None, f"{mount} is not mounted"
    return found.source.decode(), found.options.decode()


def drivers_of(copied: Imbfs, place: Path) -> dict[int, str]:
    """This test's processes alone: a driver of the whole session may be at work beside them."""
    return {pid: line for pid, line in processes_marked(copied.mark).items() if str(place) in line}


def test_a_background_mount_answers_as_soon_as_the_command_returns(copied: Imbfs, place: Path) -> None:
    result = copied.run("mount", "latest", place)
    assert (place / "readme").read_bytes() == b"second\n"
    assert (result.stdout, result.stderr) == (b"", b"")
    copied.run("umount", place)
    assert not mounted(copied, place)
    assert drivers_of(copied, place) == {}


@pytest.mark.parametrize("target", [["nothing"], ["latest:no/such/path"], ["latest..nothing", "--increment"]])
def test_a_mount_of_nothing_is_exit_1_with_the_reason_and_no_mount(
    copied: Imbfs, place: Path, target: list[str]
) -> None:
    result = copied.run("mount", *target, place, check=False)
    assert_clear_error(result, FAILED, "no")
    assert not mounted(copied, place)


def test_an_increment_without_a_snapshot_is_wrong_use(copied: Imbfs, place: Path) -> None:
    assert_clear_error(copied.run("mount", "--increment", place, check=False), WRONG_USE, "snapshot")


def test_a_mount_on_what_is_no_empty_directory_outside_is_refused(copied: Imbfs, place: Path) -> None:
    (place / "full").mkdir()
    (place / "file").touch()
    (copied.repository / "empty").mkdir()
    reasons = {
        place: "not empty",
        place / "file": "Not a directory",
        place / "missing": "No such file",
        copied.repository: "repository",
        copied.repository / "empty": "repository",
    }
    for point, reason in reasons.items():
        assert_clear_error(copied.run("mount", "latest", point, check=False), FAILED, reason)
    assert mounts_below(copied.directory) == []


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_foreground_mount_tells_the_service_manager_when_it_is_ready(
    copied: Imbfs, place: Path, kind: str
) -> None:
    address = str(copied.directory / "notify")[-100:] if kind == "path" else f"@imbfs-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(20)
        here = os.getcwd()
        try:
            if kind == "path":
                os.chdir(copied.directory)
                address = f"/proc/{os.getpid()}/cwd/notify"
            manager.bind("\0" + address[1:] if kind == "abstract" else address)
            with copied.start("mount", "-f", "latest", place, env={"NOTIFY_SOCKET": address}) as running:
                assert manager.recv(100) == b"READY=1"
                assert (place / "readme").read_bytes() == b"second\n"
                running.send(signal.SIGTERM)
                assert_no_traceback(running.result())
        finally:
            os.chdir(here)
    assert not mounted(copied, place)


def test_a_background_mount_logs_below_the_state_directory(copied: Imbfs, place: Path) -> None:
    copied.run("mount", "latest", place)
    log = copied.home() / ".local" / "state" / "imbfs" / "mount.log"
    assert log.exists()
    shutil_remove_data(copied)
    with pytest.raises(OSError):
        (place / "large").read_bytes()
    assert "large" in log.read_text()
    copied.run("umount", place)


def shutil_remove_data(imbfs: Imbfs) -> None:
    """All packs go; the index still knows the trees."""
    for path in (imbfs.repository / "packs").rglob("*"):
        if path.is_file():
            path.unlink()


def test_what_is_wrong_with_a_snapshot_is_logged_once_however_often_it_is_looked_for(
    copied: Imbfs, place: Path
) -> None:
    truncate(files_of(copied.repository, "manifest")[0])
    copied.run("mount", place, "--log-file", "my.log")
    for _ in range(3):
        assert len(os.listdir(place / "snapshots")) == 1
        time.sleep(0.5)
    lines = (copied.directory / "my.log").read_text().splitlines()
    assert len([line for line in lines if "manifest" in line]) == 1, lines
    copied.run("umount", place)


def test_the_log_file_can_be_chosen_by_a_relative_name(copied: Imbfs, place: Path) -> None:
    copied.run("mount", "latest", place, "--log-file", "my.log")
    shutil_remove_data(copied)
    with pytest.raises(OSError):
        (place / "large").read_bytes()
    assert "large" in (copied.directory / "my.log").read_text()
    assert not (copied.home() / ".local" / "state" / "imbfs" / "mount.log").exists()
    copied.run("umount", place)


def test_a_log_that_cannot_be_written_is_the_reason_of_a_failure(copied: Imbfs, place: Path) -> None:
    result = copied.run("mount", "latest", place, "--log-file", "/proc/no/log", check=False)
    assert_clear_error(result, FAILED, "/proc/no/log")
    assert not mounted(copied, place)


def test_an_idle_mount_ends_with_its_process(copied: Imbfs, place: Path) -> None:
    copied.run("mount", "latest", place, "--idle-timeout", "0.6")
    with (place / "readme").open("rb") as file:
        assert file.read() == b"second\n"
    wait_until(lambda: not mounted(copied, place), "the end of the mount", 10)
    wait_until(lambda: not drivers_of(copied, place), "the end of its process", 20)


def test_owner_and_permissions_can_be_chosen(history: History) -> None:
    with history.imbfs.mounted("latest", "-o", "uid=1234,gid=5678", "-o", "umask=027") as mount:
        for path in (mount, mount / "readme", mount / "sub" / "deeper"):
            status = path.lstat()
            assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1234, 5678, 0o750)


def test_the_kernel_is_told_whose_mount_it_is_and_who_may_enter(history: History) -> None:
    with history.imbfs.mounted("latest", "-o", "allow_other,noexec") as mount:
        device, options = options_of(mount)
        assert device == f"{history.imbfs.repository}#latest"
        assert {"allow_other", "default_permissions"} <= set(options.split(","))
        assert os.statvfs(mount).f_flag & os.ST_NOEXEC
    with history.imbfs.mounted() as mount:
        device, options = options_of(mount)
        assert device == str(history.imbfs.repository)
        assert "allow_other" not in options


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("no_such_option", "no_such_option"),
        ("uid=nobody-at-all", "uid=nobody-at-all"),
        ("umask=9", "umask=9"),
        ("rw", "rw"),
        ("layout=other", "layout"),
        ("layout=shadow", "layout"),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_its_name(
    copied: Imbfs, place: Path, option: str, reason: str
) -> None:
    result = copied.run("mount", "-o", option, "latest", place, check=False)
    assert result.code in (1, 2), result
    assert_no_traceback(result)
    assert reason in result.errors
    assert len(result.errors.splitlines()) == 1
    assert not mounted(copied, place)


def test_umount_of_a_mount_in_use_names_the_process(history: History) -> None:
    with history.imbfs.mounted("latest") as mount:
        holder = subprocess.Popen(["sleep", "60"], cwd=mount / "sub")
        try:
            result = history.imbfs.run("umount", mount, check=False)
            assert_clear_error(result, FAILED, f"{holder.pid} (sleep)")
            assert (mount / "readme").exists()
        finally:
            holder.kill()
            holder.wait()


def test_after_its_driver_was_killed_the_next_mount_cleans_up(copied: Imbfs, place: Path) -> None:
    copied.run("mount", place)
    for process in processes_marked(copied.mark):
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: not processes_marked(copied.mark), "the end of the driver")
    with pytest.raises(OSError):
        os.listdir(place)
    copied.run("mount", "latest", place)
    assert (place / "large").read_bytes() == FILES[b"large"]
    copied.run("umount", place)
    assert mounts_below(copied.directory) == []


def test_writes_are_refused_with_erofs_in_every_view(history: History) -> None:
    for selector, options in ((None, []), ("latest", []), ("latest", ["--increment"])):
        with history.imbfs.mounted(selector, *options) as mount:
            first = next(iter(mount.iterdir()))
            writes: list[Callable[[], object]] = [
                (mount / "absent").touch,
                (mount / "absent").mkdir,
                partial(first.rename, mount / "other"),
                partial(os.utime, mount),
                partial(os.setxattr, mount, "user.x", b""),
            ]
            for write in writes:
                with pytest.raises(OSError, match="Read-only file system"):
                    write()


# What mount(8) and fstab call.


def test_mount_8_mounts_what_its_source_names(copied: Imbfs, place: Path) -> None:
    """With the helper where mount(8) looks for it, in mounts that only this test sees."""
    helper = copied.directory / "mount.fuse.imbfs"
    command = shlex.join([sys.executable, "-m", "backup.cli.mount_helper"])
    environment = copied.environment()
    exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items())
    helper.write_text(f'#!/bin/sh\n{exports}exec {command} "$@"\n')
    helper.chmod(0o755)
    source = f"{copied.repository}#latest~1:sub"
    line = f"{source} {place} fuse.imbfs noauto,user,_netdev,nofail,x-systemd.automount,X-mount.mkdir,ro 0 0"
    (copied.directory / "fstab").write_text(line + "\n")
    quoted = shlex.quote(str(place))
    script = f"""
        set -e
        mount -t tmpfs none /sbin/
        cp {shlex.quote(str(helper))} /sbin/
        mount -t fuse.imbfs -o noauto,x-systemd.automount,_netdev,noatime,umask=022 {source} {quoted}
        ls {quoted}
        findmnt --noheadings --output SOURCE,FSTYPE {quoted}
        umount {quoted}
        mount --fstab {shlex.quote(str(copied.directory / "fstab"))} {quoted}
        cat {quoted}/deeper/"same as readme"
        umount {quoted}
    """
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], env=environment, capture_output=True, timeout=60
    )
    expected = f"deeper\none\n{source} fuse.imbfs\nhello\n"
    assert (run.returncode, run.stdout.decode()) == (0, expected), run.stderr.decode()
    wait_until(lambda: not processes_marked(copied.mark), "the end of the drivers")
    assert not mounted(copied, place)


def helper(imbfs: Imbfs, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "backup.cli.mount_helper", *arguments]
    return subprocess.run(command, env=imbfs.environment(), capture_output=True, timeout=60)


def test_the_helper_tells_failures_with_an_exit_code(copied: Imbfs, place: Path) -> None:
    wrong = helper(copied, f"{copied.repository}#nothing", place, "-o", "rw")
    assert wrong.returncode == FAILED
    assert b"nothing" in wrong.stderr
    assert helper(copied, "/no/repository", place).returncode == NO_REPOSITORY
    assert not mounted(copied, place)


def test_the_helper_mounts_nothing_where_it_is_asked_not_to(copied: Imbfs, place: Path) -> None:
    assert helper(copied, copied.repository, place, "-f").returncode == DONE
    assert not mounted(copied, place)


def test_options_of_fstab_that_are_not_the_file_systems_are_left_out() -> None:
    others = (
        "defaults,noauto,nofail,_netdev,users,x-systemd.automount,x-systemd.idle-timeout=1min,x-gvfs-show"
    )
    line = command_line("/srv/r#latest", "/mnt", [f"ro,{others},comment=mine,user=me,X-mount.mkdir,uid=5"])
    assert line == [
        "--repo",
        "/srv/r",
        "--quiet",
        "mount",
        "-o",
        "fsname=/srv/r#latest,uid=5",
        "latest",
        "/mnt",
    ]


def test_a_repository_and_a_path_in_it_may_have_a_number_sign(tmp_path: Path) -> None:
    plain, odd = tmp_path / "plain", tmp_path / "a#b#c"
    plain.mkdir()
    odd.mkdir()
    expected = {
        f"{odd}": (odd, []),
        f"{odd}#latest": (odd, ["latest"]),
        f"{odd}#latest:one#two": (odd, ["latest:one#two"]),
        f"{plain}#latest:one#two": (plain, ["latest:one#two"]),
        f"{plain}#": (plain, []),
        f"{tmp_path}/absent#latest": (tmp_path / "absent", ["latest"]),
    }
    for source, (repository, snapshot) in expected.items():
        line = command_line(source, "/mnt", [])
        assert line[:2] == ["--repo", str(repository)]
        assert line[4:] == ["-o", f"fsname={source}", *snapshot, "/mnt"]


def test_options_of_the_helper_become_those_of_the_command() -> None:
    line = command_line("/srv/r#a..b", "/mnt", ["increment,idle_timeout=60"])
    assert line[3:] == [
        "mount",
        "--increment",
        "--idle-timeout",
        "60",
        "-o",
        "fsname=/srv/r#a..b",
        "a..b",
        "/mnt",
    ]


def test_a_repository_with_a_comma_in_its_name_is_mounted_by_the_helper(copied: Imbfs, place: Path) -> None:
    other = copied.directory / "a,b"
    copied.repository.rename(other)
    run = helper(copied, f"{other}#latest", place, "-o", "rw,noatime")
    assert run.returncode == DONE, run.stderr
    assert options_of(place)[0] == f"{other}#latest"
    assert (place / "readme").read_bytes() == b"second\n"
    copied.run("umount", place)


# Who pays for the driver.

WITHOUT_DRIVER = """
import sys
import time
from backup.cli.main import main
try:
    main()
finally:
    loaded = {"trio", "pyfuse3", "fusefs"} & set(sys.modules)
    print("loaded:", *sorted(loaded), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "command",
    [
        ["snapshots"],
        ["ls", "latest"],
        ["cat", "latest:readme"],
        ["show", "latest"],
        ["backup", "tree"],
        ["restore", "latest", "--target", "restored"],
        ["check"],
        ["--help"],
        ["mount", "--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_a_command_that_mounts_nothing_does_not_load_the_driver(copied: Imbfs, command: list[str]) -> None:
    (copied.directory / "tree").mkdir()
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_DRIVER, "--repo", copied.repository, *command],
        env={**copied.environment(), MARK: copied.mark},
        cwd=copied.directory,
        capture_output=True,
        timeout=60,
    )
    assert run.returncode == DONE, run.stderr
    assert run.stderr.splitlines()[-1] == b"loaded:"
