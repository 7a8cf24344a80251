"""A backup of nothing but what was approved."""

from collections.abc import Callable
from typing import Literal

from backup.model.errors import NotApproved, OnlyRenames
from backup.model.ids import ObjectId
from backup.ops.backup import (
    BackupOptions,
    BackupResult,
    backup,
    check_immutable,
    find_sources,
)
from backup.ops.diff import Line, Verdict, diff, metadata_of, verdict_of
from backup.ops.guarding.keep import keep_immutable
from backup.ops.parents import continues, find_parent
from backup.ops.scan import scan
from backup.ops.storing.monitor import Monitor
from backup.repository import Repository
from backup.snapshots.difference import tree_at
from backup.snapshots.paths import find_spot

#: Is shown what changed; raises `NotApproved` where that is not to be stored.
Judge = Callable[[list[Line]], None]
Expected = Literal["only-additions", "only-renames", "none"]


def backup_approved(
    repository: Repository,
    paths: list[bytes],
    options: BackupOptions,
    monitor: Monitor,
    judge: Judge,
    *,
    judge_first: bool = False,
) -> BackupResult:
    """Backs up what the judge lets pass; a first run has nothing to be compared with, and passes, unless by
    `judge_first`: then all is new, and not read for that.

    The live tree is looked at before anything is stored. Where what was then read is not what the judge
    saw, it is asked again, before there is a snapshot. Raises as `backup` and the judge do.
    """
    heard = _Heard(monitor)
    sources = find_sources(repository, paths, options, heard)
    parent = find_parent(repository, sources, options.host)
    if parent is None:
        if judge_first:
            everything = scan(repository, sources, None, options, heard)
            judge(diff(None, everything.spot, everything.read))
        return backup(repository, paths, options, heard.telling())
    guarded = parent if continues(parent, sources) else None
    check_immutable(repository, options, sources, guarded, heard)
    seen = scan(repository, sources, parent, options, heard, read_files=True)
    before = find_spot(parent.root, [], repository.tree)
    # Judged is what would be stored: not the changes that are alarms.
    shown = keep_immutable(
        options.immutable, guarded, seen.root, sources, heard, seen.read, seen.trees.store_tree
    ).root
    spot = find_spot(shown, [], seen.read)
    judge(diff(before, spot, seen.read))

    def accept(root: ObjectId) -> None:
        now = find_spot(root, [], repository.tree)
        if root != shown and not all(map(_only_time, diff(spot, now, seen.read))):
            monitor.notice("the source has changed since the changes were shown")
            judge(diff(before, now, repository.tree))

    return backup(repository, paths, options, heard.telling(), accept=accept)


def _only_time(line: Line) -> bool:
    """Whether nothing but a directory's own time is another: names came and went there, and are as before."""
    return tree_at(line.after) is not None and line.change == "metadata" and metadata_of(line) == {"mtime"}


def expect(expected: Expected, lines: list[Line]) -> None:
    """Raises `NotApproved` where there are other changes than the expected ones."""
    verdict = verdict_of(lines)
    if verdict is Verdict.SAME or verdict.value == expected:
        return
    wanted = "no changes" if expected == "none" else expected.replace("-", " ")
    refuse(lines, f"expected were {wanted}, and there are others")


def refuse(lines: list[Line], why: str) -> None:
    """Raises `NotApproved`."""
    kind = OnlyRenames if verdict_of(lines) is Verdict.RENAMES else NotApproved
    raise kind(f"{why}: nothing was stored (`imbfs status` shows the changes)")


class _Heard:
    """Passes on what is told, but the same thing only once; and progress only when the backup itself runs."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._told: set[tuple[bytes, str]] = set()
        self._counts = False

    def telling(self) -> "_Heard":
        self._counts = True
        return self

    def entries(self, files: int, size: int) -> None:
        if self._counts:
            self._monitor.entries(files, size)

    def read(self, size: int) -> None:
        if self._counts:
            self._monitor.read(size)

    def directory(self, path: bytes) -> None:
        self._monitor.directory(path)

    def notice(self, text: str) -> None:
        if self._new(b"", text):
            self._monitor.notice(text)

    def problem(self, path: bytes, text: str) -> None:
        if self._new(path, text):
            self._monitor.problem(path, text)

    def _new(self, path: bytes, text: str) -> bool:
        before = len(self._told)
        self._told.add((path, text))
        return len(self._told) > before
