"""A confined program that goes on running: two pipes to talk to it, and nothing left at the end."""

import os
import signal
import subprocess
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import trio

from . import seccomp
from .launch import Ending, Launch

_MEETING_S: Final = 2.0
_LEAVING_S: Final = 0.5
"""How long a program may take to leave by itself once its input is closed."""

_GONE_S: Final = 2.0
_CHUNK: Final = 65_536
_LAST_WORDS: Final = 20


@dataclass(frozen=True, slots=True)
class Service:
    """A running program. `last_words` are the latest lines of its stderr."""

    stdin: trio.lowlevel.FdStream
    stdout: trio.lowlevel.FdStream
    last_words: deque[str]
    silent: trio.Event
    """Set when its stderr has ended."""


@asynccontextmanager
async def running_service(launch: Launch) -> AsyncGenerator[Service]:
    """Run a program while the body runs; on the way out end its whole tree, within 5 s.

    Raises OSError when it cannot be executed at all.
    """
    process, pipes, tells = _spawn(launch)
    self_fd = os.pidfd_open(process.pid)
    init_fd: int | None = None
    service = Service(pipes.stdin, pipes.stdout, deque(maxlen=_LAST_WORDS), trio.Event())
    try:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _MEETING_S):
            init_fd = await _meet_init(tells)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, pipes.stderr, service)
            try:
                yield service
            finally:
                with trio.CancelScope(shield=True):
                    await _end(launch, process, service, self_fd, init_fd)
                nursery.cancel_scope.cancel()
    finally:
        if process.poll() is None:
            process.kill()
        for stream in (pipes.stdin, pipes.stdout, pipes.stderr):
            stream.close()
        for descriptor in (self_fd, init_fd, tells):
            if descriptor is not None:
                os.close(descriptor)
        process.poll()


@dataclass(frozen=True, slots=True)
class _Pipes:
    stdin: trio.lowlevel.FdStream
    stdout: trio.lowlevel.FdStream
    stderr: trio.lowlevel.FdStream


def _spawn(launch: Launch) -> tuple[subprocess.Popen[bytes], _Pipes, int | None]:
    """Start it from this thread: what ties it to the Engine's life fires when the thread ends."""
    theirs_in, ours_in = os.pipe2(os.O_CLOEXEC)
    ours_out, theirs_out = os.pipe2(os.O_CLOEXEC)
    ours_err, theirs_err = os.pipe2(os.O_CLOEXEC)
    tells, told = os.pipe2(os.O_CLOEXEC)
    namespace = launch.ending is Ending.NAMESPACE
    announce = ("--info-fd", str(told)) if namespace else ()
    try:
        with seccomp.passed(launch.seccomp) as (option, filters):
            process = subprocess.Popen(
                (launch.argv[0], *announce, *option, *launch.argv[1:]),
                stdin=theirs_in,
                stdout=theirs_out,
                stderr=theirs_err,
                env=dict(launch.environment),
                cwd=launch.folder,
                pass_fds=(told, *filters) if namespace else (),
                start_new_session=True,
            )
    except BaseException:
        for descriptor in (ours_in, ours_out, ours_err, tells):
            os.close(descriptor)
        raise
    finally:
        for descriptor in (theirs_in, theirs_out, theirs_err, told):
            os.close(descriptor)
    if not namespace:
        os.close(tells)
    pipes = _Pipes(*map(trio.lowlevel.FdStream, (ours_in, ours_out, ours_err)))
    return process, pipes, tells if namespace else None


async def _meet_init(tells: int | None) -> int | None:
    """A descriptor of the PID namespace's init, with which everything in it dies."""
    if tells is None:
        return None
    await trio.lowlevel.wait_readable(tells)
    return init_of(os.read(tells, 4096))


def init_of(report: bytes) -> int | None:
    """The pidfd of the init that bubblewrap's `--info-fd` report names; it may be gone."""
    _, found, rest = report.partition(b'"child-pid": ')
    digits = rest[: len(rest) - len(rest.lstrip(b"0123456789"))]
    if not found or not digits:
        return None
    try:
        return os.pidfd_open(int(digits))
    except ProcessLookupError:
        return None


async def _listen(stderr: trio.lowlevel.FdStream, service: Service) -> None:
    """Keep the end of what it complains about; read on, or it would block."""
    rest = b""
    with suppress(OSError, trio.ClosedResourceError):
        async for chunk in stderr:
            *lines, rest = (rest + bytes(chunk)).split(b"\n")
            rest = rest[-_CHUNK:]
            service.last_words.extend(line.decode(errors="replace")[:500] for line in lines)
    service.silent.set()


async def _end(
    launch: Launch,
    process: subprocess.Popen[bytes],
    service: Service,
    self_fd: int,
    init_fd: int | None,
) -> None:
    """Close its input, give it a moment, then kill the tree and wait until it is gone."""
    service.stdin.close()
    with trio.move_on_after(_LEAVING_S) as leaving:
        await _gone(self_fd, init_fd)
    if leaving.cancelled_caught:
        final = signal.SIGTERM if launch.ending is Ending.REAPER else signal.SIGKILL
        _kill(self_fd, init_fd, final)
        with trio.move_on_after(_GONE_S) as killing:
            await _gone(self_fd, init_fd)
        if killing.cancelled_caught:
            _kill(self_fd, init_fd, signal.SIGKILL)
            with trio.move_on_after(_GONE_S):
                await _gone(self_fd, init_fd)
    process.poll()


def _kill(self_fd: int, init_fd: int | None, final: signal.Signals) -> None:
    for descriptor in (init_fd, self_fd):
        if descriptor is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, final)


async def _gone(self_fd: int, init_fd: int | None) -> None:
    await trio.lowlevel.wait_readable(self_fd)
    if init_fd is not None:
        await trio.lowlevel.wait_readable(init_fd)
