"""Extended attributes, targets and owners as they are on the live tree."""

import errno
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.source.attributes import OwnerNames, read_target, read_xattrs
from tests.support.everything import remove_tree

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can set these")


@pytest.fixture
def place(real_disk: Path) -> Iterator[Path]:
    path = real_disk / "attributes"
    path.mkdir()
    yield path
    remove_tree(path)


@pytest.fixture
def top(place: Path) -> Iterator[int]:
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_xattrs_are_sorted_and_the_same_by_name_and_by_descriptor(place: Path, top: int) -> None:
    (place / "f").touch()
    for name in (b"user.z", b"user.a", b"user.caf\xe9\xff"):
        os.setxattr(place / "f", name, b"value of " + name)
    os.setxattr(place / "f", "user.empty", b"")
    wanted = (
        (b"user.a", b"value of user.a"),
        (b"user.caf\xe9\xff", b"value of user.caf\xe9\xff"),
        (b"user.empty", b""),
        (b"user.z", b"value of user.z"),
    )
    assert read_xattrs(top, b"f") == wanted
    fd = os.open(place / "f", os.O_RDONLY)
    assert read_xattrs(top, b"f", fd) == wanted
    os.close(fd)


@root_only
def test_acls_capabilities_and_the_system_spaces_are_xattrs(place: Path, top: int) -> None:
    (place / "f").touch()
    subprocess.run(["setfacl", "-m", "u:1:r", place / "f"], check=True)
    subprocess.run(["setcap", "cap_chown+ep", place / "f"], check=True)
    os.setxattr(place / "f", "trusted.t", b"1")
    os.setxattr(place / "f", "security.s", b"2")
    names = [name for name, _ in read_xattrs(top, b"f")]
    assert names == [b"security.capability", b"security.s", b"system.posix_acl_access", b"trusted.t"]


@root_only
def test_a_symlinks_xattrs_are_its_own(place: Path, top: int) -> None:
    (place / "f").touch()
    os.setxattr(place / "f", "user.of-the-file", b"")
    (place / "link").symlink_to("f")
    assert read_xattrs(top, b"link") == ()
    os.setxattr(place / "link", "trusted.of-the-link", b"1", follow_symlinks=False)
    assert read_xattrs(top, b"link") == ((b"trusted.of-the-link", b"1"),)


def test_an_attribute_that_vanishes_meanwhile_is_left_out(
    place: Path, top: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "f").touch()
    os.setxattr(place / "f", "user.stays", b"1")
    monkeypatch.setattr(os, "listxattr", lambda *_, **__: ["user.gone", "user.stays"])
    assert read_xattrs(top, b"f") == ((b"user.stays", b"1"),)


@pytest.mark.parametrize("error", [errno.ENOTSUP, errno.EPERM])
def test_where_there_can_be_no_xattrs_there_are_none(
    top: int, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(*_: object, **__: object) -> list[str]:
        raise OSError(error, "not here")

    monkeypatch.setattr(os, "listxattr", refuse)
    assert read_xattrs(top, b"anything") == ()


def test_xattrs_of_a_name_that_is_gone_are_an_error(top: int) -> None:
    with pytest.raises(FileNotFoundError):
        read_xattrs(top, b"no such name")


def test_a_target_is_given_byte_for_byte(place: Path, top: int) -> None:
    os.symlink(b"caf\xe9/../\n/" + b"x" * 4000, bytes(place / "link"))
    assert read_target(top, b"link") == b"caf\xe9/../\n/" + b"x" * 4000


def test_owners_are_named_where_they_are_known() -> None:
    names = OwnerNames()
    assert (names.user(0), names.group(0)) == ("root", "root")
    assert (names.user(987_654_321), names.group(987_654_321)) == ("", "")
    assert (names.user(2**40), names.group(-7)) == ("", "")


def test_a_name_is_asked_for_once_and_an_error_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(uid: int) -> pwd.struct_passwd:
        asked.append(uid)
        raise OSError(errno.EIO, "the name service is down")

    asked: list[int] = []
    monkeypatch.setattr(pwd, "getpwuid", fail)
    names = OwnerNames()
    assert [names.user(5), names.user(5)] == ["", ""]
    assert asked == [5]
