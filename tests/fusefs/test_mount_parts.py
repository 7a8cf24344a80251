"""Parts of the driver that need no mount."""

import errno
import stat

import pytest

from fusefs.device import fuse_descriptors
from fusefs.errors import Refused, errno_of, told_errno
from fusefs.loop import LONGEST_LOOK, SHORTEST_LOOK, Look
from fusefs.mountinfo import parse
from fusefs.mountpoint import MountError
from fusefs.options import libfuse_options
from fusefs.presented import presented
from fusefs.processes import named
from tests.fusefs.sample import sample


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (Refused(errno.EROFS), errno.EROFS),
        (Refused(errno.ENOSYS), errno.ENOSYS),
        (OSError(errno.ESTALE, "stale"), errno.ESTALE),
        (OSError(errno.ENOSPC, "full", "name"), errno.ENOSPC),
        (FileNotFoundError("no number"), errno.ENOENT),
        (NotADirectoryError(), errno.ENOTDIR),
        (IsADirectoryError(), errno.EISDIR),
        (PermissionError("no number"), errno.EACCES),
        (TimeoutError(), errno.ETIMEDOUT),
        (FileExistsError(), errno.EEXIST),
        (OSError("no number, no class"), errno.EIO),
        (ConnectionError(), errno.EIO),
        (OSError(0, "no error"), errno.EIO),
        (OSError(-5, "negative"), errno.EIO),
        (OSError(5000, "beyond all"), errno.EIO),
        (OSError("two", "words"), errno.EIO),
        (OSError(errno.ENOSYS, "never ask again"), errno.EIO),
        (KeyError("a bug"), errno.EIO),
        (MemoryError(), errno.EIO),
        (RecursionError(), errno.EIO),
        (SystemExit(1), errno.EIO),
        (KeyboardInterrupt(), errno.EIO),
    ],
    ids=repr,
)
def test_each_exception_has_one_errno(error: BaseException, number: int) -> None:
    assert errno_of(error) == number
    assert told_errno(error, "testing") == number


def test_a_message_of_many_lines_is_logged_as_one_and_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        told_errno(ValueError("first\nsecond"), "testing a log")
        told_errno(FileNotFoundError("of no interest"), "testing a log")
    assert [record.getMessage() for record in caplog.records] == [
        "testing a log: ValueError: first second",
    ]


def test_options_are_escaped_for_libfuse() -> None:
    assert libfuse_options([]) == {"fsname=imbfs", "subtype=imbfs", "default_permissions", "ro"}
    assert libfuse_options(["fsname=a,b \\ é", "allow_other"]) == {
        "fsname=a\\054b\\040\\134\\040\\303\\251",
        "subtype=imbfs",
        "default_permissions",
        "ro",
        "allow_other",
    }


@pytest.mark.parametrize("option", ["max_read=131072", "rw", "subtype=x"])
def test_options_that_would_do_harm_are_refused(option: str) -> None:
    with pytest.raises(MountError, match=option.partition("=")[0]):
        libfuse_options([option])


def test_the_table_of_mounts_is_read_byte_for_byte() -> None:
    table = (
        b"26 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n"
        b"44 26 0:57 / /new\\012line\\040\\134\\011\xff\\043 ro - fuse.imbfs a\\040b ro,user_id=1000\n"
        b"45 26 0:58 / /x\\040- rw - tmpfs - rw\n"
    )
    root, ours, dash = parse(table)
    assert (root.number, root.kind, root.source) == (26, b"ext4", b"/dev/vda")
    assert (ours.point, ours.source) == (b"/new\nline \\\t\xff#", b"a b")
    assert (ours.parent, ours.device, ours.minor, ours.ours) == (26, "0:57", 57, True)
    assert (dash.point, dash.source, dash.ours) == (b"/x -", b"-", False)


def test_processes_are_named_and_the_rest_counted() -> None:
    assert named([1 << 30]) == f"{1 << 30} (?)"
    assert named([1 << 30] * 7).endswith(" and 2 more")


def test_no_device_is_open_without_a_mount() -> None:
    assert fuse_descriptors() == set()


def test_other_owners_and_permissions_can_be_shown() -> None:
    view, rest = presented(sample(), ["uid=5", "allow_other", "umask=027"])
    assert rest == ["allow_other"]
    status = view.lookup(1, b"owned")
    assert (status.mode, status.uid, status.gid) == (stat.S_IFREG | 0o750, 5, 77)
    assert view.attributes(1).uid == 5
    assert {entry.uid for _, entry, _ in view.entries(1, 0)} == {5}
    assert view.xattr_names(view.lookup(1, b"acl").ino) == []
    assert view.xattr_names(view.lookup(1, b"xattrs").ino) == [b"user.one", b"user.none"]


def test_without_such_options_the_view_is_the_same() -> None:
    view = sample()
    assert presented(view, ["allow_other"]) == (view, ["allow_other"])


@pytest.mark.parametrize("option", ["uid", "uid=me", "gid=-1", "umask=8", "umask=1000", "uid=4294967296"])
def test_owners_and_permissions_are_numbers(option: str) -> None:
    with pytest.raises(MountError, match=option):
        presented(sample(), [option])


def test_after_a_pause_the_loop_looks_as_long_as_before_when_requests_come_quickly_again() -> None:
    look = Look()
    for _ in range(10):
        look.slept(2_000_000)
    assert look.ns == SHORTEST_LOOK
    for _ in range(10):
        look.slept(50_000)
    assert look.ns == LONGEST_LOOK
