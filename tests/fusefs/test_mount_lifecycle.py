"""How a mount begins, and all the ways in which it ends."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusefs.mountinfo import mounted_at
from fusefs.mountpoint import MountError, check_mountpoint, unmount
from fusefs.processes import driver_of
from tests.fusefs.conftest import (
    Driver,
    Mounter,
    environment,
    lazily_unmount,
    mount_points,
    run_driver,
    wait_until,
)

TICKS = os.sysconf("SC_CLK_TCK")
MNT_DETACH = 2


def is_mounted(path: Path) -> bool:
    return os.fsencode(path) in mount_points()


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unmounts_and_ends_with_success(mount: Mounter, number: signal.Signals) -> None:
    driver = mount("small")
    driver.process.send_signal(number)
    assert driver.ended() == 0
    assert not is_mounted(driver.at)
    assert "view closed" in driver.log.read_text()


def test_a_signal_ends_a_mount_in_use(mount: Mounter) -> None:
    driver = mount()
    with subprocess.Popen(["cat", "slow"], cwd=driver.at, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.read(1) == b"\0"
        driver.process.terminate()
        assert driver.ended() == 0
        assert not is_mounted(driver.at)
        reader.kill()


def test_an_unmount_from_outside_ends_the_driver(mount: Mounter) -> None:
    driver = mount("small")
    subprocess.run(["umount", driver.at], check=True)
    assert driver.ended() == 0


def test_a_lazy_unmount_while_reading_ends_the_driver_with_the_reader(mount: Mounter) -> None:
    driver = mount()
    with (driver.at / "slow").open("rb") as file:
        file.read(10)
        assert ctypes.CDLL(None).umount2(bytes(driver.at), MNT_DETACH) == 0
        assert len(file.read()) > 1_000_000
    assert driver.ended() == 0


def test_an_aborted_connection_leaves_no_dead_mount(mount: Mounter, tmp_path: Path) -> None:
    driver = mount("small")
    minor = os.minor(driver.at.stat().st_dev)
    control = tmp_path / "control"
    control.mkdir()
    subprocess.run(["mount", "-t", "fusectl", "none", control], check=True)
    try:
        (control / str(minor) / "abort").write_text("1")
    finally:
        subprocess.run(["umount", control], check=True)
    assert driver.ended() == 0
    assert not is_mounted(driver.at)


def test_unmount_returns_after_the_driver_has_ended(mount: Mounter) -> None:
    driver = mount("small")
    found = mounted_at(bytes(driver.at))
    assert found is not None
    assert driver_of(found) == driver.pid
    unmount(driver.at)
    assert driver.ended(0.5) == 0
    assert "view closed" in driver.log.read_text()


def test_unmount_follows_a_link_to_the_mount_point(mount: Mounter, tmp_path: Path) -> None:
    driver = mount("small")
    (tmp_path / "link").symlink_to(driver.at)
    unmount(tmp_path / "link")
    assert driver.ended() == 0


HOLDERS = {
    "place": "import os, sys; os.chdir(sys.argv[1]); {wait}",
    "file": "import sys; f = open(sys.argv[1] + '/small'); {wait}",
    "mapping": "import sys, mmap; f = open(sys.argv[1] + '/large', 'rb'); "
    "m = mmap.mmap(f.fileno(), 0, prot=1); f.close(); {wait}",
}


@pytest.mark.parametrize("program", HOLDERS.values(), ids=HOLDERS)
def test_unmounting_a_busy_mount_names_who_uses_it(driver: Driver, program: str) -> None:
    wait = "print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program.format(wait=wait), str(driver.at)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(MountError, match=rf"is busy: in use by process {holder.pid} \(python"):
            unmount(driver.at)
        holder.communicate()
    assert (driver.at / "small").read_bytes() == b"small content\n"


def test_a_mount_that_is_busy_for_a_moment_is_waited_for(mount: Mounter) -> None:
    driver = mount()
    held = os.open(driver.at / "small", os.O_RDONLY)  # by this process, which is never named
    with pytest.raises(MountError, match="cannot unmount"):
        unmount(driver.at)
    with contextlib.ExitStack() as stack:
        timer = threading.Timer(0.1, os.close, (held,))
        stack.callback(timer.join)
        timer.start()
        unmount(driver.at)
    assert driver.ended() == 0


def test_unmounting_below_another_mount_says_where_that_is(mount: Mounter) -> None:
    driver = mount()
    sticky = driver.at / "sticky"
    subprocess.run(["mount", "-t", "tmpfs", "none", sticky], check=True)
    try:
        with pytest.raises(MountError, match=f"something is mounted below it, at {sticky}"):
            unmount(driver.at)
    finally:
        subprocess.run(["umount", sticky], check=True)


def test_only_our_mounts_are_unmounted(tmp_path: Path) -> None:
    with pytest.raises(MountError, match="is not mounted"):
        unmount(tmp_path)
    with pytest.raises(MountError, match="is not a mount of imbfs but proc"):
        unmount("/proc")
    assert os.path.ismount("/proc")


@pytest.fixture
def dead(mount: Mounter) -> Driver:
    driver = mount()
    os.listdir(driver.at)
    driver.process.kill()
    driver.process.wait()
    assert is_mounted(driver.at)
    return driver


def test_a_dead_mount_is_removed_to_mount_there_again(dead: Driver) -> None:
    assert check_mountpoint(dead.at) == str(dead.at)
    assert not is_mounted(dead.at)


def test_a_dead_mount_can_be_unmounted_although_in_use(dead: Driver, mount: Mounter) -> None:
    unmount(dead.at)
    assert not is_mounted(dead.at)


def test_a_dead_mount_of_another_program_is_left_alone(dead: Driver, tmp_path: Path) -> None:
    """Told by its type alone."""
    found = mounted_at(bytes(dead.at))
    assert found is not None
    assert found.ours
    assert not found._replace(kind=b"fuse.sshfs").ours


def test_a_mount_point_is_an_empty_directory(tmp_path: Path, mount: Mounter) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(MountError, match="No such file"):
        check_mountpoint(tmp_path / "absent")
    with pytest.raises(MountError, match="Not a directory"):
        check_mountpoint(tmp_path / "file")
    with pytest.raises(MountError, match="is not empty"):
        check_mountpoint(tmp_path)
    assert check_mountpoint(tmp_path / "." / "empty") == str(tmp_path / "empty")
    driver = mount("small", "fsname=a place, and more")
    with pytest.raises(MountError, match=r"is a mount point already \(of a place, and more\)"):
        check_mountpoint(driver.at)
    assert is_mounted(driver.at)


def test_strange_names_of_mount_points_and_devices(tmp_path: Path, mark: str) -> None:
    at = bytes(tmp_path) + b"/new\nline \\ tab\t\xff#"
    os.mkdir(at)
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = run_driver(
            mark, "serve", "small", os.fsdecode(at), "fsname=d\u00e9p\u00f4t, \\ \n", output=output
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", log.read_text()
        found = mounted_at(at)
        assert found is not None
        assert found.source == "d\u00e9p\u00f4t, \\ \n".encode()
        unmount(at)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.communicate()
        while mounted_at(at):
            ctypes.CDLL(None).umount2(at, MNT_DETACH)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("no_such_option", "unknown option"),
        ("max_read=4096", "max_read cannot be given"),
        ("subtype=other", "subtype cannot be given"),
    ],
)
def test_a_wrong_option_is_refused_with_its_reason(mount: Mounter, option: str, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        mount("small", option)


def test_owner_and_permissions_can_be_chosen(mount: Mounter) -> None:
    driver = mount("plain", "uid=1234", "gid=5678", "umask=077")
    status = (driver.at / "acl").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 5678, 0o700)


def test_read_ahead_is_large(driver: Driver) -> None:
    found = mounted_at(bytes(driver.at))
    assert found is not None
    assert Path(f"/sys/class/bdi/{found.device}/read_ahead_kb").read_text() == "4096\n"


def test_a_mount_at_rest_uses_no_processor(mount: Mounter) -> None:
    driver = mount()
    assert (driver.at / "large").read_bytes()
    time.sleep(0.2)
    before = processor_seconds(driver.pid)
    time.sleep(1)
    assert processor_seconds(driver.pid) - before <= 1 / TICKS


def test_an_idle_mount_ends_after_its_time_unless_in_use(mount: Mounter) -> None:
    driver = mount("small", IDLE="1")
    with subprocess.Popen(["sleep", "60"], cwd=driver.at) as holder:
        time.sleep(2.2)
        assert is_mounted(driver.at)
        holder.kill()
    assert driver.ended() == 0
    assert not is_mounted(driver.at)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A mount point for the background."""
    path = tmp_path / "place"
    path.mkdir()
    yield path
    found = mounted_at(bytes(path))
    pid = driver_of(found) if found else None
    lazily_unmount(path)
    if pid is not None:
        wait_until(lambda: is_over(pid), "the driver's end")


def is_over(pid: int) -> bool:
    """Ended; whether its parent has taken note of it is not ours to say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def in_background(place: Path, mark: str, kind: str, *options: str) -> tuple[int, str, str]:
    """The starting command's exit code, its output and its errors."""
    errors = place.with_name("errors")
    with errors.open("wb") as output:
        log = str(place.with_name("log") / "mount.log")
        process = run_driver(mark, "background", kind, place, *options, output=output, LOG=log)
    stdout, _ = process.communicate(timeout=20)
    return process.returncode, stdout.decode(), errors.read_text()


def test_the_background_mount_answers_when_the_command_returns(place: Path, mark: str) -> None:
    code, output, errors = in_background(place, mark, "plain")
    assert (code, errors) == (0, "")
    assert (place / "small").read_bytes() == b"small content\n"
    pid = int(output)
    assert os.getsid(pid) != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    with pytest.raises(PermissionError):
        (place / "raises-denied").stat()
    with pytest.raises(OSError):
        (place / "damaged").read_bytes()
    unmount(place)
    assert is_over(pid)
    log = place.with_name("log") / "mount.log"
    assert "ERROR read: ValueError: an object does not hash to its name" in log.read_text()


def test_the_background_closes_its_view(place: Path, mark: str) -> None:
    assert in_background(place, mark, "small")[0] == 0
    unmount(place)
    assert place.with_name("log").joinpath("mount.log").read_text() == "view made\nview closed\n"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("no_view", (), "CustomError: no such repository"),
        ("unspeakable", (), "MountError: Local: not to be carried over"),
        ("killed", (), "MountError: the driver ended before the mount answered"),
        ("without_root", (), "MountError: the mount at {place} does not answer: Input/output error"),
        (
            "small",
            ("nonsense",),
            "MountError: cannot mount on {place}: fuse: unknown option(s): `-o nonsense'",
        ),
    ],
)
def test_a_failure_in_the_background_is_told_with_its_reason(
    place: Path, mark: str, kind: str, options: tuple[str, ...], message: str
) -> None:
    code, output, errors = in_background(place, mark, kind, *options)
    assert (code, output) == (1, "")
    assert errors == message.format(place=place) + "\n"
    assert not is_mounted(place)


#: Becomes the user only after all is imported: this Python may lie where that user cannot read. In
#: mounts of its own it has a /dev/fuse for everybody, as distributions set it up.
AS_ORDINARY_USER = """
import ctypes, os, stat, subprocess, sys
from pathlib import Path
from fusefs.background import mount_in_background
from fusefs.mountpoint import MountError, check_mountpoint, unmount
from tests.fusefs.driver import plain
directory, user = Path(sys.argv[1]), int(sys.argv[2])
libc = ctypes.CDLL(None)
assert libc.unshare(0x20000) == 0
assert libc.mount(None, b"/", None, 0x44000, None) == 0
device = directory / "fuse"
os.mknod(device, stat.S_IFCHR, os.makedev(10, 229))
device.chmod(0o666)
assert libc.mount(bytes(device), b"/dev/fuse", None, 0x1000, None) == 0
os.setgroups([]), os.setgid(user), os.setuid(user)
libc.prctl(4, 1)  # as after an exec: /proc/self is ours
place = directory / "place"
check_mountpoint(place)
mount_in_background(plain, str(place), ["fsname=d\u00e9p\u00f4t, x"], log_file=directory / "mount.log")
try:
    assert Path(place, "small").read_text() == "small content\\n"
    assert "d\u00e9p\u00f4t,\\\\040x" in Path("/proc/self/mountinfo").read_text()
    holder = subprocess.Popen(["sleep", "60"], cwd=place)
    try:
        unmount(place)
    except MountError as error:
        assert f"is busy: in use by process {holder.pid} (sleep)" in str(error), error
    else:
        raise AssertionError
    holder.kill(), holder.wait()
finally:
    unmount(place)
assert not Path(place, "small").exists()
"""


def test_an_ordinary_user_mounts_and_unmounts(open_path: Path, mark: str) -> None:
    user = 65534
    (open_path / "place").mkdir()
    for path in (open_path, open_path / "place"):
        os.chown(path, user, user)
    command = [sys.executable, "-c", AS_ORDINARY_USER, str(open_path), str(user)]
    done = subprocess.run(command, env=environment(mark), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
