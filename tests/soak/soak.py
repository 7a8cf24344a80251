"""The actions, and the loop that chooses among them. All that is random comes from one seed."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backup.cli.commands import COMMANDS
from tests.soak.reader import Known, Reader, differing
from tests.soak.sources import Source, Truth, read_truth
from tests.support.check import DAMAGED, DONE, NO_REPOSITORY
from tests.support.damage import DAMAGES, KINDS, files_of
from tests.support.imbfs import Imbfs, Result, Running, mounts_below, processes_marked, wait_until

#: Backups at a time.
BACKUPS = 3
#: Snapshots that are not forgotten.
FEWEST = 3


@dataclass
class Job:
    """A command under way, that is killed at a time or left alone."""

    name: str
    running: Running
    kill_at: float | None
    source: Source | None = None
    truth: Truth | None = None
    killed: bool = False


class Soak:
    """Works in `directory` and nowhere else. `failures` says what went wrong, `counts` what was done."""

    def __init__(self, directory: Path, seed: int, mark: str) -> None:
        self.imbfs = Imbfs(directory, mark)
        self.failures: list[str] = []
        self.counts: Counter[str] = Counter()
        self._directory = directory
        self._random = random.Random(seed)
        self._known = Known()
        self._sources = [
            Source(directory / f"source {number}", random.Random(seed + number)) for number in range(BACKUPS)
        ]
        self._jobs: list[Job] = []
        self._mountpoint = directory / "mount"
        self._reader = Reader(self._mountpoint, self._known, random.Random(seed))
        self._actions: list[tuple[int, Callable[[], None]]] = [
            (10, self._back_up), (3, self._forget), (3 if "prune" in COMMANDS else 0, self._prune),
            (2, self._check), (1, self._restore), (2, self._damage_a_copy), (1, self._remount),
            (1, self._kill_mount),
        ]  # fmt: skip

    def run(self, more: Callable[[], bool]) -> None:
        """Acts as long as `more()`, then waits for what is under way and looks at everything."""
        self._start()
        try:
            while more() and not self.failures:
                weights = [weight for weight, _ in self._actions]
                self._random.choices([action for _, action in self._actions], weights)[0]()
                self._settle(self._random.uniform(0, 0.3))
                self.failures += self._reader.failures
            self._settle(None)
            self._look_at_everything()
        finally:
            self._end()

    def _start(self) -> None:
        self.imbfs.run("init", "--pack-size", "1048576")
        self._mountpoint.mkdir()
        self._back_up()
        self._settle(None)
        self._mount()
        self._reader.start()

    def _end(self) -> None:
        self._reader.stop()
        self._reader.join(60)
        if self._reader.is_alive():
            self.failures.append("a reader hangs in the mount")
        self.failures += self._reader.failures
        self.counts["files compared in the mount"] = self._reader.files
        for job in self._jobs:
            job.running.end()
        for mount in mounts_below(self._directory):
            subprocess.run(["umount", "--lazy", mount], check=False)
        # Drivers end when their mount has gone.
        with suppress(AssertionError):
            wait_until(lambda: not processes_marked(self.imbfs.mark), "the end of all processes")
        if left := processes_marked(self.imbfs.mark):
            self.failures.append(f"left running: {left}")

    # Jobs

    def _launch(self, name: str, *args: str | Path, kill: float, source: Source | None = None) -> None:
        """Starts a command; with the chance `kill` it is killed on its way."""
        after = self._random.uniform(0, 0.5) if self._random.random() < kill else None
        truth = source.truth() if source else None
        running = self.imbfs.start("--json", *args)
        self._jobs.append(Job(name, running, after and time.monotonic() + after, source, truth))
        self.counts[name] += 1

    def _settle(self, seconds: float | None) -> None:
        """Waits so long, or until no job is left; kills those whose time has come."""
        end = None if seconds is None else time.monotonic() + seconds
        while self._jobs and (end is None or time.monotonic() < end):
            for job in list(self._jobs):
                if job.running.process.poll() is not None:
                    self._jobs.remove(job)
                    self._done(job)
                elif job.kill_at is not None and time.monotonic() > job.kill_at:
                    job.running.send(signal.SIGKILL)
                    job.killed, job.kill_at = True, None
            time.sleep(0.005)

    def _done(self, job: Job) -> None:
        result = job.running.result()
        if job.killed and result.code == -signal.SIGKILL:
            self.counts[f"{job.name}s killed"] += 1
        else:
            self._require(result, f"{job.name} while others run")
        if job.source is not None:
            job.source.busy = False
            self._learn(job)

    def _learn(self, job: Job) -> None:
        """Which snapshots a backup made: one that was killed may have made one."""
        for snapshot in self._listed():
            if snapshot["paths"] == [str(job.source and job.source.root)] and job.truth is not None:
                known = snapshot["id"] in self._known.truths or snapshot["id"] in self._known.forgotten
                if not known:
                    self._known.add(snapshot["id"], job.truth)

    def _listed(self) -> list[dict[str, Any]]:
        result = self.imbfs.run("--json", "snapshots", check=False)
        self._require(result, "snapshots")
        listed = json.loads(result.stdout or b"[]")
        assert isinstance(listed, list)
        return listed

    def _require(self, result: Result, what: str, *codes: int) -> None:
        if result.code not in (codes or (DONE,)) or "Traceback" in result.errors:
            self.failures.append(f"{what}: {result}")

    # Actions

    def _back_up(self) -> None:
        idle = [source for source in self._sources if not source.busy]
        if not idle:
            return
        source = self._random.choice(idle)
        source.change()
        source.busy = True
        self._launch("backup", "backup", source.root, kill=0.4, source=source)

    def _forget(self) -> None:
        chosen = sorted(self._known.truths)
        if len(chosen) <= FEWEST or any(job.name == "prune" for job in self._jobs):
            return
        snapshot = self._random.choice(chosen)
        self._known.forget(snapshot)
        self._launch("forget", "forget", "--allow-last", snapshot, kill=0.2)

    def _prune(self) -> None:
        if not any(job.name == "prune" for job in self._jobs):
            self._launch("prune", "prune", "--max-unused", str(self._random.choice([0, 5, 50])), kill=0.5)

    def _check(self) -> None:
        self._launch("check", "check", "--read-data", kill=0)

    def _restore(self) -> None:
        if chosen := sorted(self._known.truths.items()):
            self._compare_restored(self.imbfs, *self._random.choice(chosen))

    def _compare_restored(self, imbfs: Imbfs, snapshot: str, truth: Truth) -> None:
        back = self._directory / "back"
        self._require(imbfs.run("restore", snapshot, "--target", back, check=False), "restore")
        found = read_truth(back)
        if found != truth:
            self.failures.append(f"restored snapshot {snapshot[:12]}: {differing(truth, found)}")
        self.counts["files compared after restore"] += len(found)
        shutil.rmtree(back)

    def _mount(self) -> None:
        self._require(self.imbfs.run("mount", self._mountpoint, check=False), "mount")
        self._reader.moves += 1
        self._reader.moving = False

    def _remount(self) -> None:
        self._reader.moving = True
        self._reader.moves += 1
        # A read may be under way: then it is busy, and stays.
        self._require(self.imbfs.run("umount", self._mountpoint, check=False), "umount", 0, 1, 11)
        if self._mountpoint in mounts_below(self._directory):
            self._reader.moving = False
        else:
            self._mount()
        self.counts["remount"] += 1

    def _kill_mount(self) -> None:
        self._reader.moving = True
        self._reader.moves += 1
        for process, command in processes_marked(self.imbfs.mark).items():
            if str(self._mountpoint) in command or "imbfs-mount" in command:
                os.kill(process, signal.SIGKILL)
        self.imbfs.run("umount", self._mountpoint, check=False)
        self._mount()
        self.counts["mounts killed"] += 1

    # Damage, in a copy: what is damaged has no truth any more

    def _damage_a_copy(self) -> None:
        copy = Imbfs(self._directory / "copy", self.imbfs.mark)
        shutil.rmtree(copy.directory, ignore_errors=True)
        copy.directory.mkdir()
        self._copy_repository(copy.repository)
        kind, how = self._random.choice(KINDS), self._random.choice(sorted(DAMAGES))
        if not (files := files_of(copy.repository, kind)):
            return
        DAMAGES[how](self._random.choice(files))
        checked = copy.run("check", "--read-data", check=False)
        # What nothing needs may be damaged, and the index is made anew.
        self._require(checked, f"check of {kind} {how}", DONE, DAMAGED, NO_REPOSITORY)
        if chosen := sorted(self._known.truths.items()):
            self._restore_damaged(copy, f"{kind} {how}", *self._random.choice(chosen))
        self.counts["damage"] += 1

    def _copy_repository(self, to: Path) -> None:
        """Manifests first: what they need was there before them. A prune may be at work meanwhile."""
        for part in ("snapshots", "index", "packs"):
            shutil.copytree(self.imbfs.repository / part, to / part, copy_function=_copy_what_stands)
        shutil.copy(self.imbfs.repository / "config.json", to)

    def _restore_damaged(self, copy: Imbfs, what: str, snapshot: str, truth: Truth) -> None:
        back = copy.directory / "back"
        result = copy.run("restore", snapshot, "--target", back, check=False)
        self._require(result, f"restore after {what}", *range(13))
        found = read_truth(back) if back.exists() else {}
        wrong = [path for path, value in found.items() if value and truth.get(path) != value]
        if wrong:
            self.failures.append(f"after {what}, restore gives wrong bytes for {wrong[0]}")
        if found != truth and result.code == DONE:
            self.failures.append(f"after {what}, restore does not say that {differing(truth, found)}")

    # The end

    def _look_at_everything(self) -> None:
        listed = {str(snapshot["id"]) for snapshot in self._listed()}
        for snapshot in self._known.truths.keys() - listed:
            self.failures.append(f"snapshot {snapshot[:12]} is lost")
        self._prune_all()
        self._require(self.imbfs.run("check", "--read-data", check=False), "check at the end")
        for snapshot, truth in sorted(self._known.truths.items()):
            self._compare_restored(self.imbfs, snapshot, truth)
        self.counts["snapshots at the end"] = len(listed)

    def _prune_all(self) -> None:
        """Nobody works any more: what killed ones left behind goes, and nothing else stays."""
        # The mount goes on with what it shows; it has shown what was forgotten.
        self.imbfs.run("umount", self._mountpoint, check=False)
        self._reader.moving = True
        self._require(self.imbfs.run("prune", "--max-unused", "0", check=False), "prune at the end")
        unreachable = self.imbfs.run("--json", "stats").json()["totals"]["unreachable"]
        if unreachable["objects"]:
            self.failures.append(f"after a prune, {unreachable['objects']} objects are unreachable")
        for part in ("leases", "condemned"):
            # Made by the first that needs one.
            if left := sorted((self.imbfs.repository / part).glob("*")):
                self.failures.append(f"after a prune, {part} are left: {left[0].read_text()}")


def _copy_what_stands(source: str, target: str) -> None:
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)
