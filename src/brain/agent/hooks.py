"""Asking hooks: commands of the catalog that allow, deny, ask, amend, or add a word.

A hook gets one JSON object on its standard input and runs in the sandbox, in the task's workspace.
It answers by its exit code, and if it likes by a JSON object on the last line of its output
(docs/hooks.md). What it does not answer in time, or not properly, is a failure: told to the client,
and decided by the hook's `on_failure`.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from ...actors import ActorError
from ...errors import SeptemberError
from ..catalog.hooks import Hook, HookEvent
from ..channels.channel import Channel
from ..channels.events import HookOutcome, HookResult, JsonObject
from ..sandbox.sandbox import CommandResult, RunCommand, run_command
from .job import Job
from .tools import ToolOutput
from .transcript import StoredCall
from .workshop import Workshop

STOP_ROUNDS: Final = 3
"""How often the stop hooks may send one turn on."""

HOOKS_DIR: Final = "HOOKS_DIR"
"""The variable that tells a hook where its scripts are."""

_DENIED: Final = 2
"""The exit code that says no."""

_SHOWN: Final = 2000


class HookAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a hook may write. `continue` is for a stop hook: the turn goes on, with `reason`."""

    decision: Literal["allow", "deny", "ask", "continue"] = "allow"
    reason: str = ""
    input: JsonObject | None = None
    context: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """What the hooks before a tool say: the input to run with, and what stands in the way.

    `denied` is why it may not run, `asks` why a person has to decide; `context` goes to the model.
    """

    input: JsonObject
    denied: str | None = None
    asks: str | None = None
    context: tuple[str, ...] = ()


class _Failed(Exception):
    """A hook that gave no proper answer."""


class Hooks:
    """The hooks of one turn, or of a sub-agent in it."""

    def __init__(self, workshop: Workshop, job: Job, channel: Channel) -> None:
        self._workshop = workshop
        self._job = job
        self._channel = channel
        self._folder = Path(job.catalog.root) / "hooks"
        self._rounds = 0

    async def before(self, call: StoredCall) -> Verdict:
        """Ask the hooks before a tool, in their order, until one says no."""
        verdict = Verdict(call.input)
        for hook in self._of("pre_tool", call.tool):
            answer = await self._asked(hook, {**self._about(call), "input": verdict.input}, call)
            match answer.decision:
                case "deny":
                    return replace(verdict, denied=answer.reason or f"the hook {hook.name} says no")
                case "ask":
                    verdict = replace(verdict, asks=answer.reason or f"the hook {hook.name} asks")
                case _:
                    pass
            context = (*verdict.context, *_noted(hook, answer))
            given = verdict.input if answer.input is None else answer.input
            verdict = replace(verdict, input=given, context=context)
        return verdict

    async def after(self, call: StoredCall, output: ToolOutput) -> ToolOutput:
        """Ask the hooks after a tool: they may add to what the model sees of it, or withhold it."""
        for hook in self._of("post_tool", call.tool):
            about: JsonObject = {
                **self._about(call),
                "input": call.input,
                "output": output.text,
                "error": output.error,
            }
            answer = await self._asked(hook, about, call)
            if answer.decision == "deny":
                reason = answer.reason or f"the hook {hook.name} withholds it"
                return ToolOutput(reason, "withheld_by_hook")
            output = with_context(output, _noted(hook, answer))
        return output

    async def at_the_end(self, text: str) -> str | None:
        """Ask the stop hooks whether the turn may end; what the model is told if it may not."""
        if self._job.nested is not None or self._rounds >= STOP_ROUNDS:
            return None
        for hook in self._of("stop", ""):
            about: JsonObject = {"text": text, "round": self._rounds}
            answer = await self._asked(hook, {**self._who("stop"), **about}, None)
            if answer.decision in ("continue", "deny"):
                self._rounds += 1
                return answer.reason or f"The hook {hook.name} says that this is not finished."
        return None

    def _of(self, event: HookEvent, tool: str) -> Sequence[Hook]:
        if event not in self._workshop.limits.hooks:
            return ()
        return [
            hook
            for hook in self._job.catalog.hooks
            if hook.event == event
            and (event == "stop" or any(fnmatchcase(tool, pattern) for pattern in hook.tools))
        ]

    def _who(self, event: HookEvent) -> JsonObject:
        job = self._job
        task_id, turn_id, _ = job.question("")
        return {
            "event": event,
            "task_id": task_id,
            "turn_id": turn_id,
            "agent": job.agent.name,
        }

    def _about(self, call: StoredCall) -> JsonObject:
        return {**self._who("pre_tool"), "tool": call.tool, "tool_call_id": call.tool_call_id}

    async def _asked(self, hook: Hook, about: JsonObject, call: StoredCall | None) -> HookAnswer:
        """A hook's answer, or what its failure counts as; told unless it is a plain yes."""
        try:
            answer = _answer(await self._run(hook, {**about, "event": hook.event}))
        except _Failed as failure:
            said = "goes on without it" if hook.fails_open else "counts as no"
            await self._tell(hook, "failed", f"{failure}; {said}", call)
            reason = f"the hook {hook.name} failed: {failure}"
            return HookAnswer(decision="allow" if hook.fails_open else "deny", reason=reason)
        outcome = _outcome(answer)
        if outcome is not None:
            await self._tell(hook, outcome, answer.reason, call)
        return answer

    async def _run(self, hook: Hook, about: JsonObject) -> CommandResult:
        order = RunCommand(
            hook.command,
            self._workshop.workspaces / self._job.folder,
            (),
            hook.timeout_s,
            environment=((HOOKS_DIR, str(self._folder)),),
            readable=(self._folder,) if self._folder.is_dir() else (),
            given=msgspec.json.encode(about),
        )
        try:
            return await run_command(self._workshop.sandbox, order)
        except (SeptemberError, ActorError) as error:
            raise _Failed(f"it could not be run ({error})") from error

    async def _tell(
        self, hook: Hook, outcome: HookOutcome, message: str, call: StoredCall | None
    ) -> None:
        told = HookResult(
            hook=hook.name,
            on=hook.event,
            outcome=outcome,
            message=self._workshop.scrubber.scrub(message[:_SHOWN]),
            tool_call_id=call.tool_call_id if call is not None else UNSET,
        )
        await self._channel.emit(told)


def with_context(output: ToolOutput, notes: Sequence[str]) -> ToolOutput:
    """An answer with what hooks have to say about it."""
    return replace(output, text="\n\n".join((output.text, *notes))) if notes else output


def _noted(hook: Hook, answer: HookAnswer) -> tuple[str, ...]:
    return (f"[hook {hook.name}] {answer.context}",) if answer.context else ()


def _outcome(answer: HookAnswer) -> HookOutcome | None:
    match answer.decision:
        case "deny":
            return "denied"
        case "ask":
            return "asked"
        case "continue":
            return "continued"
        case _ if answer.input is not None:
            return "amended"
        case _:
            return "added" if answer.context else None


def _answer(result: CommandResult) -> HookAnswer:
    """Read the exit code and the last line. Raises _Failed."""
    said = result.output.strip()
    if result.timed_out:
        raise _Failed("it did not answer in time")
    if result.exit_code == _DENIED:
        return HookAnswer(decision="deny", reason=said[-_SHOWN:])
    if result.exit_code != 0:
        raise _Failed(f"exit code {result.exit_code}: {said[-500:] or 'no output'}")
    last = said.rpartition("\n")[2]
    if not last.startswith("{"):
        return HookAnswer()
    try:
        return msgspec.json.decode(last, type=HookAnswer)
    except msgspec.DecodeError as error:
        raise _Failed(f"its answer is not valid: {error}") from error
