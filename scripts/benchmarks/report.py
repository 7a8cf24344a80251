"""What was measured, and the tables made of it. Pure: a table can be printed again from the raw runs."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

IMBFS, DISK = "imbfs", "reference"
#: Of these, more is better.
RATES = {"MB/s", "reads/s"}
NOTHING = "–"


@dataclass(frozen=True)
class Run:
    """One measurement. Runs with one `pair` were made one right after the other."""

    section: str
    step: str
    program: str
    value: float
    unit: str
    pair: int
    round: int = 0
    cpu: float | None = None
    memory: dict[str, int] = field(default_factory=dict)


@dataclass
class Report:
    """A whole run of the benchmark."""

    title: str
    machine: str
    programs: dict[str, str]
    options: dict[str, Any]
    sections: dict[str, str]
    memory: str
    runs: list[Run] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Report":
        read = json.loads(path.read_text())
        return cls(**(read | {"runs": [Run(**run) for run in read["runs"]]}))

    def markdown(self) -> str:
        known = ", ".join(f"{name} {version}" for name, version in self.programs.items() if version)
        parts = [f"## {self.title}\n", f"{self.machine}  ", f"{known}\n"]
        for section, about in self.sections.items():
            runs = [run for run in self.runs if run.section == section]
            if runs:
                parts += [f"### {about}\n", *self._tables(runs)]
        parts += [f"- failed: {failure}" for failure in self.failures]
        return "\n".join(parts)

    def _tables(self, runs: list[Run]) -> list[str]:
        programs = [name for name in self.programs if any(run.program == name for run in runs)]
        every = with_derived(runs)
        costs = cost_table(runs, programs, self.memory)
        return [speed_table(every, programs), *([costs] if costs else [])]


def with_derived(runs: list[Run]) -> list[Run]:
    """With the rows that follow from others: what copying costs by itself, and many readers against one."""
    found: list[Run] = []
    for step, group in groupby(runs_by_step(runs), lambda run: run.step):
        members = list(group)
        found += members
        if step.startswith("cp -a"):
            found += _less_the_source(step, members)
        if step.startswith("8 readers"):
            found += _against_one(step, members, runs)
    return found


def runs_by_step(runs: list[Run]) -> list[Run]:
    order = {step: at for at, step in enumerate(dict.fromkeys(run.step for run in runs))}
    return sorted(runs, key=lambda run: order[run.step])


def _less_the_source(step: str, runs: list[Run]) -> list[Run]:
    source = values(runs, step, DISK)
    if not source:
        return []
    name = f"{step}, less the source's"
    return [
        Run(run.section, name, run.program, run.value - median(source), run.unit, run.pair)
        for run in runs
        if run.program != DISK
    ]


def _against_one(step: str, runs: list[Run], every: list[Run]) -> list[Run]:
    state = step.rpartition(", ")[2]
    found = []
    for program in dict.fromkeys(run.program for run in runs):
        one = values(every, f"1 reader, {state}", program)
        if one:
            times = median(values(runs, step, program)) / median(one)
            found.append(Run(runs[0].section, f"8 readers : 1, {state}", program, times, "×", -1))
    return found


def values(runs: Iterable[Run], step: str, program: str) -> list[float]:
    return [run.value for run in runs if run.step == step and run.program == program]


def ratio(runs: list[Run], step: str, of: str, to: str) -> float | None:
    """How many times the time of `to` does `of` take: the median over pairs run one after the other."""
    pairs: dict[int, dict[str, Run]] = {}
    for run in runs:
        if run.step == step and run.unit != "×":
            pairs.setdefault(run.pair, {})[run.program] = run
    both = [(pair[of], pair[to]) for pair in pairs.values() if of in pair and to in pair]
    found = [_times(*pair) for pair in both if min(run.value for run in pair) > 0]
    return median(found) if found else None


def _times(of: Run, to: Run) -> float:
    return to.value / of.value if of.unit in RATES else of.value / to.value


def speed_table(runs: list[Run], programs: list[str]) -> str:
    peers = [name for name in programs if name != IMBFS]
    headings = ["step", *programs, *(_ratio_heading(peer) for peer in peers if IMBFS in programs)]
    rows = []
    for step in dict.fromkeys(run.step for run in runs):
        cells = [_cell(runs, step, program) for program in programs]
        ratios = [_ratio_cell(runs, step, peer) for peer in peers if IMBFS in programs]
        rows.append([step, *cells, *ratios])
    return table(headings, rows)


def _ratio_heading(peer: str) -> str:
    return f"imbfs : {peer}" if peer == DISK else f"{peer} : imbfs"


def _ratio_cell(runs: list[Run], step: str, peer: str) -> str:
    times = ratio(runs, step, IMBFS, peer) if peer == DISK else ratio(runs, step, peer, IMBFS)
    return NOTHING if times is None else f"{significant(times)}×"


def _cell(runs: list[Run], step: str, program: str) -> str:
    found = values(runs, step, program)
    if not found:
        return NOTHING
    unit = next(run.unit for run in runs if run.step == step)
    return f"{significant(median(found))} {unit}".replace(" ×", "×")


def cost_table(runs: list[Run], programs: list[str], memory: str) -> str:
    """CPU seconds and peak memory of each program's own processes."""
    counted = [run for run in runs if run.cpu is not None]
    programs = [name for name in programs if any(run.program == name for run in counted)]
    if not counted:
        return ""
    headings = ["step", *(f"{name}: CPU, {memory}" for name in programs)]
    steps = dict.fromkeys(run.step for run in counted)
    return table(headings, [[step, *(_cost(counted, step, name) for name in programs)] for step in steps])


def _cost(runs: list[Run], step: str, program: str) -> str:
    chosen = [run for run in runs if run.step == step and run.program == program]
    if not chosen:
        return NOTHING
    cpu = _median_of(chosen, lambda run: run.cpu)
    peak = _median_of(chosen, lambda run: run.memory.get("peak"))
    size = f"{significant(peak / 1e6)} MB" if peak else NOTHING
    return f"{NOTHING if cpu is None else significant(cpu)} s, {size}"


def _median_of(runs: list[Run], what: Callable[[Run], float | None]) -> float | None:
    found = [value for run in runs if (value := what(run)) is not None]
    return median(found) if found else None


def significant(value: float) -> str:
    """Three digits that count: 0.0123, 1.23, 12.3, 1,234."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"


def table(headings: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(headings) - 1)]
    lines = ([cell.replace("|", "\\|") for cell in row] for row in [headings, rule, *rows])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
