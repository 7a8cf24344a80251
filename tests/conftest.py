"""Fixtures for all tests, and a guard that no test leaves a mount or a process behind."""

import contextlib
import gc
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.everything import Everything, build_everything, remove_tree
from tests.support.imbfs import (
    ORDINARY_USER,
    Imbfs,
    mounts_below,
    processes_marked,
    python_for,
    wait_until,
)

# How long an example takes tells how busy the machine is.
settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def mark(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tells this run's processes from all others."""
    return f"{tmp_path_factory.getbasetemp()}-{os.getpid()}"


@pytest.fixture
def imbfs(tmp_path: Path, mark: str) -> Imbfs:
    """imbfs with a repository that does not exist yet, and a home of its own."""
    return Imbfs(tmp_path, mark)


@pytest.fixture(scope="session")
def real_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory where files keep xattrs and ACLs; without one, what a backup keeps cannot be tested."""
    directory = tmp_path_factory.mktemp("disk")
    refused = _refused_metadata(directory / "probe")
    if refused:
        pytest.fail(
            f"the file system of {directory} does not take {refused}: "
            "choose a directory on ext4, xfs or btrfs with --basetemp",
            pytrace=False,
        )
    return directory


def _refused_metadata(probe: Path) -> str | None:
    """The first kind of metadata that files in this place cannot have."""
    probe.touch()
    spaces = ["user.", "trusted."] if os.geteuid() == 0 else ["user."]
    for space in spaces:
        try:
            os.setxattr(probe, space + "probe", b"")
        except OSError as error:
            return f"{space}* extended attributes ({error.strerror})"
    if shutil.which("setfacl") is None:
        return "ACLs (no setfacl here: install the package acl)"
    result = subprocess.run(["setfacl", "-m", "u:1:r", probe], capture_output=True, text=True)
    return f"ACLs ({result.stderr.strip()})" if result.returncode else None


@pytest.fixture(scope="session")
def everything(real_disk: Path) -> Iterator[Everything]:
    """The tree of all kinds. Shared by all tests: never written to."""
    tree = build_everything(real_disk / "everything")
    yield tree
    remove_tree(tree.root)


@pytest.fixture
def open_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Like tmp_path, but other users can reach it: pytest's own directories are closed to them."""
    path = Path(tempfile.mkdtemp(prefix="imbfs-test-"))
    path.chmod(0o755)
    yield path
    remove_tree(path)


@pytest.fixture
def ordinary_user() -> int:
    """The number of a user without rights who can run this imbfs; needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    if python_for(ORDINARY_USER) is None:
        pytest.skip("the project or its Python lies where other users cannot read it")
    return ORDINARY_USER


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory, mark: str) -> Iterator[None]:
    """Ends and reports what a test left mounted or running; a driver may take a moment to end."""
    yield
    base = tmp_path_factory.getbasetemp()
    mounts = mounts_below(base)
    for mount in mounts:
        subprocess.run(["umount", "--lazy", mount], check=False)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not processes_marked(mark), "the end of all processes", 5)
    processes = processes_marked(mark)
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, 9)
    assert not mounts, f"left mounted: {mounts}"
    assert not processes, f"left running: {processes}"


@pytest.fixture(scope="module", autouse=True)
def nothing_left_open() -> Iterator[None]:
    """Names the files that a module's tests left open: all of them run in one process, with one limit."""
    before = _open_files()
    yield

    def left() -> dict[int, str]:
        return dict(_open_files().items() - before.items())

    if left():
        gc.collect()
        # What a thread reads ahead is its own until it has nothing to do.
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not left(), "the end of threads", 3)
    assert not left(), f"left open: {left()}"


def _open_files() -> dict[int, str]:
    """By descriptor. Not pipes and sockets: fixtures that several modules share may hold them."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(number)] = os.readlink(f"/proc/self/fd/{number}")
    return {number: target for number, target in found.items() if target.startswith("/")}
