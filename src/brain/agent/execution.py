"""Running the tool calls of one model message: at the same time, answers in call order."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import trio

from ...actors import work_span
from ...errors import SeptemberError
from ...logs import get_logger
from ..channels.channel import Channel
from ..channels.events import Event, ToolError, ToolResult
from ..herald.arguments import unreadable
from ..herald.conversation import ChatMessage
from ..store.connection import Connection
from . import permits, transcript
from .gate import Gate, Passed
from .hooks import Hooks, with_context
from .job import Job
from .permissions import Ground
from .permits import Judgement
from .questions import Questions
from .resume import INTERRUPTED, forget_questions, interrupted
from .spans import ToolSpan
from .tools import Tool, ToolContext, ToolOutput
from .transcript import StoredCall
from .validation import problems
from .workshop import Workshop

_log = get_logger("september.tools")


class ToolRunner:
    """Runs a turn's tool calls; knows nothing of models."""

    def __init__(
        self,
        workshop: Workshop,
        job: Job,
        channel: Channel,
        tools: dict[str, Tool],
        hooks: Hooks,
    ) -> None:
        self._workshop = workshop
        self._job = job
        self._channel = channel
        self._tools = tools
        self._hooks = hooks
        self._workspace = workshop.workspaces / job.folder
        self._roots = (self._workspace, *workshop.roots)
        self._questions = Questions(workshop.approvals, job, workshop.scrubber)
        ground = Ground(self._roots, self._workspace, workshop.policy)
        self._gate = Gate(workshop, job, self._questions, ground)

    async def run(self, calls: Sequence[StoredCall]) -> ChatMessage:
        """Answer every call that has no answer yet; return the message with all answers."""
        answered = list(calls)
        limit = trio.CapacityLimiter(self._workshop.limits.concurrent_tools)
        async with trio.open_nursery() as nursery:
            for place, call in enumerate(calls):
                if call.status != "finished":
                    nursery.start_soon(self._answer, answered, place, limit)
        return await self._settle(answered)

    async def _settle(self, answered: list[StoredCall]) -> ChatMessage:
        job = self._job
        settle = partial(
            transcript.settle_calls, task_id=job.task_id, turn_id=job.turn_id, calls=answered
        )
        await self._channel.commit(also=settle)
        return transcript.results(answered)

    async def _answer(
        self, answered: list[StoredCall], place: int, limit: trio.CapacityLimiter
    ) -> None:
        call = answered[place]
        async with limit:
            began = trio.current_time()
            output = await self._traced(call)
            duration = round((trio.current_time() - began) * 1000)
        answered[place] = await self._finish(call, output, duration)

    async def _traced(self, call: StoredCall) -> ToolOutput:
        job = self._job
        payload = ToolSpan(job.task_id, job.turn_id, call.tool_call_id, call.tool, call.input)
        with work_span(f"execute_tool {call.tool}", payload) as span:
            output = await self._run_one(call)
            if output.error is not None:
                span.outcome, span.detail = output.error, output.text
        return output

    async def _finish(self, call: StoredCall, output: ToolOutput, duration: int) -> StoredCall:
        """Make the answer durable and tell it, both at once."""
        finished = msgspec.structs.replace(
            call,
            status="finished",
            output=output.text,
            error=output.error,
            truncated=output.truncated,
            duration_ms=duration,
            media=output.media,
        )
        keep = partial(transcript.finish_call, turn_id=self._job.turn_id, call=finished)
        await self._channel.commit(*self._told(finished), also=keep)
        return finished

    def _told(self, call: StoredCall) -> tuple[Event, ...]:
        text = self._workshop.scrubber.scrub(call.output or "")
        result = ToolResult(
            tool_call_id=call.tool_call_id,
            tool=call.tool,
            output=text,
            error=call.error,
            duration_ms=call.duration_ms or 0,
            truncated=call.truncated,
        )
        if call.error is None:
            return (result,)
        failure = ToolError(
            tool_call_id=call.tool_call_id, tool=call.tool, error=call.error, message=text[:500]
        )
        return (result, failure)

    async def _run_one(self, call: StoredCall) -> ToolOutput:
        """Validate, ask for permission where the rules say so, run. Failures are answers."""
        if interrupted(call, self._tools):
            await forget_questions(self._workshop.approvals, self._job, call)
            return INTERRUPTED
        tool = self._tools.get(call.tool)
        if tool is None:
            known = ", ".join(sorted(self._tools))
            return ToolOutput(
                f"there is no tool {call.tool!r}; use one of: {known}", "unknown_tool"
            )
        wrong = unreadable(call.input) or problems(tool.definition, call.input)
        if wrong:
            return ToolOutput(wrong, "invalid_input")
        return await self._hooked(tool, call)

    async def _hooked(self, tool: Tool, call: StoredCall) -> ToolOutput:
        """Between the hooks before and after: with the input they leave, if they let it through."""
        verdict = await self._hooks.before(call)
        if verdict.denied is not None:
            return ToolOutput(verdict.denied, "denied_by_hook")
        call = msgspec.structs.replace(call, input=verdict.input)
        wrong = problems(tool.definition, call.input)
        if wrong:
            return ToolOutput(f"a hook made the input invalid: {wrong}", "invalid_input")
        refused = None
        if verdict.asks is not None:
            refused = await self._gate.asked_by_hook(tool, call, verdict.asks)
        if refused is None:
            refused = await self._permitted(tool, call)
        return await self._hooks.after(call, with_context(refused, verdict.context))

    async def _permitted(self, tool: Tool, call: StoredCall) -> ToolOutput:
        passed = await self._gate.passed(tool, call)
        if isinstance(passed, ToolOutput):
            return passed
        return await self._guarded(tool, call, passed)

    async def _guarded(self, tool: Tool, call: StoredCall, passed: Passed) -> ToolOutput:
        """Run the tool; a bug in it is its answer, not the end of the turn."""
        await self._workshop.database.write(partial(_start, judgement=passed.judgement))
        try:
            with work_span(f"run {call.tool}"):
                return await tool.run(call.input, self._context(call, passed.grants))
        except SeptemberError as error:
            return ToolOutput(error.message, error.code.lower())
        except Exception as error:
            _log.exception("tool crashed", tool=call.tool, turn_id=self._job.turn_id)
            return ToolOutput(f"the tool failed: {type(error).__name__}", "tool_crashed")

    def _context(self, call: StoredCall, grants: tuple[Path, ...]) -> ToolContext:
        return ToolContext(
            task_id=self._job.task_id,
            turn_id=self._job.turn_id,
            tool_call_id=call.tool_call_id,
            workspace=self._workspace,
            roots=(*self._roots, *grants),
            database=self._workshop.database,
            sandbox=self._workshop.sandbox,
            emit=self._channel.emit,
            ask=self._questions.ask,
            scrub=self._workshop.scrubber.scrub,
        )


def _start(connection: Connection, judgement: Judgement) -> None:
    """From here on the call may have its effect; that it may is kept with it."""
    transcript.start_call(connection, judgement.turn_id, judgement.tool_call_id)
    permits.note(connection, judgement)
