"""bash: a command in the sandbox."""

from typing import Final

import trio

from ....errors import SeptemberError
from ...channels.events import JsonObject
from ...sandbox.sandbox import CommandResult, RunCommand, run_command
from ..tools import ToolContext, ToolOutput
from .refusal import Refusal, number_of, platform_tool, text_of
from .running_output import RunningOutput

TIMEOUT_S: Final = 120.0
_LONGEST_S: Final = 600
_LONGEST: Final = 100_000
"""Bytes of a command; the kernel takes no argument over 128 KiB."""

_OVER: Final = {
    "processes": "it started too many processes",
    "memory": "its processes used too much memory",
}


@platform_tool(
    "bash",
    "Run a bash command in the task's workspace, in a sandbox: only the workspace and the allowed"
    " folders can be written, the system is read-only, and there may be no network. Answers with"
    " stdout and stderr in order and the exit code. Nothing it starts keeps running afterwards;"
    " every call is a new shell. Output over 256 KB goes to a file in the workspace.",
    {
        "command": {
            "type": "string",
            "minLength": 1,
            "maxLength": _LONGEST,
            "description": "What bash -c runs. Example: python3 -m pytest -q 2>&1 | tail -20",
        },
        "timeout_s": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": _LONGEST_S,
            "description": "Seconds until it is stopped; 120 by default.",
        },
    },
    required=("command",),
)
async def bash(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    """Run it and say how it ended."""
    command = text_of(arguments, "command")
    if "\0" in command or len(command.encode(errors="replace")) > _LONGEST:
        raise Refusal("invalid_command", "the command is too long; write it to a file and run that")
    timeout_s = number_of(arguments, "timeout_s", TIMEOUT_S)
    output = RunningOutput(context, "bash")
    order = RunCommand(command, context.workspace, context.roots, timeout_s, tell=output.take)
    return told(await _followed(order, output, context), timeout_s)


async def _followed(
    order: RunCommand, output: RunningOutput, context: ToolContext
) -> CommandResult:
    """Run it, and tell meanwhile what it prints. Raises SeptemberError when it is refused."""
    result: CommandResult | SeptemberError
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.tell)
        try:
            result = await run_command(context.sandbox, order)
        except SeptemberError as refused:
            result = refused
        nursery.cancel_scope.cancel()
    if isinstance(result, SeptemberError):
        raise result
    return result


def told(result: CommandResult, timeout_s: float) -> ToolOutput:
    """How a command ended, as a tool's answer."""
    notes: list[str] = []
    error: str | None = None
    if result.overflow is not None:
        notes.append(f"the rest of the output is in the file {result.overflow}")
    if result.timed_out:
        error = "timeout"
        notes.append(f"stopped after {timeout_s:g} s; it can be given longer with timeout_s")
    elif result.exit_code is None:
        error = "killed"
        notes.append(f"stopped: {_OVER.get(result.over or '', 'it was killed')}")
    elif result.exit_code:
        error = "nonzero_exit"
        notes.append(f"exit code {result.exit_code}")
    text = result.output if result.output or notes else "[no output]"
    if notes:
        text = f"{text.rstrip()}\n[{'; '.join(notes)}]".lstrip("\n")
    return ToolOutput(text, error, truncated=result.truncated)
