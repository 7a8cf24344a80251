"""scripts/bench: arguments, and what the machine is."""

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from scripts.benchmarks import backing, caches, mounting, scaling
from scripts.benchmarks.data import QUICK, NoData, Sizes
from scripts.benchmarks.programs import Program, present
from scripts.benchmarks.report import DISK, IMBFS, Report
from scripts.benchmarks.stage import END_SIGNALS, Stage, StepFailed

#: The last has no history: only its mount is measured.
PEERS = ("restic", "borg", "squashfuse_ll")


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    given = parser.parse_args(arguments)
    if given.verb == "table":
        for file in given.files:
            print(Report.load(file).markdown())
        return 0
    if given.verb == "scale":
        scaling.scale(given.data or default_data(), given.files, given.snapshots)
        return 0
    sections = list(mounting.SECTIONS if given.verb == "mount" else backing.SECTIONS)
    unknown = set(given.only or ()) - set(sections)
    if unknown:
        parser.error(f"--only: {', '.join(sorted(unknown))}: choose from {', '.join(sections)}")
    given.only = [section for section in sections if not given.only or section in given.only]
    try:
        return bench(given)
    except (NoData, StepFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    mount = verbs.add_parser("mount", help="reading from a mount, beside the source and other mounts")
    backup = verbs.add_parser(
        "backup", help="backing up and restoring, beside plain tools and other programs"
    )
    for verb in (mount, backup):
        _add_common(verb)
    mount.add_argument(
        "--drop",
        choices=["files", "caches"],
        help="what is dropped before a cold step: only "
        "the pages of the files (or, as root, everything that the machine caches)",
    )
    mount.add_argument("--seconds", type=float, default=5, help="how long each random reading lasts (5)")
    mount.add_argument("--sample", type=int, default=500, help="files opened one by one (500)")
    mount.add_argument(f"--{PEERS[2]}", metavar="PATH", help="where squashfuse_ll is")
    scale = verbs.add_parser("scale", help="how the cost of a backup grows with files and snapshots")
    scale.add_argument("--data", type=Path, metavar="DIR", help="where trees are made and kept")
    scale.add_argument("--files", type=_numbers, metavar="N,…", default=[10_000, 100_000, 1_000_000])
    scale.add_argument("--snapshots", type=_numbers, metavar="N,…", default=[1, 100, 1000])
    table = verbs.add_parser("table", help="print the tables of earlier runs again")
    table.add_argument("files", nargs="+", type=Path, metavar="JSON")
    return parser


def _add_common(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="where trees and the peers' repositories are "
        "made and kept ($XDG_CACHE_HOME/imbfs-bench; with --quick nothing is kept)",
    )
    verb.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="where this run works: its repositories, mounts "
        "and copies, all removed at its end (the data directory)",
    )
    verb.add_argument("--only", type=_words, metavar="SECTION,…", help="these sections only")
    verb.add_argument("--peers", type=_words, metavar="PROGRAM,…", help="these programs beside imbfs (all)")
    verb.add_argument("--small", type=int, metavar="N", help="how many small files (1,000,000)")
    verb.add_argument("--repeat", type=int, default=1, metavar="N", help="rounds; tables show medians (1)")
    verb.add_argument("--json", type=Path, metavar="FILE", help="keep all single runs here")
    verb.add_argument(
        "--quick", action="store_true", help="tiny trees: tries the benchmark, measures nothing"
    )
    for name in (IMBFS, *PEERS[:2]):
        verb.add_argument(f"--{name}", metavar="PATH", help=f"where {name} is")


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in _words(text)]


def bench(given: argparse.Namespace) -> int:
    end_on_signals()
    programs = chosen_programs(given)
    report = empty_report(given, programs)
    with tempfile.TemporaryDirectory(prefix="imbfs-bench-") as passing:
        data = given.data or (Path(passing) if given.quick else default_data())
        with Stage((given.work or data).resolve()) as stage:
            try:
                chosen_bench(given, stage, data.resolve(), programs, report).run()
            finally:
                if given.json:
                    report.save(given.json)
    print(report.markdown())
    return 1 if report.failures else 0


def chosen_bench(
    given: argparse.Namespace, stage: Stage, data: Path, programs: list[Program], report: Report
) -> mounting.MountBench | backing.BackupBench:
    sizes = QUICK if given.quick else Sizes()
    sizes = replace(sizes, small=given.small or sizes.small)
    if given.verb == "backup":
        backup = backing.Options(data, sizes, given.only, given.repeat, flush=not given.quick)
        return backing.BackupBench(stage, backup, programs, report)
    whole, seconds, sample = drops_all(given), given.seconds, given.sample
    if given.quick:
        seconds, sample = min(seconds, 0.2), min(sample, 50)
    mount = mounting.Options(data, sizes, given.only, given.repeat, whole, seconds, sample)
    return mounting.MountBench(stage, mount, programs, report)


def chosen_programs(given: argparse.Namespace) -> list[Program]:
    places = {name: getattr(given, name, None) for name in (IMBFS, *PEERS)}
    every = PEERS if given.verb == "mount" else PEERS[:2]
    wanted = every if given.peers is None else [name for name in every if name in given.peers]
    return present(wanted, places)


def drops_all(given: argparse.Namespace) -> bool:
    """A smoke test leaves the machine's caches alone."""
    if given.drop == "caches" and not caches.can_drop_all():
        raise StepFailed("only root can drop the machine's caches: leave --drop out")
    return bool(given.drop == "caches" or (not given.drop and not given.quick and caches.can_drop_all()))


def default_data() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache, "imbfs-bench")


def empty_report(given: argparse.Namespace, programs: list[Program]) -> Report:
    options = {name: str(value) for name, value in vars(given).items() if value is not None}
    versions = {DISK: ""} | {program.name: program.version() for program in programs}
    kind = "private memory" if given.verb == "mount" else "memory (PSS)"
    return Report(f"bench {given.verb}", machine(given), versions, options, {}, kind)


def machine(given: argparse.Namespace) -> str:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    parts = [
        f"{os.cpu_count()} cores",
        f"{pages * size / 2**30:.0f} GiB of memory",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
        f"rounds: {given.repeat}",
    ]
    if given.verb == "mount":
        parts.append(f"dropped when cold: {'all caches' if drops_all(given) else 'the pages of the files'}")
    return ", ".join(parts)


def end_on_signals() -> None:
    """Whoever ends the benchmark ends it by its own way out, which leaves nothing mounted or running."""
    for number in END_SIGNALS:
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    for one in END_SIGNALS:
        signal.signal(one, signal.SIG_IGN)  # a second Ctrl-C must not stop the clearing up
    raise SystemExit(128 + number)
