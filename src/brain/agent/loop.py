"""The agent loop: ask the model, run the tools it calls, and again, until it is done."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from ...actors import work_span
from ...errors import SeptemberError
from ..channels.channel import Channel
from ..channels.events import MediaLeftOut
from ..herald.attachments import LeftOut
from ..herald.conversation import ChatMessage, TextBlock, ToolUseBlock
from ..herald.gateway import ModelCall
from ..store.connection import Connection
from . import transcript
from .compaction import condensed
from .compaction.headroom import HeadRoom
from .context import Context, assemble, nothing
from .execution import ToolRunner
from .hooks import Hooks
from .job import Job
from .narration import Narrator, Told, call_events, usage_event
from .resume import calls_to_resume
from .spans import ChatSpan
from .transcript import StoredCall
from .workshop import Workshop

CONTINUE: Final = ChatMessage("user", (TextBlock("Go on exactly where you stopped."),))
"""Said to a model whose message ran into MAX_TOKENS; shown to nobody and not stored."""


class AgentLoop:
    """One turn's loop (contract, sections 6 and 19.14)."""

    def __init__(self, workshop: Workshop, job: Job, channel: Channel) -> None:
        self._workshop = workshop
        self._job = job
        self._channel = channel
        self._gateway = workshop.open_gateway()
        window = self._gateway.window(job.role, job.agent.model)
        self._room = HeadRoom(workshop, job, channel, window)
        self._left_out: set[LeftOut] = set()
        self._spent = 0

    async def run(self, first: Callable[[], Awaitable[None]] = nothing) -> str:
        """Loop until the model is done; its last words. Raises SeptemberError where that fails.

        `first` opens the turn, while what that does not change is read already.
        """
        context = await assemble(self._workshop, self._job, self._channel, first)
        hooks = Hooks(self._workshop, self._job, self._channel)
        runner = ToolRunner(self._workshop, self._job, self._channel, context.tools, hooks)
        if self._job.resumed:
            calls = await calls_to_resume(self._workshop.database, self._job.turn_id)
            if calls:
                context.messages.append(await runner.run(calls))
        most = self._job.max_iterations or self._workshop.limits.max_iterations
        for _ in range(most):
            told = await self._ask_model(context)
            if told.calls:
                context.messages.append(await runner.run(_stored(told.calls)))
            elif self._gateway.budget.may_continue(told.completed.stop_reason):
                context.messages.append(CONTINUE)
            elif (more := await hooks.at_the_end(_text(told))) is not None:
                context.messages.append(ChatMessage("user", (TextBlock(more),)))
            else:
                return _text(told)
        raise SeptemberError(
            "ITERATION_LIMIT",
            f"the work was not done within {most} model calls; send a message to go on, or raise"
            f" {'SUB_AGENT_' if self._job.nested else ''}MAX_ITERATIONS",
        )

    async def _ask_model(self, context: Context) -> Told:
        """One model call: with room made for it, and again where that was not enough."""
        await self._room.make(context)
        while True:
            try:
                return await self._call_model(context)
            except SeptemberError as error:
                if not await self._room.regained(error, context):
                    raise

    async def _call_model(self, context: Context) -> Told:
        """Told as it comes, stored when it is whole."""
        narrator = Narrator(self._channel, self._workshop.scrubber)
        chat = ChatSpan(self._job.task_id, self._job.turn_id)
        with work_span("chat", chat):
            async with self._gateway.stream(self._call(context)) as pieces:
                async for piece in pieces:
                    chat.piece(piece)
                    await narrator.tell(piece)
        told = narrator.told()
        await self._store(told)
        if told.completed.message.blocks:
            context.messages.append(told.completed.message)
        self._spend(told.completed.usage.output_tokens)
        return told

    def _spend(self, output_tokens: int) -> None:
        """Count what a sub-agent wrote. Raises ITERATION_LIMIT above its budget."""
        self._spent += output_tokens
        most = self._job.output_tokens
        if most is not None and self._spent > most:
            raise SeptemberError(
                "ITERATION_LIMIT",
                f"it wrote more than the {most} tokens it may (SUB_AGENT_MAX_TOKENS)",
            )

    def _call(self, context: Context) -> ModelCall:
        request = self._job.request
        return ModelCall(
            system=context.system,
            messages=context.shown(),
            role=self._job.role,
            model=self._job.agent.model,
            tools=context.definitions,
            thinking=request.super_thinking,
            response_schema=request.response_schema,
        )

    async def _store(self, told: Told) -> None:
        """The message, its calls and its usage: one transaction, then the client hears of it.

        The usage event comes last: text after it belongs to a message not yet stored.
        """
        completed = told.completed
        alert = (completed.cache_alert,) if completed.cache_alert is not None else ()
        calls = call_events(told.calls, self._workshop.scrubber)
        left_out = self._news_of(completed.left_out)
        events = (*left_out, *calls, *alert, usage_event(completed))
        ratio = self._room.learn(completed.usage)
        keep = partial(_keep, job=self._job, told=told, ratio=ratio)
        await self._channel.commit(*events, also=keep)

    def _news_of(self, left_out: tuple[LeftOut, ...]) -> list[MediaLeftOut]:
        """What the client has not heard of yet: every call of the turn goes without it."""
        news = [one for one in left_out if one not in self._left_out]
        self._left_out.update(news)
        return [MediaLeftOut(media=one.media, kind=one.kind, reason=one.reason) for one in news]


def _text(told: Told) -> str:
    blocks = told.completed.message.blocks
    return "\n\n".join(block.text for block in blocks if isinstance(block, TextBlock))


def _stored(calls: tuple[ToolUseBlock, ...]) -> tuple[StoredCall, ...]:
    return tuple(
        StoredCall(tool_call_id=call.id, tool=call.name, input=call.input, status="requested")
        for call in calls
    )


def _keep(connection: Connection, job: Job, told: Told, ratio: float) -> None:
    message = told.completed.message
    if message.blocks:
        transcript.add(connection, job.task_id, job.turn_id, message)
    transcript.request_calls(connection, job.turn_id, told.calls)
    connection.execute(
        "UPDATE turns SET input_tokens = input_tokens + ?, output_tokens = output_tokens + ?"
        " WHERE turn_id = ?",
        (told.completed.usage.input_tokens, told.completed.usage.output_tokens, job.turn_id),
    )
    condensed.keep_ratio(connection, job.task_id, ratio)
