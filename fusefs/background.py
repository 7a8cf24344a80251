"""Runs a mount in a process of its own that outlives the command which started it."""

import logging
import os
import pickle
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

from fusefs.mounting import serve
from fusefs.mountpoint import MountError
from fusefs.view import View

log = logging.getLogger("fusefs")

#: Bytes from which on a new log file is begun; one older file is kept.
_LARGE_LOG = 1 << 20

_PID = struct.Struct("=q")

#: Opens the repository and makes the view; closes both again at the end of the mount.
ViewFactory = Callable[[], AbstractContextManager[View]]


def default_log_file() -> Path:
    """`$XDG_STATE_HOME/imbfs/mount.log`."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "imbfs" / "mount.log"


def mount_in_background(
    factory: ViewFactory,
    mountpoint: str,
    options: Iterable[str] = (),
    *,
    log_file: Path | None = None,
    idle_timeout: float | None = None,
    notices: list[str] | None = None,
) -> int:
    """Mounts in a new process without terminal and returns its number once the mount answers.

    `factory` is called in that process, because LMDB must not be carried over a fork; its working
    directory is `/`, so all paths in it have to be absolute. The rest is as in `serve`.
    What it appends to `notices` there is appended to it here, when the mount answers.
    What `factory` or `serve` raise is raised here, and nothing is mounted then; what cannot be
    carried over becomes a MountError with its text.

    Must be called before the process has threads: a forked child has none of them, but their locks.
    """
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("cannot go to the background: this process has threads already")
    log_descriptor = _open_log(log_file or default_log_file())
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    middle = os.fork()
    if middle == 0:
        os.close(reading)
        _detach(log_descriptor)
        _drive(factory, os.path.abspath(mountpoint), tuple(options), idle_timeout, writing, notices)
    os.close(writing)
    os.close(log_descriptor)
    os.waitpid(middle, 0)
    number, told = _outcome(reading)
    if notices is not None:
        notices[:] = told
    return number


def _open_log(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > _LARGE_LOG:
            path.replace(path.with_name(path.name + ".old"))
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise MountError(f"cannot write the log {path}: {error.strerror}") from None


def _detach(log_descriptor: int) -> None:
    """From here on a daemon: no terminal, and no way to get one; what is printed is logged."""
    os.setsid()
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log_descriptor, 1)
    os.dup2(log_descriptor, 2)
    os.chdir("/")
    sys.stdout = sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    form = "%(asctime)s [%(process)d] %(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, stream=sys.stderr, force=True)


def _drive(
    factory: ViewFactory,
    mountpoint: str,
    options: tuple[str, ...],
    idle_timeout: float | None,
    pipe: int,
    notices: list[str] | None,
) -> NoReturn:
    """The daemon's life. Never returns: the stack above it is the command's."""

    def ready() -> None:
        _write_all(pipe, pickle.dumps(list(notices or ())))
        os.close(pipe)

    code = 1
    try:
        os.write(pipe, _PID.pack(os.getpid()))
        with factory() as view:
            serve(view, mountpoint, options, on_ready=ready, idle_timeout=idle_timeout)
        code = 0
    except BaseException as error:
        log.error("%s: %s", mountpoint, " ".join(str(error).split()) or type(error).__name__)
        if not isinstance(error, MountError):
            traceback.print_exc()
        # When the mount had answered already, nobody reads this any more.
        _write_if_open(pipe, _portable(error))
    finally:
        os._exit(code)


def _write_all(pipe: int, message: bytes) -> None:
    while message:
        message = message[os.write(pipe, message) :]


def _write_if_open(pipe: int, message: bytes) -> None:
    try:
        os.write(pipe, message)
    except OSError:
        log.debug("the command that started this mount has ended")


def _portable(error: BaseException) -> bytes:
    """`error` for the parent, which raises it: as it is if that can be, else as a MountError."""
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)
    except Exception:
        return pickle.dumps(MountError(f"{type(error).__name__}: {error}"))
    return pickled


def _outcome(pipe: int) -> tuple[int, list[str]]:
    """The daemon's number and its notices, once its mount answers. Raises the error that it reports."""
    received = b""
    try:
        with open(pipe, "rb", buffering=0) as file:
            while part := file.read(65536):
                received += part
    except BaseException:
        if len(received) >= _PID.size:
            os.kill(_PID.unpack_from(received)[0], signal.SIGTERM)
        raise
    if len(received) <= _PID.size:
        raise MountError("the driver ended before the mount answered")
    outcome = pickle.loads(received[_PID.size :])
    if isinstance(outcome, BaseException):
        raise outcome
    return _PID.unpack_from(received)[0], outcome
