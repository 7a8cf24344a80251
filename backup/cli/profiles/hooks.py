"""Hooks: the commands of the user that stand around a run."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from backup.cli.profiles.profile import Command
from backup.model.errors import ImbfsError


class HookFailed(ImbfsError):
    """A hook that could not be started, took too long, or ended with another exit code than 0."""


def run_hooks(name: str, commands: Sequence[Command], timeout: float, told: Mapping[str, str]) -> None:
    """One after the other, up to the first that fails. Raises `HookFailed`.

    `told` is added to the environment. What a hook prints goes to stderr: stdout is for results.
    """
    for command in commands:
        _run(name, command, timeout, told)


def try_hooks(
    name: str,
    commands: Sequence[Command],
    timeout: float,
    told: Mapping[str, str],
    warn: Callable[[str], None],
) -> bool:
    """All of them, whatever becomes of each. Whether all went well."""
    well = True
    for command in commands:
        try:
            _run(name, command, timeout, told)
        except HookFailed as error:
            warn(str(error))
            well = False
    return well


def _run(name: str, command: Command, timeout: float, told: Mapping[str, str]) -> None:
    title = f"the hook {name} ({command[0]})"
    try:
        process, signals = _start(command, {**os.environ, **told, "IMBFS_HOOK": name})
    except OSError as error:
        raise HookFailed(f"{title} cannot be started: {error.strerror}") from error
    try:
        for number in signals:
            signal.raise_signal(number)
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise HookFailed(f"{title} was ended: it took more than {timeout:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code:
        how = f"failed with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        raise HookFailed(f"{title} {how}")


def _start(command: Command, environment: Mapping[str, str]) -> "tuple[subprocess.Popen[bytes], list[int]]":
    """The process, and the signals that came meanwhile: one of them could leave it behind unknown."""
    signals: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: signals.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        # A session of its own: what it started ends with it when it takes too long.
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
        )
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return process, signals
