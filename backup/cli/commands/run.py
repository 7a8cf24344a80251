"""imbfs run"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from backup.cli import exits
from backup.cli.context import Context
from backup.cli.metrics import add_metrics
from backup.cli.output import tell
from backup.model.errors import ImbfsError

if TYPE_CHECKING:
    from backup.cli.profiles import Profile


#: In this order. What comes after a step that failed is not done.
STEPS = ("backup", "forget", "history", "prune", "check")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "profiles",
        metavar="PROFILE",
        nargs="*",
        help="which (the one called default, or the only one)",
    )
    add_metrics(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    from backup.cli.profiles.state import only_run

    profile = context.profile
    assert profile is not None
    with only_run(profile.name):
        return _Run(context, profile).run()


class _Run:
    """One run of a profile, and what has come of it so far."""

    def __init__(self, context: Context, profile: "Profile") -> None:
        self._context = context
        self._profile = profile
        self._started = time.monotonic()
        self._codes: list[int] = []
        self._error: str | None = None
        self._summaries: dict[str, dict[str, Any] | None] = dict.fromkeys(STEPS)

    def run(self) -> int:
        try:
            self._before()
            for step in STEPS:
                if not self._failed():
                    self._step(step)
        except (ImbfsError, OSError) as error:
            self._fail(error)
            self._context.warn(exits.message_of(error))
        except BaseException as error:
            self._fail(error)
            self._after()
            raise
        self._after()
        self._context.report(self._summary())
        if not self._context.json and not self._context.quiet:
            seconds = time.monotonic() - self._started
            tell(f"profile {self._profile.name}: {self._verdict()} in {seconds:.1f} s")
        return exits.worst(self._codes)

    def _failed(self) -> bool:
        return exits.worst(self._codes) not in (exits.DONE, exits.PARTLY)

    def _fail(self, error: BaseException) -> None:
        self._codes.append(exits.code_of(error))
        self._error = exits.message_of(error)

    def _verdict(self) -> str:
        code = exits.worst(self._codes)
        known = {exits.DONE: "done", exits.PARTLY: "done in part", exits.ALARM: "backed up, with alarms"}
        return known.get(code, f"failed (exit code {code})")

    def _step(self, step: str) -> None:
        from backup.cli.profiles.history import has_latest_only, keep_latest_only
        from backup.cli.profiles.state import Times
        from backup.cli.profiles.using import arguments_of

        if step == "history" and has_latest_only(self._profile):
            with self._context.open_repository() as repository:
                code, self._summaries[step] = keep_latest_only(self._context, self._profile, repository)
            self._codes.append(code)
        if step not in self._profile.options:
            return
        times, now = Times(self._profile.name), self._context.now()
        if not times.due(step, self._profile.every.get(step), now):
            self._context.detail(f"{step} is not due yet")
            return
        context = self._context.part()
        module = import_module(f"backup.cli.commands.{step}")
        try:
            code = module.run(context, arguments_of(self._profile, step))
        finally:
            self._summaries[step] = context.summary
        self._codes.append(code)
        if code == exits.DONE and step in self._profile.every:
            times.note(step, now)

    def _before(self) -> None:
        from backup.cli.profiles.hooks import run_hooks

        hooks = self._profile.hooks
        run_hooks("before", hooks.before, hooks.timeout, {"IMBFS_PROFILE": self._profile.name})

    def _after(self) -> None:
        """First what tidies up, then, where anything failed, what tells of it."""
        from backup.cli.profiles.hooks import try_hooks

        hooks = self._profile.hooks
        for name, commands in (("after", hooks.after), ("on-failure", hooks.on_failure)):
            if not commands or (name == "on-failure" and not exits.worst(self._codes)):
                continue
            with self._told() as told:
                if not try_hooks(name, commands, hooks.timeout, told, self._context.warn):
                    self._codes.append(exits.FAILED)

    @contextmanager
    def _told(self) -> Iterator[dict[str, str]]:
        """What a hook finds in its environment."""
        backup = self._summaries["backup"] or {}
        snapshot = backup.get("snapshot")
        with tempfile.NamedTemporaryFile("w", suffix=".json", prefix="imbfs-") as file:
            json.dump(self._summary(), file)
            file.flush()
            yield {
                "IMBFS_PROFILE": self._profile.name,
                "IMBFS_EXIT_CODE": str(exits.worst(self._codes)),
                "IMBFS_SNAPSHOT": snapshot or "",
                "IMBFS_ALARMS": str(len(backup.get("alarms") or ())),
                "IMBFS_ERROR": os.fsencode(self._error or "").decode(errors="replace"),
                "IMBFS_SUMMARY": file.name,
            }

    def _summary(self) -> dict[str, Any]:
        return {
            **self._summaries,
            "exit_code": exits.worst(self._codes),
            "error": self._error,
            "seconds": round(time.monotonic() - self._started, 3),
        }
