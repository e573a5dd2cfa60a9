"""Running one process tree to its end: its output, its deadline, and nothing left of it."""

import os
import re
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import trio

from . import seccomp
from .launch import Ending, Launch
from .output import Output

_CHUNK: Final = 65_536
_GRACE_S: Final = 2.0
"""How long a killed tree may take to be gone, and a reaper to end its tree itself."""

_CENSUS_S: Final = 0.1
_CHILD_PID: Final = re.compile(rb'"child-pid": (\d+)')


@dataclass(frozen=True, slots=True)
class Ended:
    """How a tree ended; `exit_code` is None when it was killed."""

    exit_code: int | None
    timed_out: bool
    duration_ms: int


async def run(launch: Launch, timeout_s: float, output: Output) -> Ended:
    """Run to the end or the deadline, then see to it that nothing of the tree is left.

    Cancelling kills the tree before the cancellation goes on. Raises OSError when the program
    cannot be executed at all.
    """
    began = trio.current_time()
    with _spawned(launch) as tree:
        try:
            with trio.move_on_after(timeout_s) as deadline:
                await tree.follow(output)
        finally:
            with trio.CancelScope(shield=True):
                await tree.end()
        with trio.move_on_after(_GRACE_S):
            await tree.drain(output)
    killed = deadline.cancelled_caught or tree.overcrowded
    return Ended(
        exit_code=None if killed else tree.exit_code,
        timed_out=deadline.cancelled_caught,
        duration_ms=round((trio.current_time() - began) * 1000),
    )


@contextmanager
def _spawned(launch: Launch) -> Generator["ProcessTree"]:
    """Start the program; its descriptors are closed and it is reaped at the end.

    Started from this thread on purpose, and not by trio from a worker thread: the signal that
    ties it to the Engine's life (PR_SET_PDEATHSIG) fires when the *thread* that started it ends.
    """
    reads, writes = os.pipe2(os.O_CLOEXEC)
    tells, told = os.pipe2(os.O_CLOEXEC)
    namespace = launch.ending is Ending.NAMESPACE
    announce = ("--info-fd", str(told)) if namespace else ()
    try:
        with seccomp.passed(launch.seccomp) as (option, filters):
            process = subprocess.Popen(
                (launch.argv[0], *announce, *option, *launch.argv[1:]),
                stdin=subprocess.DEVNULL,
                stdout=writes,
                stderr=writes,
                env=dict(launch.environment),
                cwd=launch.folder,
                pass_fds=(told, *filters) if namespace else (),
                start_new_session=True,
            )
    except BaseException:
        os.close(reads)
        os.close(tells)
        raise
    finally:
        os.close(writes)
        os.close(told)
    tree = ProcessTree(launch, process, reads, tells)
    try:
        yield tree
    finally:
        tree.close()


class ProcessTree:
    """A program and all its descendants."""

    def __init__(
        self, launch: Launch, process: subprocess.Popen[bytes], reads: int, tells: int
    ) -> None:
        self._launch = launch
        self._process = process
        self._output = trio.lowlevel.FdStream(reads)
        self._tells = tells
        self._self_fd = os.pidfd_open(process.pid)
        self._init: int | None = None
        self._init_fd: int | None = None
        self.overcrowded = False

    @property
    def exit_code(self) -> int | None:
        """The shell's word for how it ended: 128 + n for signal n."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    async def follow(self, output: Output) -> None:
        """Read until the output ends and the program has exited."""
        if self._launch.ending is Ending.NAMESPACE:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _GRACE_S):
                await self._meet_init()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take_census)
            await self.drain(output)
            await trio.lowlevel.wait_readable(self._self_fd)
            nursery.cancel_scope.cancel()

    async def drain(self, output: Output) -> None:
        """Read what is printed until no process holds the output open."""
        async for chunk in self._output:
            await output.write(bytes(chunk))

    async def end(self) -> None:
        """Kill what still runs and wait until all of it is gone (at most a few seconds)."""
        self._kill()
        with trio.move_on_after(_GRACE_S) as grace:
            await self._gone()
        if grace.cancelled_caught:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with trio.move_on_after(_GRACE_S):
                await self._gone()

    def close(self) -> None:
        """Give the descriptors back."""
        for descriptor in (self._tells, self._self_fd, self._init_fd):
            if descriptor is not None:
                os.close(descriptor)
        self._output.close()
        self._process.poll()

    def _kill(self) -> None:
        final = signal.SIGTERM if self._launch.ending is Ending.REAPER else signal.SIGKILL
        for descriptor in (self._init_fd, self._self_fd):
            if descriptor is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, final)

    async def _gone(self) -> None:
        """Wait for the program and for the namespace's init, which outlives all in it."""
        await trio.lowlevel.wait_readable(self._self_fd)
        if self._init_fd is not None:
            await trio.lowlevel.wait_readable(self._init_fd)
        self._process.wait()

    async def _meet_init(self) -> None:
        """Learn which process is the namespace's init; it may be gone by then.

        Must be known before anything is killed: an init whose parent dies in the first
        millisecond has not yet asked to die with it.
        """
        await trio.lowlevel.wait_readable(self._tells)
        report = _CHILD_PID.search(os.read(self._tells, 4096))
        if report is not None:
            self._init = int(report.group(1))
            with suppress(ProcessLookupError):
                self._init_fd = os.pidfd_open(self._init)

    async def _take_census(self) -> None:
        """Kill a tree of too many processes, where the kernel does not count them for us."""
        if self._launch.processes is None or self._init is None:
            return
        while True:
            await trio.sleep(_CENSUS_S)
            if _population(self._init) > self._launch.processes:
                self.overcrowded = True
                self._kill()


def _population(init: int) -> int:
    """Processes of the PID namespace of `init`, read from the /proc it sees."""
    try:
        return sum(name.isdigit() for name in os.listdir(f"/proc/{init}/root/proc"))
    except OSError:
        return 0
