"""`mount` and `umount`, through the kernel."""

import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.check import DONE, FAILED, assert_clear_error, assert_no_traceback
from tests.support.compare import differences
from tests.support.imbfs import Imbfs, command_of, mounts_below, processes_marked, wait_until
from tests.support.small import FILES, bytes_of

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="this kernel has no /dev/fuse")


def mounted(imbfs: Imbfs, place: Path) -> bool:
    return place in mounts_below(imbfs.directory)


def test_a_mount_shows_the_snapshot_exactly(saved: Imbfs, source: Path) -> None:
    with saved.mounted("latest") as mount:
        assert differences(source, mount) == []
        assert differences(mount, source) == []


def test_a_directory_of_a_snapshot_is_mounted_alone(saved: Imbfs, source: Path) -> None:
    with saved.mounted("latest:sub/deeper") as mount:
        assert sorted(os.listdir(mount)) == ["same as readme", "two"]
        assert (mount / "two").read_bytes() == FILES[b"sub/deeper/two"]


def test_an_older_snapshot_shows_what_was(saved: Imbfs, source: Path) -> None:
    """Parity row 33: any older date restored, and verified after."""
    (source / "readme").write_text("now\n")
    saved.run("backup", source)
    with saved.mounted("latest~1") as mount:
        assert (mount / "readme").read_bytes() == FILES[b"readme"]
    with saved.mounted("latest") as mount:
        assert (mount / "readme").read_text() == "now\n"


def test_every_part_of_a_file_can_be_read_by_itself(copied: Imbfs) -> None:
    data = FILES[b"large"]
    with copied.mounted("latest") as mount, (mount / "large").open("rb") as file:
        for offset in (0, 1, 4095, 131_072, 1_048_575, len(data) - 5, len(data), len(data) + 10):
            for size in (1, 10, 5000, 200_000):
                assert os.pread(file.fileno(), size, offset) == data[offset : offset + size]


WRITES: dict[str, Callable[[Path], object]] = {
    "create": lambda mount: (mount / "new").touch(),
    "overwrite": lambda mount: (mount / "readme").write_text("x"),
    "append": lambda mount: (mount / "readme").open("a"),
    "unlink": lambda mount: (mount / "readme").unlink(),
    "mkdir": lambda mount: (mount / "new").mkdir(),
    "rmdir": lambda mount: (mount / "empty-directory").rmdir(),
    "rename": lambda mount: (mount / "readme").rename(mount / "other"),
    "chmod": lambda mount: (mount / "readme").chmod(0o600),
    "utime": lambda mount: os.utime(mount / "readme"),
    "chown": lambda mount: os.chown(mount / "readme", 1, 1),
    "symlink": lambda mount: (mount / "new").symlink_to("x"),
    "link": lambda mount: os.link(mount / "readme", mount / "new"),
    "truncate": lambda mount: os.truncate(mount / "readme", 0),
    "setxattr": lambda mount: os.setxattr(mount / "readme", "user.new", b""),
    "mkfifo": lambda mount: os.mkfifo(mount / "new"),
}


def test_every_write_is_refused_with_erofs(copied: Imbfs) -> None:
    with copied.mounted("latest") as mount:
        refusals = {}
        for name, write in WRITES.items():
            with pytest.raises(OSError) as refusal:
                write(mount)
            refusals[name] = errno.errorcode[refusal.value.errno or 0]
        assert refusals == dict.fromkeys(WRITES, "EROFS")


def test_hard_links_are_one_inode_with_the_true_count(copied: Imbfs) -> None:
    with copied.mounted("latest") as mount:
        one, other = os.lstat(mount / "readme"), os.lstat(mount / "sub" / "link to readme")
        assert one.st_ino == other.st_ino
        assert one.st_nlink == other.st_nlink == 2
        assert os.lstat(mount / "large").st_nlink == 1


def test_every_inode_number_is_one_thing(copied: Imbfs) -> None:
    with copied.mounted("latest") as mount:
        paths = [mount, *mount.rglob("*")]
        numbers = {path: path.lstat().st_ino for path in paths}
        assert len(set(numbers.values())) == len(paths) - 1, "only the two names of readme share one"
        assert {path: path.lstat().st_ino for path in paths} == numbers
        listed = {entry.path: entry.inode() for entry in os.scandir(mount)}
        assert listed == {str(path): numbers[path] for path in paths if path.parent == mount}


def output(*command: str | Path) -> str:
    result = subprocess.run(command, check=True, capture_output=True, timeout=60)
    return result.stdout.decode(errors="replace")


def test_find_prints_the_same_of_the_source_and_the_mount(saved: Imbfs, source: Path) -> None:
    # How large a directory is, and what it counts as links, is the file system's business.
    directories = ["-type", "d", "-printf", "%P %m %u %T@\\n"]
    others = ["-not", "-type", "d", "-printf", "%P %m %u %s %n %T@ %l\\n"]
    with saved.mounted("latest") as mount:
        for wanted in (directories, others):
            found = [sorted(output("find", tree, *wanted).splitlines()) for tree in (source, mount)]
            assert found[0] == found[1]


def test_tar_of_a_mount_unpacks_equal(saved: Imbfs, source: Path, tmp_path: Path) -> None:
    with saved.mounted("latest") as mount:
        subprocess.run(["tar", "-C", mount, "-cf", tmp_path / "mount.tar", "."], check=True)
    (tmp_path / "untarred").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "untarred", "-xpf", tmp_path / "mount.tar"], check=True)
    assert differences(source, tmp_path / "untarred") == []


def test_du_counts_what_the_files_take(saved: Imbfs, source: Path) -> None:
    with saved.mounted("latest") as mount:
        taken = int(output("du", "-s", "--block-size=1", mount).split()[0])
        plain = sum(map(len, FILES.values()))
        assert plain <= taken <= plain + 4096 * 2 * len(FILES)


def test_df_says_that_a_mount_has_no_room(copied: Imbfs) -> None:
    with copied.mounted("latest") as mount:
        status = os.statvfs(mount)
        assert status.f_bavail == status.f_bfree == 0
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        assert used >= sum(map(len, FILES.values()))
        assert status.f_namemax == 255
        assert status.f_flag & os.ST_RDONLY


def test_cp_a_of_a_mount_is_equal(saved: Imbfs, source: Path, tmp_path: Path) -> None:
    with saved.mounted("latest") as mount:
        subprocess.run(["cp", "-a", mount, tmp_path / "copy"], check=True)
    assert differences(source, tmp_path / "copy") == []


def test_a_backup_beside_a_mount_works_and_leaves_it_as_it_is(saved: Imbfs, source: Path) -> None:
    with saved.mounted("latest") as mount:
        (source / "readme").write_text("now\n")
        saved.run("backup", source)
        assert (mount / "readme").read_bytes() == FILES[b"readme"]
        assert bytes_of(mount)[b"large"] == FILES[b"large"]


def test_two_mounts_of_one_repository_work_side_by_side(saved: Imbfs, source: Path) -> None:
    with saved.mounted("latest") as one, saved.mounted("latest:sub") as other:
        assert differences(one / "sub", other, root=False) == []


def test_a_mount_with_many_readers_at_once_gives_each_the_right_bytes(saved: Imbfs, source: Path) -> None:
    with saved.mounted("latest") as mount:
        readers = [
            subprocess.Popen(["cmp", source / name, mount / name])
            for name in ["large", "sub/deeper/two", "sub/one", "readme"] * 8
        ]
        assert [reader.wait(60) for reader in readers] == [0] * len(readers)


# What is refused.


@pytest.mark.parametrize("place", ["repository", "repository/packs", "not-empty", "file", "missing"])
def test_a_mount_is_refused_where_it_would_hide_or_break_something(copied: Imbfs, place: str) -> None:
    (copied.directory / "not-empty").mkdir()
    (copied.directory / "not-empty" / "something").touch()
    (copied.directory / "file").touch()
    result = copied.run("mount", "latest", copied.directory / place, check=False)
    assert result.code in (1, 2), result
    assert_no_traceback(result)
    assert place.split("/")[-1] in result.errors
    assert mounts_below(copied.directory) == []


def test_a_mount_inside_the_repository_is_refused_even_if_empty(copied: Imbfs) -> None:
    (copied.repository / "empty").mkdir()
    result = copied.run("mount", "latest", copied.repository / "empty", check=False)
    assert result.code in (1, 2), result
    assert mounts_below(copied.directory) == []


def test_an_unknown_snapshot_or_path_is_exit_1_and_no_mount(copied: Imbfs) -> None:
    (copied.directory / "mountpoint").mkdir()
    for selector in ("latest~9", "tag:none", "latest:no/such"):
        result = copied.run("mount", selector, copied.directory / "mountpoint", check=False)
        assert_clear_error(result, FAILED)
    assert mounts_below(copied.directory) == []


def test_an_increment_whose_parent_is_gone_says_so_when_it_is_mounted(saved: Imbfs, source: Path) -> None:
    place = saved.directory / "place"
    place.mkdir()
    ids = [saved.run("--json", "snapshots").json()[0]["id"]]
    for text in ("second\n", "third\n"):
        (source / "readme").write_text(text)
        saved.run("backup", source)
        ids.append(saved.run("--json", "snapshots").json()[-1]["id"])
    saved.run("forget", ids[1])
    told = saved.run("mount", "--increment", ids[2], place)
    try:
        assert told.errors == f"imbfs: the parent of {ids[2][:12]} is gone: compared with {ids[0][:12]}\n"
        assert (place / "files" / "readme").read_text() == "third\n"
    finally:
        saved.run("umount", place)


def test_a_mount_of_a_file_shows_the_directory_that_it_is_in(copied: Imbfs) -> None:
    place = copied.directory / "mountpoint"
    place.mkdir()
    copied.run("mount", "latest:sub/one", place)
    shown = os.listdir(place)
    copied.run("umount", place)
    assert "one" in shown


@pytest.mark.parametrize("name", [b"two words", b"new\nline", b"\xff", b"a:b", b"back\\slash", b"-dash"])
def test_a_mount_point_may_have_any_name(copied: Imbfs, name: bytes) -> None:
    place = os.path.join(os.fsencode(copied.directory), name)
    os.mkdir(place)
    copied.run("mount", "latest", place)
    assert b"readme" in os.listdir(place)
    copied.run("umount", place)
    assert mounts_below(copied.directory) == []


def test_umount_of_what_is_no_mount_is_exit_1(copied: Imbfs) -> None:
    (copied.directory / "mountpoint").mkdir()
    assert_clear_error(copied.run("umount", copied.directory / "mountpoint", check=False), FAILED)
    assert_clear_error(copied.run("umount", copied.directory / "missing", check=False), FAILED)


def test_a_mount_in_use_is_not_taken_away(copied: Imbfs) -> None:
    with copied.mounted("latest") as mount, (mount / "readme").open("rb") as file:
        result = copied.run("umount", mount, check=False)
        assert result.code == FAILED, result
        assert_no_traceback(result)
        assert file.read() == FILES[b"readme"]


# How a mount begins and ends.


def test_umount_ends_the_driver(copied: Imbfs) -> None:
    with copied.mounted("latest"):
        assert processes_marked(copied.mark)
    assert processes_marked(copied.mark) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_ends_a_foreground_mount_cleanly(copied: Imbfs, number: signal.Signals) -> None:
    place = copied.directory / "mountpoint"
    place.mkdir()
    with copied.start("mount", "--foreground", "latest", place) as running:
        wait_until(lambda: mounted(copied, place) and (place / "readme").exists(), "the mount")
        running.send(number)
        result = running.result()
    assert_no_traceback(result)
    assert not mounted(copied, place)


def test_umount_ends_a_foreground_mount_with_exit_0(copied: Imbfs) -> None:
    place = copied.directory / "mountpoint"
    place.mkdir()
    with copied.start("mount", "-f", "latest", place) as running:
        wait_until(lambda: mounted(copied, place) and (place / "readme").exists(), "the mount")
        copied.run("umount", place)
        assert running.result().code == DONE


def test_fusermount_ends_a_mount_too(copied: Imbfs) -> None:
    place = copied.directory / "mountpoint"
    place.mkdir()
    copied.run("mount", "latest", place)
    subprocess.run(["fusermount3", "-u", place], check=True)
    wait_until(lambda: not processes_marked(copied.mark), "the end of the driver")


def kill_the_driver(imbfs: Imbfs, place: Path) -> None:
    imbfs.run("mount", "latest", place)
    for process in processes_marked(imbfs.mark):
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: not processes_marked(imbfs.mark), "the end of the driver")
    assert mounted(imbfs, place), "a killed driver leaves a dead mount: the kernel's way"


def test_a_dead_mount_is_recognised_and_replaced(copied: Imbfs) -> None:
    place = copied.directory / "mountpoint"
    place.mkdir()
    kill_the_driver(copied, place)
    copied.run("mount", "latest", place)
    assert (place / "readme").read_bytes() == FILES[b"readme"]
    copied.run("umount", place)
    assert mounts_below(copied.directory) == []


def test_umount_cleans_a_dead_mount(copied: Imbfs) -> None:
    place = copied.directory / "mountpoint"
    place.mkdir()
    kill_the_driver(copied, place)
    copied.run("umount", place)
    assert mounts_below(copied.directory) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare and setpriv (util-linux)")
def test_an_ordinary_user_mounts_his_own_snapshot(open_path: Path, ordinary_user: int, mark: str) -> None:
    """In a mount namespace of its own, where /dev/fuse is open to all as it is on any desktop."""
    os.chown(open_path, ordinary_user, ordinary_user)
    imbfs = Imbfs(open_path, mark)
    (open_path / "source").mkdir()
    (open_path / "source" / "file").write_text("mine\n")
    (open_path / "mountpoint").mkdir()
    os.chown(open_path / "mountpoint", ordinary_user, ordinary_user)
    imbfs.run("init", user=ordinary_user)
    imbfs.run("backup", open_path / "source", user=ordinary_user)
    command = shlex.join([*command_of(ordinary_user), "--repo", str(imbfs.repository)])
    script = f"{command} mount latest mountpoint && cat mountpoint/file && {command} umount mountpoint"
    device = open_path / "fuse"
    os.mknod(device, 0o20666, os.makedev(10, 229))
    device.chmod(0o666)
    user = ["setpriv", f"--reuid={ordinary_user}", f"--regid={ordinary_user}", "--clear-groups"]
    as_user = shlex.join([*user, "sh", "-c", script])
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"mount --bind {device} /dev/fuse && exec {as_user}"],
        cwd=open_path,
        env=imbfs.environment(ordinary_user),
        capture_output=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (0, b"mine\n"), result.stderr.decode()


def test_no_command_but_mount_pays_for_the_driver() -> None:
    script = (
        "import sys, backup.cli.main as main\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "assert not {'trio', 'pyfuse3'} & set(sys.modules), 'the driver was imported'\n"
    )
    result = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
