"""`import` of tar files: what other programs wrote, and what nobody honest would."""

import io
import lzma
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.check import FAILED, IN_PART, WRONG_USE, assert_clear_error
from tests.support.compare import differences
from tests.support.everything import Everything, remove_tree
from tests.support.imbfs import Imbfs
from tests.support.small import FILES, bytes_of

THEN = "2024-05-06T07:08:09+00:00"
TOP = "/what/it/was"


def restored(imbfs: Imbfs, target: Path) -> Path:
    imbfs.run("restore", "latest", "--path", TOP, "--target", target)
    return target


def test_what_export_wrote_comes_back_whole(
    imbfs: Imbfs, everything: Everything, real_disk: Path, tmp_path: Path
) -> None:
    """Every kind but sockets, which tar has not: holes, links, ACLs, capabilities, names of any bytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can restore owners and devices")
    imbfs.run("init")
    imbfs.run("backup", everything.plain)
    imbfs.run("export", "latest", "--tar", tmp_path / "all.tar")
    imbfs.run("import", tmp_path / "all.tar", "--as", TOP)
    target = real_disk / "imported"
    try:
        restored(imbfs, target)
        found = differences(everything.plain, target, holes=True)
        assert [line for line in found if "socket" not in line] == []
    finally:
        remove_tree(target)
    assert imbfs.run("check", "--read-data").code == 0


@pytest.mark.parametrize("form", ["pax", "gnu"])
def test_what_gnu_tar_wrote_comes_back_whole(
    imbfs: Imbfs, real_disk: Path, tmp_path: Path, form: str
) -> None:
    source, target = real_disk / "of-gnu", real_disk / "back"
    (source / "sub").mkdir(parents=True)
    (source / "sub/one").write_bytes(b"one")
    os.link(source / "sub/one", source / "two")
    with (source / "holes").open("wb") as file:
        for place in (1 << 20, 3 << 20, 9 << 20):
            file.seek(place)
            file.write(b"data" * 1024)
        file.truncate(12 << 20)
    (source / ("n" * 200)).write_bytes(b"long name")
    os.symlink("x" * 300, source / "link")
    options = [f"--format={form}", "-S"]
    if form == "pax":
        os.setxattr(source / "two", "user.comment", b"a=b\nc\0d")
        subprocess.run(["setfacl", "-m", "u:1234:rwx,g:55:r", source / "sub/one"], check=True)
        subprocess.run(["setfacl", "-d", "-m", "u:77:rx", source / "sub"], check=True)
        os.utime(source / "sub/one", ns=(1, 1_234_567_890_123_456_789))
        options += ["--acls", "--xattrs"]
    try:
        subprocess.run(["tar", "-c", *options, "-f", tmp_path / "a.tar", "-C", source, "."], check=True)
        if form == "gnu":  # It has whole seconds only.
            below = [Path(top, name) for top, dirs, files in os.walk(source) for name in dirs + files]
            for path in [source, *below]:
                second = path.lstat().st_mtime_ns // 10**9 * 10**9
                os.utime(path, ns=(second, second), follow_symlinks=False)
        imbfs.run("init")
        imbfs.run("import", tmp_path / "a.tar", "--as", TOP)
        assert differences(source, restored(imbfs, target), holes=True) == []
    finally:
        remove_tree(source)
        remove_tree(target)


def tar_of(files: list[tarfile.TarInfo | tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in files:
            if isinstance(file, tarfile.TarInfo):
                archive.addfile(file)
                continue
            info = tarfile.TarInfo(file[0])
            info.size = len(file[1])
            archive.addfile(info, io.BytesIO(file[1]))
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("files", "told", "stays"),
    [
        ([("../out", b"x"), ("in", b"y")], "leads out", {b"in": b"y"}),
        ([("a/../../out", b"x"), ("in", b"y")], "leads out", {b"in": b"y"}),
        (
            [special("sub", tarfile.SYMTYPE, "/etc"), ("sub/passwd", b"x"), ("in", b"y")],
            "no directory",
            {b"in": b"y"},
        ),
        ([special("link", tarfile.LNKTYPE, "/etc/passwd"), ("in", b"y")], "hard link", {b"in": b"y"}),
        ([special("link", tarfile.LNKTYPE, "../../x"), ("in", b"y")], "leads out", {b"in": b"y"}),
        ([("d/file", b"x"), ("d", b"z"), ("in", b"y")], "no directory", {b"d/file": b"x", b"in": b"y"}),
        ([("n" * 256, b"x"), ("in", b"y")], "no file can", {b"in": b"y"}),
    ],
    ids=["up", "up within", "through a link", "linked out", "linked up", "directory", "long"],
)
def test_a_member_that_leads_elsewhere_is_told_and_left_out(
    imbfs: Imbfs,
    tmp_path: Path,
    files: list[tarfile.TarInfo | tuple[str, bytes]],
    told: str,
    stays: dict[bytes, bytes],
) -> None:
    imbfs.run("init")
    (tmp_path / "a.tar").write_bytes(tar_of(files))
    result = imbfs.run("import", tmp_path / "a.tar", "--as", TOP, check=False)
    assert result.code == IN_PART
    assert told in result.errors
    assert bytes_of(restored(imbfs, tmp_path / "back")) == stays


def test_absolute_names_are_below_the_top_and_the_later_of_two_stays(imbfs: Imbfs, tmp_path: Path) -> None:
    imbfs.run("init")
    (tmp_path / "a.tar").write_bytes(
        tar_of(
            [("/etc/x", b"1"), ("./etc//y", b"2"), ("etc/x", b"3"), special("z", tarfile.LNKTYPE, "etc/x")]
        )
    )
    imbfs.run("import", tmp_path / "a.tar", "--as", TOP)
    back = restored(imbfs, tmp_path / "back")
    assert bytes_of(back) == {b"etc/x": b"3", b"etc/y": b"2", b"z": b"3"}
    assert (back / "z").stat().st_nlink == 2


def test_a_very_deep_path_is_no_trouble(imbfs: Imbfs, tmp_path: Path) -> None:
    imbfs.run("init")
    deep = "/".join(["d"] * 2000)
    (tmp_path / "a.tar").write_bytes(tar_of([(f"{deep}/file", b"deep")]))
    imbfs.run("import", tmp_path / "a.tar", "--as", TOP)
    assert imbfs.run("cat", f"latest:{deep}/file").stdout == b"deep"


def cut(data: bytes) -> bytes:
    return data[:-20_000]


def cut_between_members(data: bytes) -> bytes:
    return data[: data.rindex(b"last".ljust(100, b"\0"))]


def damaged(data: bytes) -> bytes:
    at = data.rindex(b"last".ljust(100, b"\0"))
    return data[: at + 5] + b"!" + data[at + 6 :]


@pytest.mark.parametrize("harm", [cut, cut_between_members, damaged])
def test_a_tar_that_breaks_off_or_is_damaged_makes_no_snapshot(
    imbfs: Imbfs, tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    imbfs.run("init")
    data = tar_of([("first", os.urandom(30_000)), ("last", os.urandom(30_000))])
    (tmp_path / "a.tar").write_bytes(harm(data))
    result = imbfs.run("import", tmp_path / "a.tar", check=False)
    assert_clear_error(result, FAILED, "no snapshot")
    assert imbfs.snapshots() == []


def test_its_time_is_that_of_the_file_unless_told(imbfs: Imbfs, tmp_path: Path) -> None:
    imbfs.run("init")
    (tmp_path / "a.tar").write_bytes(tar_of([("x", b"1")]))
    os.utime(tmp_path / "a.tar", (1_700_000_000, 1_700_000_000))
    imbfs.run("import", tmp_path / "a.tar")
    imbfs.run("import", tmp_path / "a.tar", "--time", THEN, "--as", TOP)
    first, second = imbfs.snapshots()
    assert (first["time"][:10], first["paths"]) == ("2023-11-14", [str(tmp_path / "a.tar")])
    assert (second["time"][:19], second["paths"]) == (THEN[:19], [TOP])


def test_a_compressed_tar_and_one_from_a_pipe_are_taken_in(imbfs: Imbfs, tmp_path: Path) -> None:
    imbfs.run("init")
    data = tar_of([("x", b"1")])
    (tmp_path / "a.tar.xz").write_bytes(lzma.compress(data))
    imbfs.run("import", tmp_path / "a.tar.xz", "--as", TOP)
    assert imbfs.run("cat", "latest:x").stdout == b"1"
    imbfs.run("import", "-", "--as", TOP, "--time", THEN, input=data)
    assert len(imbfs.snapshots()) == 2
    for arguments in (("--time", THEN), ("--as", TOP)):
        assert_clear_error(imbfs.run("import", "-", *arguments, input=data, check=False), WRONG_USE)


def test_patterns_keep_members_out(copied: Imbfs, tmp_path: Path) -> None:
    copied.run("export", "latest", "--tar", tmp_path / "a.tar")
    copied.run("import", tmp_path / "a.tar", "--as", TOP, "--exclude", "/sub/deeper/")
    found = bytes_of(restored(copied, tmp_path / "back"))
    assert set(found) >= {path for path in FILES if not path.startswith(b"sub/deeper/")}
    assert not [path for path in found if path.startswith(b"sub/deeper/")]
    result = copied.run("import", tmp_path / "a.tar", "--one-file-system", check=False)
    assert_clear_error(result, WRONG_USE, "--exclude")


def test_what_is_stored_already_is_not_stored_again(copied: Imbfs, tmp_path: Path) -> None:
    copied.run("export", "latest", "--tar", tmp_path / "a.tar")
    summary = copied.run("--json", "import", tmp_path / "a.tar", "--as", TOP).json()
    assert summary["bytes_read"] == sum(map(len, FILES.values()))
    assert summary["bytes_added"] < 20_000
