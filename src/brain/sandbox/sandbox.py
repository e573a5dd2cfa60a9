"""The sandbox's contract: what a confined command is given and what it answers."""

from dataclasses import dataclass, field
from pathlib import Path

from ...actors import Message


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
class RunCommand(Message[CommandResult]):
    """Run `bash -c command` in `workspace`, for at most `timeout_s` seconds.

    `roots` are the only host folders it may write; cancelling the call kills the process tree.
    Refused with SeptemberError PERMISSION_DENIED when no sandbox is to be had.
    """

    command: str
    workspace: Path
    roots: tuple[Path, ...]
    timeout_s: float = 120.0
    environment: tuple[tuple[str, str], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Confinement:
    """What the sandbox can do here: `mode` is bubblewrap, none or unavailable; `detail` says why."""

    mode: str
    detail: str


@dataclass(frozen=True, slots=True)
class Describe(Message[Confinement]):
    """What confinement is in force."""


SandboxMessage = RunCommand | Describe
