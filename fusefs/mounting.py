"""Runs a mount in this process, from mounting to unmounted."""

import contextlib
import ctypes
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

import pyfuse3
import trio

from fusefs.device import Device, fuse_descriptors
from fusefs.loop import Loop
from fusefs.mountinfo import Mount, mounted_at
from fusefs.mountpoint import MountError, detach, unmount_if_unused
from fusefs.options import libfuse_options
from fusefs.pages import Pages
from fusefs.presented import presented
from fusefs.processes import name_of_driver
from fusefs.requests import Requests
from fusefs.view import View
from fusefs.workers import Workers

log = logging.getLogger("fusefs")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: Seconds for which reads under way may finish after a signal.
_GRACE = 2.0

#: KiB. The kernel's own 128 would cut a large read into eight; with four of 1 MiB under way, all
#: processors decode.
_READ_AHEAD = 4096

#: Of mallopt(3). Otherwise memory for decoded chunks is given back and asked for anew with each of them.
_M_ARENA_MAX, _M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -8, -1, -3


def serve(
    view: View,
    mountpoint: str,
    options: Iterable[str] = (),
    *,
    on_ready: Callable[[], None] | None = None,
    idle_timeout: float | None = None,
) -> None:
    """Mounts `view` and answers until it is unmounted, or SIGINT, SIGTERM or SIGHUP comes.

    `mountpoint` is what `check_mountpoint` returned; `options` are mount options, each `name` or
    `name=value`: `fsname`, `uid`, `gid`, `umask`, `allow_other` and the kernel's own. `on_ready` is
    called once the mount answers; what it raises ends the mount. After `idle_timeout` seconds without
    a request, and with nothing open, the mount ends by itself.

    To be called in the main thread, once at a time. Nothing is mounted any more when it returns or
    raises MountError.
    """
    view, remaining = presented(view, options)
    arguments = libfuse_options(remaining)
    try:
        trio.run(_serve, view, mountpoint, arguments, on_ready, idle_timeout)
    except BaseExceptionGroup as group:
        raise _first(group) from None


async def _serve(
    view: View,
    mountpoint: str,
    options: set[str],
    on_ready: Callable[[], None] | None,
    idle_timeout: float | None,
) -> None:
    with contextlib.ExitStack() as stack:
        # Before anything is mounted: a signal in between would leave a dead mount.
        signals = stack.enter_context(trio.open_signal_receiver(*_SIGNALS))
        device = Device(stack.enter_context(_mounted(mountpoint, options)))
        workers = Workers()
        # Before the descriptor is closed: its number may be another file's afterwards.
        stack.callback(workers.close)
        stack.callback(workers.wait, _GRACE)
        pages = Pages(device, lambda: _abort(mount))
        stack.callback(pages.close)
        requests = Requests(view, device, workers, pages)
        loop = Loop(device, requests.answer, lambda: workers.pending)
        mount = mounted_at(os.fsencode(mountpoint))
        if mount is not None:
            stack.enter_context(name_of_driver(mount))
        _tune_collector()
        _keep_memory()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_on_signal, signals, loop)
            nursery.start_soon(_announce, mountpoint, mount, on_ready)
            if idle_timeout is not None:
                nursery.start_soon(_end_when_idle, requests, mountpoint, idle_timeout)
            await loop.run()
            nursery.cancel_scope.cancel()


@contextlib.contextmanager
def _mounted(mountpoint: str, options: set[str]) -> Iterator[int]:
    """Mounted inside, unmounted after. Gives the session's descriptor."""
    before = fuse_descriptors()
    with _stderr_of_libfuse() as said:
        try:
            pyfuse3.init(pyfuse3.Operations(), mountpoint, options)
        except Exception as error:
            raise MountError(f"cannot mount on {mountpoint}: {said() or error}") from None
    mount = mounted_at(os.fsencode(mountpoint))
    try:
        (descriptor,) = fuse_descriptors() - before
        yield descriptor
    finally:
        pyfuse3.close()
        _remove_rest(mount)


def _abort(mount: Mount | None) -> None:
    """Every request under way fails, and so does every later one."""
    if mount is not None:
        with contextlib.suppress(OSError):
            Path(f"/sys/fs/fuse/connections/{mount.minor}/abort").write_text("1")


def _remove_rest(mount: Mount | None) -> None:
    """After an abort of the connection, through /sys/fs/fuse, libfuse leaves the dead mount where it is."""
    left = mount and mounted_at(mount.point)
    if mount and left and left.number == mount.number:
        with contextlib.suppress(MountError):
            detach(mount.point)


async def _end_on_signal(signals: AsyncIterator[int], loop: Loop) -> None:
    async for number in signals:
        log.info("%s: unmounting", signal.Signals(number).name)
        loop.stop()


async def _announce(mountpoint: str, mount: Mount | None, on_ready: Callable[[], None] | None) -> None:
    """Waits until the mount answers. In a thread: the answer comes from this process."""
    try:
        await trio.to_thread.run_sync(os.stat, mountpoint, abandon_on_cancel=True)
    except OSError as error:
        raise MountError(f"the mount at {mountpoint} does not answer: {error.strerror}") from None
    # Not earlier: the first answers to the kernel set it back.
    _grow_read_ahead(mount)
    if on_ready is not None:
        on_ready()


async def _end_when_idle(requests: Requests, mountpoint: str, seconds: float) -> None:
    """Unmounts as the user would, so that a shell standing in the mount keeps it."""
    seen, since = -1, trio.current_time()
    while True:
        await trio.sleep(seconds / 8)
        now = trio.current_time()
        if requests.count != seen:
            seen, since = requests.count, now
        elif now - since >= seconds:
            since = now
            # In a thread: the kernel may ask us for something on the way.
            await trio.to_thread.run_sync(unmount_if_unused, mountpoint, abandon_on_cancel=True)


def _tune_collector() -> None:
    """No full collections over what lives as long as the mount."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _keep_memory() -> None:
    """What was freed serves again at once, instead of going back to the kernel page by page."""
    with contextlib.suppress(AttributeError):  # a C library without mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)


def _grow_read_ahead(mount: Mount | None) -> None:
    if mount is not None:
        with contextlib.suppress(OSError):  # ordinary users may not
            Path(f"/sys/class/bdi/{mount.device}/read_ahead_kb").write_text(str(_READ_AHEAD))


@contextlib.contextmanager
def _stderr_of_libfuse() -> Iterator[Callable[[], str]]:
    """libfuse and fusermount3 print the reason of a failure, and return none. Inside, it is kept."""
    kept = os.memfd_create("stderr")
    real = os.dup(2)
    os.dup2(kept, 2)
    try:
        yield lambda: " ".join(os.pread(kept, 4096, 0).decode(errors="backslashreplace").split())
    finally:
        os.dup2(real, 2)
        os.close(real)
        os.close(kept)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; a MountError before anything else."""
    mount_errors = group.subgroup(MountError)
    error: BaseException = mount_errors or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
