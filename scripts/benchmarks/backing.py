"""`scripts/bench backup`: the first backup, one where nothing changed, one where 1 % did, and restoring."""

import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.data import NoData, Sizes, Tree, change, make_tree
from scripts.benchmarks.programs import Program, Reference, require
from scripts.benchmarks.report import Report, Run
from scripts.benchmarks.stage import Command, Stage, StepFailed, Usage, shell

SECTIONS = ("kernel", "small", "large")
FIRST = "first (reference: tar | zstd -3 -T2)"
UNCHANGED = "nothing changed (reference: find -printf)"
CHANGED = "1 % changed"
RESTORE = "restore to {} (reference: tar x)"


@dataclass(frozen=True)
class Options:
    data: Path
    sizes: Sizes
    sections: list[str]
    rounds: int
    flush: bool


@dataclass(frozen=True)
class Measured:
    """One program on its way through all steps, with a repository that is new in each round."""

    program: Program
    home: Path
    pair: int
    round: int


class BackupBench:
    def __init__(self, stage: Stage, options: Options, programs: list[Program], report: Report) -> None:
        self.stage, self.options, self.report = stage, options, report
        self.programs = programs
        self._numbers = itertools.count()

    def run(self) -> None:
        for section in self.options.sections:
            try:
                self.section(make_tree(section, self.options.sizes, self.options.data))
            except (NoData, StepFailed) as error:
                self.report.failures.append(f"{section}: {error}")

    def section(self, tree: Tree) -> None:
        self.report.sections[tree.name] = f"{tree.name}: {tree.about}"
        imbfs, *others = self.programs
        peers = [Reference(tree.path, self.archive(tree)), *others]
        for number in range(self.options.rounds):
            self.interpreter_start(tree, number)
            for peer in peers:
                both = (imbfs, peer) if number % 2 == 0 else (peer, imbfs)
                self.round(tree, [self.measured(program, number) for program in both])

    def archive(self, tree: Tree) -> Path:
        """What `tar x` unpacks."""
        path = self.stage.work / f"{tree.name}.tar"
        self.stage.run(Command(["tar", "cf", path, "."], tree.path))
        return path

    def measured(self, program: Program, number: int) -> Measured:
        home = self.stage.work / f"home-{next(self._numbers)}"
        home.mkdir()
        return Measured(program, home, 0, number)

    def interpreter_start(self, tree: Tree, number: int) -> None:
        imbfs = self.programs[0]
        usage = self.stage.measure(imbfs.call(self.stage.work, "--version"))
        self.note(
            tree.name,
            "imbfs --version (the interpreter's start)",
            Measured(imbfs, self.stage.work, 0, number),
            usage,
        )

    def round(self, tree: Tree, both: list[Measured]) -> None:
        """All steps, each by one program right after the other."""
        paths = tree.paths()
        changed = False
        try:
            self.stage.run(shell("tar c . | cat", tree.path))  # the source is warm for all alike
            self.each(tree, both, FIRST, lambda one: self.first(one, tree))
            self.each(tree, both, UNCHANGED, lambda one: self.again(one, tree))
            change(tree, paths)
            changed = True
            self.each(tree, both, CHANGED, lambda one: self.after_change(one, tree))
            self.restore_steps(tree, both)
            self.sizes(tree, both)
        finally:
            if changed:
                change(tree, paths)
            for one in both:
                self.stage.run(Command(["rm", "-rf", one.home]))

    def each(
        self, tree: Tree, both: list[Measured], step: str, measure: Callable[[Measured], Usage | None]
    ) -> None:
        pair = next(self._numbers)
        for one in both:
            try:
                usage = measure(one)
            except StepFailed as error:
                self.report.failures.append(f"{tree.name}, {step}, {one.program.name}: {error}")
                continue
            if usage:
                self.note(tree.name, step, Measured(one.program, one.home, pair, one.round), usage)

    def note(self, section: str, step: str, one: Measured, usage: Usage) -> None:
        name = one.program.name
        run = Run(section, step, name, usage.wall, "s", one.pair, one.round, usage.cpu, usage.memory)
        self.report.runs.append(run)
        print(f"{section}: {step}: {name}: {usage.wall:.3f} s", file=sys.stderr)

    # Steps.

    def first(self, one: Measured, tree: Tree) -> Usage | None:
        init = one.program.init(one.home)
        if init:
            self.stage.run(init)
        return self.measure(one.program.backup(one.home, tree.path))

    def again(self, one: Measured, tree: Tree) -> Usage | None:
        if isinstance(one.program, Reference):
            return self.measure(one.program.unchanged(tree.path))
        return self.measure(one.program.backup(one.home, tree.path))

    def after_change(self, one: Measured, tree: Tree) -> Usage | None:
        if isinstance(one.program, Reference):
            return None
        return self.measure(one.program.backup(one.home, tree.path))

    def restore_steps(self, tree: Tree, both: list[Measured]) -> None:
        ram = self.stage.ram_for(tree.room)
        places = {"a RAM disk": ram, "the disk": self.stage.work}
        for name, place in places.items():
            if place:
                step = RESTORE.format(name)
                self.each(tree, both, step, functools.partial(self.restore, tree, place))

    def restore(self, tree: Tree, place: Path, one: Measured) -> Usage | None:
        with self.stage.target(place) as target:
            usage = self.measure(one.program.restore(one.home, target))
            found = sum(1 for _ in _entries(target))
            require(found == tree.entries, f"restored {found} of {tree.entries} entries")
            return usage

    def measure(self, command: Command | None) -> Usage | None:
        """What earlier steps wrote reaches the disk first, not on the time of this one."""
        if command is None:
            return None
        if self.options.flush:
            os.sync()
        return self.stage.measure(command, self.stage.work / "output")

    def sizes(self, tree: Tree, both: list[Measured]) -> None:
        pair = next(self._numbers)
        for one in both:
            size, derived = one.program.repository_size(one.home), one.program.derived_size(one.home)
            rows = {"repository": size, "of it or beside it, indexes and caches": derived}
            for step, amount in rows.items():
                name = one.program.name
                self.report.runs.append(Run(tree.name, step, name, amount / 1e6, "MB", pair, one.round))


def _entries(top: Path) -> Iterator[str]:
    """The top itself and all below it."""
    for directory, inner, names in os.walk(top):
        yield directory
        yield from names
        yield from (name for name in inner if os.path.islink(os.path.join(directory, name)))
