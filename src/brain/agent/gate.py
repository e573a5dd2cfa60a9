"""The gate before every tool call: the rules, what a person once answered, else the person."""

from functools import partial
from pathlib import Path
from typing import Final, assert_never

import msgspec
import trio

from ...actors import work_span
from ..channels.events import PermissionPrompt
from ..hitl import Answer
from . import permits
from .concern import Concern
from .job import Job
from .permissions import YES, Allow, Ask, Deny, Ground, decide
from .permits import Judgement, Outcome, Scope
from .questions import Questions
from .spans import GateSpan
from .tools import Tool, ToolOutput
from .transcript import StoredCall
from .workshop import Workshop

TASK: Final = "yes, for this task"
ALWAYS: Final = "yes, always"
_SCOPES: Final[dict[str, Scope]] = {
    **dict.fromkeys((TASK, "yes for this task", "task", "this task"), "task"),
    **dict.fromkeys((ALWAYS, "yes always", "always"), "always"),
}
_REFUSED: Final[dict[str, Outcome]] = {
    "user": "refused",
    "expiry": "expired",
    "cancel": "cancelled",
}
_WHY: Final[dict[Outcome, str]] = {
    "refused": "the person said no",
    "expired": "expired",
    "cancelled": "cancelled",
}


class Passed(msgspec.Struct, frozen=True):
    """The call may run, with these further roots; `judgement` is to be kept when it starts."""

    judgement: Judgement
    grants: tuple[Path, ...] = ()


class Gate(msgspec.Struct, frozen=True):
    """Lets a turn's tool calls through, or says why not."""

    workshop: Workshop
    job: Job
    questions: Questions
    ground: Ground

    async def passed(self, tool: Tool, call: StoredCall) -> ToolOutput | Passed:
        """Let a call through, or say why it may not run. What is not simply free is traced."""
        decision = await trio.to_thread.run_sync(decide, tool, call.input, self.ground)
        match decision:
            case Allow():
                return Passed(self._judged(call, "allowed"))
            case Deny(reason):
                return await self._stopped(self._judged(call, "denied", reason=reason), reason)
            case Ask():
                with work_span(f"permission {call.tool}", self._span(call, decision)) as span:
                    outcome = await self._asked(tool, call, decision)
                    span.outcome = "ok" if isinstance(outcome, Passed) else "permission_denied"
                return outcome
            case _:
                assert_never(decision)

    async def asked_by_hook(self, tool: Tool, call: StoredCall, reason: str) -> ToolOutput | None:
        """Ask because a hook wants it, before anything else is asked; None: the person said yes."""
        hooked = msgspec.structs.replace(call, tool_call_id=f"{call.tool_call_id}#hook")
        answered = await self._asked(tool, hooked, Ask(reason, Concern.HOOK))
        if isinstance(answered, ToolOutput):
            return answered
        await self.workshop.database.write(partial(permits.note, judgement=answered.judgement))
        return None

    async def _asked(self, tool: Tool, call: StoredCall, ask: Ask) -> ToolOutput | Passed:
        if await self._stands(tool, ask):
            return Passed(self._judged(call, "remembered", ask), ask.grants)
        answer = await self._ask(tool, call, ask)
        text = (answer.text or "").strip().lower()
        scope = _SCOPES.get(text) if ask.subject else None
        if answer.by == "user" and (text in YES or scope is not None):
            if scope is not None:
                await self._remember(tool, ask, scope)
            return Passed(self._judged(call, "granted", ask, scope=scope), ask.grants)
        outcome = _REFUSED[answer.by]
        feedback = f": {answer.feedback}" if answer.feedback else ""
        why = f"{_WHY[outcome]}{feedback}; go on without it"
        return await self._stopped(self._judged(call, outcome, ask), why)

    async def _stopped(self, judgement: Judgement, why: str) -> ToolOutput:
        await self.workshop.database.write(partial(permits.note, judgement=judgement))
        return ToolOutput(why, "permission_denied")

    async def _stands(self, tool: Tool, ask: Ask) -> bool:
        if not ask.subject:
            return False
        name, task_id = tool.definition.name, self.job.task_id
        look = partial(permits.stands, tool=name, subject=ask.subject, task_id=task_id)
        return await self.workshop.database.read(look)

    async def _ask(self, tool: Tool, call: StoredCall, ask: Ask) -> Answer:
        name, scrub = tool.definition.name, self.workshop.scrubber
        reason = scrub.scrub(ask.reason)
        of_call = call.tool_call_id.partition("#")[0]
        prompt = PermissionPrompt(tool_call_id=of_call, tool=name, reason=reason)
        return await self.questions.ask(
            call.tool_call_id,
            "permission",
            f"May I run {name}? {reason}",
            tool=name,
            arguments=scrub.scrub_json(call.input),
            options=("yes", TASK, ALWAYS, "no") if ask.subject else ("yes", "no"),
            announce=(prompt,),
        )

    async def _remember(self, tool: Tool, ask: Ask, scope: Scope) -> None:
        shown = self.workshop.scrubber.scrub(ask.subject)
        permit = permits.made(tool.definition.name, shown, scope, self.job.task_id)
        keep = partial(permits.keep, permit=permit, subject=ask.subject)
        await self.workshop.database.write(keep)

    def _judged(
        self,
        call: StoredCall,
        outcome: Outcome,
        ask: Ask | None = None,
        *,
        reason: str = "",
        scope: Scope | None = None,
    ) -> Judgement:
        return Judgement(
            task_id=self.job.task_id,
            turn_id=self.job.turn_id,
            tool_call_id=call.tool_call_id,
            tool=call.tool,
            outcome=outcome,
            concern=ask.concern if ask is not None else None,
            reason=self.workshop.scrubber.scrub(ask.reason if ask is not None else reason),
            scope=scope,
        )

    def _span(self, call: StoredCall, ask: Ask) -> GateSpan:
        job = self.job
        return GateSpan(
            job.task_id, job.turn_id, call.tool_call_id, call.tool, ask.concern, ask.reason
        )
