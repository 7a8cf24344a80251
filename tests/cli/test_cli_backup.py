"""`backup`: its sources, good and bad, and what an unchanged source costs."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.check import DONE, FAILED, IN_PART, assert_clear_error, assert_no_traceback
from tests.support.compare import differences
from tests.support.everything import noise
from tests.support.imbfs import Imbfs, Running, wait_until
from tests.support.opens import Opens
from tests.support.small import FILES, make_old


@pytest.fixture
def ready(imbfs: Imbfs) -> Imbfs:
    imbfs.run("init")
    return imbfs


def files_in(imbfs: Imbfs, selector: str = "latest") -> set[bytes]:
    return {path for path, entry in imbfs.ls(selector, "-R").items() if entry["kind"] == "file"}


def size_of(directory: Path) -> int:
    """Bytes in all files and directories below."""
    return sum(os.lstat(path).st_size for path in [directory, *directory.rglob("*")])


def truth_of(repository: Path) -> dict[Path, int]:
    """All files but the index, which is derived, and their sizes."""
    paths = [path for path in repository.rglob("*") if path.is_file()]
    return {path: path.stat().st_size for path in paths if not path.name.startswith("index.lmdb")}


# What an unchanged source costs.


def test_an_unchanged_tree_opens_no_file(saved: Imbfs, source: Path) -> None:
    """Parity row 9: changes are detected."""
    with Opens(source) as opens:
        summary = saved.backup(source)
    assert opens.files == set()
    assert summary["bytes_read"] == 0
    assert summary["files_new"] == summary["files_changed"] == summary["files_removed"] == 0


def test_an_unchanged_tree_adds_one_manifest_of_less_than_4_kib(saved: Imbfs, source: Path) -> None:
    before = truth_of(saved.repository)
    saved.run("backup", source)
    added = truth_of(saved.repository).items() - before.items()
    assert len(added) == 1
    ((path, size),) = added
    assert path.parent == saved.repository / "snapshots"
    assert size < 4096


def test_unchanged_backups_add_less_than_4_kib_each_with_the_index(saved: Imbfs, source: Path) -> None:
    before = size_of(saved.repository)
    for _ in range(6):
        saved.run("backup", source)
    assert size_of(saved.repository) - before < 6 * 4096


def test_only_the_changed_file_is_opened(saved: Imbfs, source: Path) -> None:
    (source / "sub" / "one").write_bytes(b"changed\n")
    with Opens(source) as opens:
        saved.run("backup", source)
    assert opens.files == {os.fsencode(source / "sub" / "one")}
    assert saved.run("cat", "latest:sub/one").stdout == b"changed\n"
    assert saved.run("cat", "latest~1:sub/one").stdout == FILES[b"sub/one"]


def test_a_change_that_keeps_size_and_mtime_is_seen(saved: Imbfs, source: Path) -> None:
    (source / "readme").write_bytes(b"HELLO\n")
    make_old(source)
    saved.run("backup", source)
    assert saved.run("cat", "latest:readme").stdout == b"HELLO\n"


def test_read_all_reads_every_file(saved: Imbfs, source: Path) -> None:
    with Opens(source) as opens:
        saved.run("backup", "--read-all", source)
    empty = {os.fsencode(source / "empty")}
    links = {os.fsencode(source / "sub" / "link to readme"), os.fsencode(source / "readme")}
    every = {os.path.join(os.fsencode(source), path) for path in FILES}
    assert opens.files | empty | links == every | links


def test_a_changed_mode_alone_reads_nothing_that_is_stored(saved: Imbfs, source: Path) -> None:
    (source / "large").chmod(0o600)
    saved.run("backup", source)
    with saved.mounted("latest") as mount:
        assert differences(source, mount) == []


def test_skip_unchanged_makes_no_snapshot_when_nothing_changed(saved: Imbfs, source: Path) -> None:
    saved.run("backup", "--skip-unchanged", source)
    assert len(saved.snapshots()) == 1
    (source / "new").touch()
    saved.run("backup", "--skip-unchanged", source)
    assert len(saved.snapshots()) == 2


def test_a_dry_run_makes_no_snapshot_and_stores_nothing(ready: Imbfs, source: Path) -> None:
    ready.run("backup", "--dry-run", source)
    assert ready.snapshots() == []
    assert [path for path in (ready.repository / "packs").rglob("*") if path.is_file()] == []


def test_a_verbose_dry_run_lists_what_would_change(saved: Imbfs, source: Path) -> None:
    (source / "new").touch()
    (source / "empty").unlink()
    (source / "sub" / "one").write_bytes(b"changed\n")
    lines = saved.run("backup", "--dry-run", "-v", source).stdout.decode().splitlines()
    shown = {word for line in lines for word in line.split()}
    assert {"new", "empty", "sub/one"} <= shown
    assert "readme" not in shown
    assert len(saved.snapshots()) == 1


def test_a_verbose_dry_run_of_a_first_backup_lists_all_as_new(ready: Imbfs, source: Path) -> None:
    lines = ready.run("backup", "--dry-run", "-v", source).stdout.decode().splitlines()
    assert all(line.startswith("A  ") for line in lines[:-2])
    assert {"A  readme  (6 B)", "A  sub/"} <= set(lines)
    assert ready.snapshots() == []


def test_where_a_list_of_paths_changed_what_stays_on_it_is_not_read_again(
    ready: Imbfs, source: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "list"
    listed.write_text(f"{source}/readme\n{source}/sub/one\n{source}/sub/deeper\n")
    first = ready.run("--json", "backup", "--files-from", listed).json()
    listed.write_text(f"{source}/readme\n{source}/large\n{source}/sub\n")
    second = ready.run("--json", "backup", "--files-from", listed).json()
    assert second["parent"] == first["snapshot"]
    large, link = (source / "large").stat().st_size, len("hello\n")
    assert (second["files_new"], second["bytes_read"]) == (2, large + link)
    assert not second["unchanged"]


def test_the_same_tree_by_another_list_of_paths_is_another_snapshot(ready: Imbfs, source: Path) -> None:
    (source / "single").mkdir()
    (source / "single" / "file").touch()
    ready.run("backup", source / "readme", source / "single" / "file")
    ready.run("backup", "--skip-unchanged", source / "readme", source / "single")
    ready.run("backup", "--skip-unchanged", source / "readme", source / "single")
    assert len(ready.snapshots()) == 2


def test_what_was_named_does_not_go_in_against_the_rules_later(ready: Imbfs, source: Path) -> None:
    """Names that the parent has are not asked about again; here they were chosen in another way."""
    ready.run("backup", source / "readme", source / "sub" / "one", "--exclude", "one")
    assert b"sub/one" in files_in(ready)
    ready.run("backup", source / "readme", source / "sub", "--exclude", "one")
    assert b"sub/one" not in files_in(ready)


# Kinds of sources.


def test_an_empty_directory_is_a_source(ready: Imbfs, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    summary = ready.backup(tmp_path / "empty")
    assert summary["files_new"] == 0
    assert files_in(ready) == set()


def test_a_relative_path_is_kept_absolute(ready: Imbfs, source: Path) -> None:
    ready.run("backup", "source/sub")
    assert ready.snapshots()[0]["paths"] == [str(source / "sub")]


def test_a_path_given_twice_is_backed_up_once(ready: Imbfs, source: Path) -> None:
    ready.run("backup", source, source, f"{source}/", source / "sub" / "..")
    assert ready.snapshots()[0]["paths"] == [str(source)]
    assert files_in(ready) == {*FILES, b"sub/link to readme"}


def test_a_path_inside_another_is_backed_up_once(ready: Imbfs, source: Path) -> None:
    ready.run("backup", source / "sub", source)
    assert files_in(ready) == {*FILES, b"sub/link to readme"}


def test_several_files_and_directories_are_one_snapshot(ready: Imbfs, source: Path) -> None:
    ready.run("backup", source / "readme", source / "sub" / "deeper")
    assert files_in(ready) == {b"readme", b"sub/deeper/two", b"sub/deeper/same as readme"}


def test_a_source_that_is_a_symlink_is_not_lost_silently(ready: Imbfs, source: Path, tmp_path: Path) -> None:
    (tmp_path / "pointer").symlink_to(source)
    ready.run("backup", tmp_path / "pointer")
    assert ready.ls("latest", "-R")


def test_names_of_all_sorts_come_back(ready: Imbfs, tmp_path: Path) -> None:
    odd = [b"new\nline", b" ", b"-r", b"--json", b'$(x)"q', b"\xff\xfe", b"n" * 255, b"trailing  "]
    top = os.fsencode(tmp_path / "odd")
    os.mkdir(top)
    for name in odd:
        Path(os.fsdecode(os.path.join(top, name))).write_bytes(b"in " + name)
    ready.run("backup", tmp_path / "odd")
    assert files_in(ready) == set(odd)
    for name in odd:
        assert ready.run("cat", b"latest:" + name).stdout == b"in " + name


def test_the_repository_inside_the_source_is_left_out_with_a_notice(imbfs: Imbfs, source: Path) -> None:
    repository = source / "sub" / "repository"
    imbfs.run("--repo", repository, "init", repository=False)
    result = imbfs.run("--repo", repository, "backup", source, repository=False)
    assert str(repository) in result.errors
    listed = imbfs.run("--repo", repository, "ls", "-R", "latest", repository=False).stdout
    assert b"sub/one" in listed
    assert b"config.json" not in listed


def test_a_source_inside_the_repository_is_refused(ready: Imbfs) -> None:
    result = ready.run("backup", ready.repository / "packs", check=False)
    assert result.code in (1, 2), result
    assert_no_traceback(result)


# Sources with something wrong.


def test_a_missing_source_alone_is_exit_1_and_no_snapshot(ready: Imbfs, tmp_path: Path) -> None:
    assert_clear_error(ready.run("backup", tmp_path / "gone", check=False), FAILED, "gone")
    assert ready.snapshots() == []


@pytest.mark.parametrize("missing", ["gone", "source/gone"])
def test_a_missing_source_among_others_is_reported(ready: Imbfs, source: Path, missing: str) -> None:
    result = ready.run("backup", source, source.parent / missing, check=False)
    assert result.code in (FAILED, IN_PART), result
    assert "gone" in result.errors
    assert_no_traceback(result)


def test_a_missing_source_named_from_here_is_told_once_and_no_source_of_the_snapshot(
    ready: Imbfs, source: Path
) -> None:
    result = ready.run("--json", "backup", source.name, "gone", check=False)
    assert (result.code, result.errors.count("gone"), result.json()["errors"]) == (IN_PART, 1, 1)
    assert ready.snapshots()[-1]["paths"] == [str(source)]


def test_a_source_that_went_missing_is_never_taken_for_deleted(ready: Imbfs, tmp_path: Path) -> None:
    for name in ("disk", "desk"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    ready.run("backup", tmp_path / "disk", tmp_path / "desk")
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    result = ready.run("backup", tmp_path / "disk", tmp_path / "desk", check=False)
    assert result.code in (FAILED, IN_PART), result
    assert ready.run("cat", "latest:disk/file").text == "disk"


@pytest.fixture
def theirs(open_path: Path, ordinary_user: int, mark: str) -> Imbfs:
    """An ordinary user's imbfs with an initialised repository, and a source in `source`."""
    os.chown(open_path, ordinary_user, ordinary_user)
    imbfs = Imbfs(open_path, mark)
    (open_path / "source" / "closed").mkdir(parents=True)
    for name in ("open", "secret", "closed/file"):
        (open_path / "source" / name).write_text(f"{name}, the first time")
    imbfs.run("init", user=ordinary_user)
    return imbfs


def _close(source: Path) -> None:
    (source / "secret").chmod(0o600)
    (source / "closed").chmod(0o700)


def test_what_cannot_be_read_is_reported_and_the_rest_is_there(theirs: Imbfs, ordinary_user: int) -> None:
    source = theirs.directory / "source"
    _close(source)
    result = theirs.run("backup", source, user=ordinary_user, check=False)
    assert result.code == IN_PART, result
    assert "secret" in result.errors
    assert "closed" in result.errors
    assert_no_traceback(result)
    assert theirs.run("cat", "latest:open", user=ordinary_user).text == "open, the first time"


def test_what_cannot_be_read_is_carried_over_from_the_parent(theirs: Imbfs, ordinary_user: int) -> None:
    source = theirs.directory / "source"
    theirs.run("backup", source, user=ordinary_user)
    _close(source)
    (source / "open").write_text("open, the second time")
    result = theirs.run("backup", source, user=ordinary_user, check=False)
    assert result.code == IN_PART, result
    for path, text in {
        "open": "open, the second time",
        "secret": "secret, the first time",
        "closed/file": "closed/file, the first time",
    }.items():
        assert theirs.run("cat", f"latest:{path}", user=ordinary_user).text == text


def test_what_was_never_readable_never_gives_bytes(theirs: Imbfs, ordinary_user: int) -> None:
    source = theirs.directory / "source"
    _close(source)
    theirs.run("backup", source, user=ordinary_user, check=False)
    result = theirs.run("cat", "latest:secret", user=ordinary_user, check=False)
    assert result.code == FAILED, result
    assert result.stdout == b""


def test_what_became_readable_again_is_read(theirs: Imbfs, ordinary_user: int) -> None:
    source = theirs.directory / "source"
    _close(source)
    theirs.run("backup", source, user=ordinary_user, check=False)
    (source / "secret").chmod(0o644)
    (source / "closed").chmod(0o755)
    theirs.run("backup", source, user=ordinary_user)
    assert theirs.run("cat", "latest:secret", user=ordinary_user).text == "secret, the first time"
    assert theirs.run("cat", "latest:closed/file", user=ordinary_user).stdout


def _wait_for_open(opens: Opens, running: Running, path: Path) -> None:
    def opened() -> bool:
        return os.fsencode(path) in opens.so_far() or running.process.poll() is not None

    wait_until(opened, f"the opening of {path}")


def test_a_file_that_vanishes_during_the_backup_costs_only_itself(ready: Imbfs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a-large").write_bytes(noise(64 << 20, 3))
    for number in range(200):
        (source / f"b-{number:03}").write_text("short-lived")
    (source / "c-last").write_text("stays")
    with Opens(source) as opens, ready.start("backup", source) as running:
        _wait_for_open(opens, running, source / "a-large")
        for path in source.glob("b-*"):
            path.unlink()
        result = running.result()
    assert result.code in (DONE, IN_PART), result
    assert_no_traceback(result)
    assert ready.run("cat", "latest:c-last").text == "stays"
    assert ready.run("check", "--read-data").code == DONE


def test_a_file_that_grows_while_it_is_read_is_stored_and_warned_of(ready: Imbfs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    start = noise(48 << 20, 4)
    (source / "log").write_bytes(start)
    with Opens(source) as opens, ready.start("backup", source) as running:
        _wait_for_open(opens, running, source / "log")
        with (source / "log").open("ab", buffering=0) as log:
            while running.process.poll() is None:
                log.write(b"one more line\n")
        result = running.result()
    assert result.code in (DONE, IN_PART), result
    assert "log" in result.errors
    stored = ready.run("cat", "latest:log").stdout
    assert (source / "log").read_bytes().startswith(stored)
    assert len(stored) >= len(start)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small file system")
def test_no_space_left_is_exit_1_in_one_line_and_leaves_what_was_there(imbfs: Imbfs, source: Path) -> None:
    imbfs.repository.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", imbfs.repository], check=True)
    try:
        imbfs.run("init")
        imbfs.run("backup", source)
        (source / "too much").write_bytes(noise(12 << 20, 12))
        result = imbfs.run("backup", source, check=False)
        assert_clear_error(result, FAILED, "No space left")
        assert "too much" not in result.errors, "the repository is full, not the source unreadable"
        assert len(imbfs.snapshots()) == 1
        assert imbfs.run("check", "--read-data").code == DONE
        (source / "too much").unlink()
        imbfs.run("backup", source)
    finally:
        subprocess.run(["umount", "--lazy", imbfs.repository], check=True)


def test_special_files_are_recorded_and_never_opened(ready: Imbfs, tmp_path: Path) -> None:
    """Parity row 16: empty directories, special files."""
    source = tmp_path / "source"
    source.mkdir()
    os.mkfifo(source / "fifo")  # opening it for reading would wait for ever
    with Opens(source) as opens:
        ready.run("backup", source)
    assert opens.files == set()
    assert ready.ls("latest")[b"fifo"]["kind"] == "fifo"
