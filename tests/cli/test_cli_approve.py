"""`backup --approve` and `--expect`: nothing is stored but what was shown, or expected."""

import os
import pty
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.check import DONE, INTERRUPTED, WRONG_USE, assert_clear_error
from tests.support.imbfs import Imbfs, command_of

CHANGES, ONLY_RENAMES = 4, 5


def stored(imbfs: Imbfs) -> list[Path]:
    return sorted(path for path in imbfs.repository.rglob("*") if "lmdb" not in path.name)


class Terminal:
    """A command with a terminal of its own."""

    def __init__(self, pid: int, fd: int) -> None:
        self._pid = pid
        self._fd = fd
        self._seen = b""

    def expect(self, text: bytes) -> bytes:
        """Waits for the text, and returns what was shown before."""
        while text not in self._seen:
            data = self._read()
            assert data, self._seen
            self._seen += data
        before, _, self._seen = self._seen.partition(text)
        return before

    def type(self, data: bytes) -> None:
        os.write(self._fd, data)

    def end(self) -> int:
        """Waits for the end; returns the exit code."""
        while self._read():
            pass
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        os.close(self._fd)
        return code

    def _read(self) -> bytes:
        if not select.select([self._fd], [], [], 30)[0]:
            os.kill(self._pid, signal.SIGKILL)
            raise AssertionError(f"waits for more: {self._seen!r}")
        try:
            return os.read(self._fd, 65536)
        except OSError:  # how the kernel says that the other side is closed
            return b""


@contextmanager
def at_terminal(imbfs: Imbfs, *args: str | Path) -> Iterator[Terminal]:
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(imbfs.directory)
        command = [*command_of(), "--repo", str(imbfs.repository), "--no-progress", *map(str, args)]
        os.execvpe(command[0], command, imbfs.environment())
    yield Terminal(pid, fd)


QUESTION = b"Type `yes`"


def test_a_yes_stores_what_was_shown(saved: Imbfs, source: Path) -> None:
    """Parity row 24: nothing is stored unapproved."""
    (source / "new").write_text("new")
    with at_terminal(saved, "backup", "--approve", source) as terminal:
        assert b"A  new" in terminal.expect(QUESTION)
        terminal.type(b"yes\n")
        assert terminal.end() == DONE
    assert len(saved.snapshots()) == 2
    assert saved.run("cat", "latest:new").stdout == b"new"


@pytest.mark.parametrize("answer", [b"no\n", b"\n", b"y\n", b"\x04"])
def test_any_other_answer_stores_nothing(saved: Imbfs, source: Path, answer: bytes) -> None:
    (source / "new").write_text("new")
    before = stored(saved)
    with at_terminal(saved, "backup", "--approve", source) as terminal:
        terminal.expect(QUESTION)
        terminal.type(answer)
        assert terminal.end() == CHANGES
    assert stored(saved) == before


def test_ctrl_c_at_the_question_stores_nothing(saved: Imbfs, source: Path) -> None:
    (source / "new").write_text("new")
    before = stored(saved)
    with at_terminal(saved, "backup", "--approve", source) as terminal:
        terminal.expect(QUESTION)
        terminal.type(b"\x03")
        assert terminal.end() == INTERRUPTED
    assert stored(saved) == before


def test_a_source_that_moved_on_after_it_was_shown_is_asked_again(saved: Imbfs, source: Path) -> None:
    (source / "new").write_text("new")
    with at_terminal(saved, "backup", "--approve", source) as terminal:
        terminal.expect(QUESTION)
        (source / "secret").write_text("not shown")
        terminal.type(b"yes\n")
        assert b"A  secret" in terminal.expect(QUESTION)
        terminal.type(b"no\n")
        assert terminal.end() == CHANGES
    assert len(saved.snapshots()) == 1


def test_what_changes_nothing_in_what_was_shown_is_not_asked_again(saved: Imbfs, source: Path) -> None:
    """Another ctime, another order in the directory: the content is what was approved."""
    (source / "new").write_text("new")
    with at_terminal(saved, "backup", "--approve", source) as terminal:
        terminal.expect(QUESTION)
        status = (source / "new").stat()
        (source / "new").unlink()
        (source / "new").write_text("new")
        os.utime(source / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
        terminal.type(b"yes\n")
        assert terminal.end() == DONE
    assert len(saved.snapshots()) == 2


def test_a_first_run_approves_itself(imbfs: Imbfs, source: Path) -> None:
    imbfs.run("init")
    imbfs.run("backup", "--approve", "--expect", "none", source)
    assert len(imbfs.snapshots()) == 1


def test_without_a_change_nothing_is_asked(saved: Imbfs, source: Path) -> None:
    saved.run("backup", "--approve", source)
    assert len(saved.snapshots()) == 2


def test_without_a_terminal_nothing_is_stored_and_the_way_out_is_told(saved: Imbfs, source: Path) -> None:
    (source / "new").write_text("new")
    before = stored(saved)
    result = saved.run("backup", "--approve", source, input=b"yes\n", check=False)
    assert_clear_error(result, WRONG_USE, "--expect", "A  new")
    assert stored(saved) == before


def added(source: Path) -> None:
    (source / "new").write_text("new")
    (source / "directory").mkdir()


def renamed(source: Path) -> None:
    (source / "sub").rename(source / "moved")
    (source / "large").rename(source / "larger")


def copied_over(source: Path) -> None:
    """Moved by a program that copies: found by content."""
    (source / "copy").write_bytes((source / "large").read_bytes())
    os.utime(source / "copy", ns=(0, (source / "large").stat().st_mtime_ns))
    (source / "large").unlink()


def modified(source: Path) -> None:
    (source / "new").write_text("new")
    (source / "readme").write_text("other")


@pytest.mark.parametrize(
    ("change", "expected", "code"),
    [
        (added, "only-additions", DONE),
        (added, "only-renames", CHANGES),
        (added, "none", CHANGES),
        (renamed, "only-renames", DONE),
        (copied_over, "only-renames", DONE),
        (renamed, "only-additions", ONLY_RENAMES),
        (renamed, "none", ONLY_RENAMES),
        (modified, "only-additions", CHANGES),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_other_changes_than_expected_store_nothing(
    saved: Imbfs, source: Path, change: object, expected: str, code: int
) -> None:
    assert callable(change)
    change(source)
    before = stored(saved)
    result = saved.run("backup", "--expect", expected, source, check=False)
    assert result.code == code, result
    if code == DONE:
        assert len(saved.snapshots()) == 2
    else:
        assert_clear_error(result, code, "nothing was stored", "imbfs status")
        assert stored(saved) == before
