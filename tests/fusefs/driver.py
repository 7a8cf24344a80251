"""Runs the sample's mount, as a program: `python -m tests.fusefs.driver HOW KIND MOUNTPOINT [OPTION…]`.

Prints `ready` when the mount answers. A second process, because the kernel would hold this one
while it waits for itself.
"""

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from fusefs.background import mount_in_background
from fusefs.mounting import serve
from fusefs.protocol import IN_HEADER
from fusefs.requests import Requests
from fusefs.view import View
from tests.fusefs.sample import MANY, Node, Sample, sample


class CustomError(Exception):
    """One that the engine might raise."""


def no_view() -> AbstractContextManager[View]:
    raise CustomError("no such repository")


def unspeakable() -> AbstractContextManager[View]:
    class Local(Exception):
        """Cannot be pickled."""

    raise Local("not to be carried over")


def killed() -> AbstractContextManager[View]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@contextlib.contextmanager
def without_root() -> Iterator[View]:
    view = Sample()
    view.nodes = dict[int, Node]()
    yield view


@contextlib.contextmanager
def small() -> Iterator[View]:
    view = Sample()
    sys.stderr.write("view made\n")
    yield view
    sys.stderr.write("view closed\n")


@contextlib.contextmanager
def plain() -> Iterator[View]:
    yield sample()


@contextlib.contextmanager
def whole() -> Iterator[View]:
    yield sample(MANY)


KINDS: dict[str, Callable[[], AbstractContextManager[View]]] = {
    "no_view": no_view,
    "unspeakable": unspeakable,
    "killed": killed,
    "without_root": without_root,
    "small": small,
    "plain": plain,
    "whole": whole,
}


def counting() -> dict[str, int]:
    """Counts requests by opcode from here on."""
    counts: dict[str, int] = {}
    answer = Requests.answer

    def counted(self: Requests, request: memoryview) -> None:
        opcode = str(IN_HEADER.unpack_from(request)[1])
        counts[opcode] = counts.get(opcode, 0) + 1
        answer(self, request)

    Requests.answer = counted  # type: ignore[method-assign]
    return counts


def main(how: str, kind: str, mountpoint: str, *options: str) -> None:
    logging.basicConfig(level=logging.INFO)
    idle = float(os.environ["IDLE"]) if "IDLE" in os.environ else None
    if how == "background":
        try:
            pid = mount_in_background(
                KINDS[kind], mountpoint, options, log_file=Path(os.environ["LOG"]), idle_timeout=idle
            )
        except Exception as error:
            sys.exit(f"{type(error).__name__}: {error}")
        sys.stdout.write(f"{pid}\n")
        return

    counts = counting() if how == "counting" else None

    def ready() -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    with KINDS[kind]() as view:
        serve(view, mountpoint, options, on_ready=ready, idle_timeout=idle)
    if counts is not None:
        sys.stderr.write(f"{json.dumps(counts)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
