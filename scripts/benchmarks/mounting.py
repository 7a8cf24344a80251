"""`scripts/bench mount`: what a mount does for those who read from it."""

import itertools
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from scripts.benchmarks import meter
from scripts.benchmarks.data import IMAGE, KIB, NoData, Sizes, Tree, make_tree
from scripts.benchmarks.programs import (
    Imbfs,
    Mounted,
    Program,
    Reference,
    cpu_of,
    make_cold,
    mounted,
    require,
)
from scripts.benchmarks.report import DISK, Report, Run
from scripts.benchmarks.stage import Command, Stage, StepFailed, shell

#: Each section reads one tree.
SECTIONS = {"kernel": "kernel", "small": "small", "image": "large", "media": "large"}
READERS = 8


@dataclass(frozen=True)
class Options:
    data: Path
    sizes: Sizes
    sections: list[str]
    rounds: int
    whole_cache: bool
    seconds: float
    sample: int


@dataclass(frozen=True)
class Step:
    """Measured twice in one mount, cold and warm. `measure` gets the tree's top in the mount."""

    name: str
    unit: str
    measure: Callable[[Path], float]


class MountBench:
    def __init__(self, stage: Stage, options: Options, programs: list[Program], report: Report) -> None:
        self.stage, self.options, self.report = stage, options, report
        self.programs = programs
        self._pairs = itertools.count()
        self._draw = random.Random()
        self._tiny: dict[str, Path] = {}

    def run(self) -> None:
        for section in self.options.sections:
            try:
                self.section(section, make_tree(SECTIONS[section], self.options.sizes, self.options.data))
            except (NoData, StepFailed) as error:
                self.report.failures.append(f"{section}: {error}")

    def section(self, section: str, tree: Tree) -> None:
        self.report.sections[section] = f"{section}: {_about(section, tree)}"
        imbfs, *others = self.programs
        homes = {imbfs.name: self.home(imbfs, tree)} | self.homes(others, tree)
        peers = [Reference(tree.path), *(peer for peer in others if peer.name in homes)]
        for number in range(self.options.rounds):
            for step in (None, *self.steps(section, tree)):
                for peer in peers:
                    self.pair(section, step, number, imbfs, peer, homes)

    def homes(self, programs: list[Program], tree: Tree) -> dict[str, Path]:
        """A peer that cannot back the tree up is told and left out."""
        found = {}
        for program in programs:
            try:
                found[program.name] = self.home(program, tree)
            except StepFailed as error:
                self.report.failures.append(f"{tree.name}, {program.name}: {error}")
        return found

    def pair(
        self,
        section: str,
        step: Step | None,
        number: int,
        imbfs: Program,
        peer: Program,
        homes: dict[str, Path],
    ) -> None:
        """imbfs and its peer one right after the other, in every second round the other way round."""
        pair = next(self._pairs)
        for program in (imbfs, peer) if number % 2 == 0 else (peer, imbfs):
            home = homes.get(program.name, self.stage.work)
            name = step.name if step else "mount to first ls"
            try:
                for run in self.session(section, step, program, home):
                    self.report.runs.append(Run(**run, section=section, pair=pair, round=number))
                    print(
                        f"{section}: {name}: {program.name}: {run['value']:.4g} {run['unit']}",
                        file=sys.stderr,
                    )
            except StepFailed as error:
                self.report.failures.append(f"{section}, {name}, {program.name}: {error}")

    # One program through one step.

    def session(
        self, section: str, step: Step | None, program: Program, home: Path
    ) -> Iterator[dict[str, Any]]:
        if step is None:
            yield from self.first_ls(program, home)
            return
        self.cold(program, home)
        with mounted(self.stage, program, home) as mount:
            for state in ("cold", "warm"):
                yield self.step(step, state, program, mount)

    def first_ls(self, program: Program, home: Path) -> Iterator[dict[str, Any]]:
        for state in ("cold", "warm"):
            if state == "cold":
                self.cold(program, home)
            with mounted(self.stage, program, home) as mount:
                sums = meter.memory(mount.pids)
                # The disk has nothing to mount: its own first ls is no measure for this.
                if program.name != DISK:
                    yield {
                        "step": f"mount to first ls, {state}",
                        "program": program.name,
                        "value": mount.seconds,
                        "unit": "s",
                        "cpu": mount.cpu,
                        "memory": sums | {"peak": sums["private"]},
                    }

    def step(self, step: Step, state: str, program: Program, mount: Mounted) -> dict[str, Any]:
        before = cpu_of(mount)
        with meter.MemoryWatch(lambda: meter.family(mount.pids), "private") as watch:
            value = step.measure(mount.top)
        after = cpu_of(mount)
        return {
            "step": f"{step.name}, {state}",
            "program": program.name,
            "value": value,
            "unit": step.unit,
            "cpu": None if before is None or after is None else after - before,
            "memory": watch.highest if mount.pids else {},
        }

    def cold(self, program: Program, home: Path) -> None:
        """The data is cold, the programs are not: all that a step will run has just run elsewhere."""
        make_cold(program, home, self.options.whole_cache)
        if not self.options.whole_cache:
            return
        if isinstance(program, Reference):
            self.use_tools(self._tiny_tree())
        else:
            with mounted(self.stage, program, self._tiny_home(program)) as mount:
                self.use_tools(mount.top)

    def use_tools(self, top: Path) -> None:
        self.stage.run(shell("ls; find . -printf %s; tar c . | cat", top))
        with self.stage.target(self.stage.work) as target:
            self.stage.run(Command(["cp", "-a", f"{top}/.", target]))
        self.stage.readers([{"kind": "small", "paths": [str(top / "file")]}])

    # Steps.

    def steps(self, section: str, tree: Tree) -> list[Step]:
        if section == "image":
            return self.image_steps([(IMAGE, (tree.path / IMAGE).stat().st_size)])
        if section == "media":
            names = [name for name in tree.paths() if name != IMAGE]
            return self.reading_steps([(name, (tree.path / name).stat().st_size) for name in names])
        return [*self.tree_steps(section, tree), self.small_file_step(tree)]

    def tree_steps(self, section: str, tree: Tree) -> list[Step]:
        find = Step("find -printf", "s", lambda top: self.find(top, tree.entries))
        if section == "small":
            return [find]
        tar = Step("tar c . | cat", "s", lambda top: self.stage.time(shell("tar c . | cat", top)))
        ram = self.stage.ram_for(tree.room)
        place = "a RAM disk" if ram else "the disk"
        copy = Step(f"cp -a to {place}", "s", lambda top: self.copy(top, ram or self.stage.work))
        return [find, tar, copy]

    def find(self, top: Path, entries: int) -> float:
        listing = self.stage.work / "listing"
        seconds = self.stage.time(Command(["find", ".", "-printf", "%s %m\\n"], top), listing)
        with listing.open("rb") as lines:
            found = sum(1 for _ in lines)
        require(found == entries, f"found {found} of {entries} entries")
        return seconds

    def copy(self, top: Path, parent: Path) -> float:
        with self.stage.target(parent) as target:
            return self.stage.time(Command(["cp", "-a", f"{top}/.", target]))

    def small_file_step(self, tree: Tree) -> Step:
        names = tree.paths()
        chosen = random.Random(tree.name).sample(names, min(self.options.sample, len(names)))
        return Step("one file: open, read, close", "ms", lambda top: self.small_files(top, chosen))

    def small_files(self, top: Path, names: list[str]) -> float:
        _, done = self.stage.readers([{"kind": "small", "paths": [str(top / name) for name in names]}])
        taken: list[float] = done[0]["taken"]
        return median(taken) * 1000

    def image_steps(self, files: list[tuple[str, int]]) -> list[Step]:
        name = files[0][0]
        return [
            *self.reading_steps(files),
            Step("random 4 KiB, 1 job", "reads/s", lambda top: self.random_reads(top / name, 1)),
            Step("random 4 KiB, 4 jobs", "reads/s", lambda top: self.random_reads(top / name, 4)),
        ]

    def reading_steps(self, files: list[tuple[str, int]]) -> list[Step]:
        """By one reader after the other, and by several at once that share the same bytes."""
        whole = [(name, 0, size) for name, size in files]
        return [
            Step("1 reader", "MB/s", lambda top: self.read(top, [whole])),
            Step(f"{READERS} readers", "MB/s", lambda top: self.read(top, shares(files, READERS))),
        ]

    def read(self, top: Path, parts: list[list[tuple[str, int, int]]]) -> float:
        jobs = [
            {"kind": "parts", "parts": [(str(top / name), start, length) for name, start, length in part]}
            for part in parts
        ]
        seconds, done = self.stage.readers(jobs)
        wanted = sum(length for part in parts for _, _, length in part)
        amount: int = sum(one["amount"] for one in done)
        require(amount == wanted, f"read {amount} of {wanted} bytes")
        return amount / 1e6 / seconds

    def random_reads(self, path: Path, jobs: int) -> float:
        seconds, done = self.stage.readers(
            [
                {
                    "kind": "random",
                    "path": str(path),
                    "seed": self._draw.getrandbits(60),
                    "seconds": self.options.seconds,
                }
                for _ in range(jobs)
            ]
        )
        reads: int = sum(one["amount"] for one in done)
        return reads / seconds

    # Repositories.

    def home(self, program: Program, tree: Tree) -> Path:
        """The tree backed up: a peer's is kept for the next run, that of imbfs is made anew in each."""
        home = self.options.data / "repositories" / tree.path.name / program.name
        mark = home / "complete"
        if isinstance(program, Imbfs):
            home = self.stage.work / f"{tree.path.name}-repository"
            mark = home / "complete"
        told = program.version()
        if not mark.exists() or mark.read_text() != told:
            print(f"backing {tree.path.name} up with {program.name}", file=sys.stderr)
            self.back_up(program, tree.path, home)
            mark.write_text(told)
        return home

    def back_up(self, program: Program, tree: Path, home: Path) -> None:
        self.stage.run(Command(["rm", "-rf", home]))
        home.mkdir(parents=True)
        for command in (program.init(home), program.backup(home, tree)):
            if command:
                self.stage.run(command)

    def _tiny_home(self, program: Program) -> Path:
        if program.name not in self._tiny:
            home = self.stage.work / f"tiny-{program.name}"
            self.back_up(program, self._tiny_tree(), home)
            self._tiny[program.name] = home
        return self._tiny[program.name]

    def _tiny_tree(self) -> Path:
        tree = self.stage.work / "tiny"
        tree.mkdir(exist_ok=True)
        (tree / "file").write_bytes(b"tiny\n" * KIB)
        return tree


def shares(files: list[tuple[str, int]], count: int) -> list[list[tuple[str, int, int]]]:
    """The files' bytes in `count` parts: whole files where there are enough, else runs of each."""
    if len(files) >= count:
        return [[(name, 0, size) for name, size in files[at::count]] for at in range(count)]
    return [
        [(name, size * at // count, size * (at + 1) // count - size * at // count) for name, size in files]
        for at in range(count)
    ]


def _about(section: str, tree: Tree) -> str:
    image = (tree.path / IMAGE).stat().st_size if section in ("image", "media") else 0
    if section == "image":
        return f"{image / 1e6:,.0f} MB, partly compressible"
    if section == "media":
        return f"{tree.files - 1} files, {(tree.size - image) / 1e6:,.0f} MB, incompressible"
    return tree.about
