"""Sub-agents: another agent of the catalog, called as a tool, in the same turn and stream.

A sub-agent has a conversation of its own, which is stored as any other, a slot among the
sub-agents and a budget of its own. Its id follows from the call, so a call that is taken up again
after a restart finds what it had done and goes on there.
"""

from collections import defaultdict
from functools import partial
from typing import Final

import trio
from msgspec import Struct

from ...actors import work_span
from ...errors import SeptemberError
from ..channels.channel import Channel, NestedChannel
from ..channels.events import JsonObject
from ..herald.conversation import TextBlock, ToolDef
from . import nested_records, transcript
from .job import Job
from .loop import AgentLoop
from .nesting import NestedSeat, nested_in, run_id
from .permissions import YES
from .request import TurnRequest
from .spans import TurnSpan
from .tools import Tool, ToolContext, ToolOutput
from .workshop import Workshop

PLANNER: Final = "planner"
"""The agent of the catalog that PLANNER_MODEL is for."""


def tool_name(agent: str) -> str:
    """The tool that calls an agent."""
    return f"agent.{agent}"


class Delegation:
    """Makes the tools with which an agent calls others. `slots` are for each depth apart.

    Sub-agents wait for those below them only, so slots by depth can never wait in a circle.
    """

    def __init__(self, slots: int) -> None:
        self._slots: defaultdict[int, trio.CapacityLimiter] = defaultdict(
            partial(trio.CapacityLimiter, slots)
        )

    def tools(self, workshop: Workshop, job: Job, channel: Channel) -> dict[str, Tool]:
        """A tool for each agent that this job's agent may call; none at the deepest level."""
        if job.depth >= workshop.limits.sub_agent_depth:
            return {}
        slots = self._slots[job.depth + 1]
        tools = [
            _tool(_Caller(workshop, job, channel, slots), name)
            for name in _callable(workshop, job)
            if name in job.catalog.agents
        ]
        return {tool.definition.name: tool for tool in tools}


def _callable(workshop: Workshop, job: Job) -> tuple[str, ...]:
    """The agents that the definition names, and the planner where one is configured.

    A `direct` request has no planner, whoever names it.
    """
    named = tuple(name for name in job.agent.agents if name not in (PLANNER, job.agent.name))
    wanted = PLANNER in job.agent.agents or (workshop.limits.planner and job.depth == 0)
    plans = wanted and not job.request.direct and job.agent.name != PLANNER
    return (*named, PLANNER) if plans else named


class _Caller(Struct, frozen=True):
    """Who calls, and what the called one gets of it."""

    workshop: Workshop
    job: Job
    channel: Channel
    slots: trio.CapacityLimiter


_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "properties": {
        "task": {
            "type": "string",
            "minLength": 1,
            "maxLength": 100_000,
            "description": "All that the agent needs to know: it does not see this conversation.",
        }
    },
    "required": ["task"],
    "additionalProperties": False,
}
_HOW: Final = (
    " Hands the task to this agent and answers with what it says at the end. It works in the same"
    " workspace, with tools of its own. Several can work at the same time."
)
_WHEN_TO_PLAN: Final = (
    " Ask it first when the work has several steps that depend on each other, and follow its plan;"
    " not for a question that you can answer at once."
)


def _tool(caller: _Caller, name: str) -> Tool:
    agent = caller.job.catalog.agents[name]
    text = agent.description + _HOW + (_WHEN_TO_PLAN if name == PLANNER else "")
    run = partial(_planned if name == PLANNER else _delegated, caller, name)
    return Tool(ToolDef(tool_name(name), text, _SCHEMA), run, repeatable=True)


async def _planned(
    caller: _Caller, name: str, arguments: JsonObject, context: ToolContext
) -> ToolOutput:
    """A plan; where the caller's definition says so, a person has to approve it."""
    plan = await _delegated(caller, name, arguments, context)
    if plan.error is not None or not caller.job.agent.approve_plan:
        return plan
    answer = await context.ask(context.tool_call_id, "plan", plan.text, options=("yes", "no"))
    said = (answer.text or "").strip()
    if answer.by == "user" and said.lower() in YES:
        approved = f"{plan.text}\n\n[The person has approved this plan.]"
        return ToolOutput(approved, media=answer.media)
    words = ": ".join(filter(None, (said, answer.feedback))) or answer.by
    return ToolOutput(
        f"{plan.text}\n\n[The person has not approved this plan ({words}). Do not follow it: make"
        " another one with what they say, or ask them.]",
        "plan_rejected",
        media=answer.media,
    )


async def _delegated(
    caller: _Caller, name: str, arguments: JsonObject, context: ToolContext
) -> ToolOutput:
    job = _job(caller, name, str(arguments["task"]), context.tool_call_id)
    run = _SubAgentRun(caller.workshop, job, caller.channel, caller.job)
    with work_span(f"invoke_agent {name}", TurnSpan.of(job)) as span:
        output = await run.to_its_end()
        if output.error is not None:
            span.outcome, span.detail = output.error, output.text
        return output


def _job(caller: _Caller, name: str, task: str, tool_call_id: str) -> Job:
    outer, own_id = caller.job, run_id(caller.job, tool_call_id)
    limits = caller.workshop.limits
    return Job(
        task_id=own_id,
        turn_id=own_id,
        agent=outer.catalog.agents[name],
        catalog=outer.catalog,
        request=TurnRequest(message=task, agent=name, direct=outer.request.direct),
        seat=NestedSeat(caller.slots, outer.seat),
        role="planner" if name == PLANNER else "main",
        max_iterations=limits.sub_agent_iterations,
        output_tokens=limits.sub_agent_tokens,
        nested=nested_in(outer, name, tool_call_id),
    )


class _SubAgentRun:
    """One sub-agent, from its slot to its answer."""

    def __init__(self, workshop: Workshop, job: Job, outer: Channel, caller: Job) -> None:
        assert job.nested is not None
        self._workshop = workshop
        self._job = job
        self._caller = caller
        self._channel = NestedChannel(outer, job.nested.who)

    async def to_its_end(self) -> ToolOutput:
        """Run it, or go on with it; what failed in it is its answer."""
        seat = self._job.seat
        assert isinstance(seat, NestedSeat)
        await seat.take()
        try:
            return await self._answered()
        finally:
            seat.release()

    async def _answered(self) -> ToolOutput:
        status = await self._opened()
        if status not in ("new", "running"):
            return await self._said_before(status)
        job = self._job if status == "new" else self._job.taken_up()
        try:
            text = await AgentLoop(self._workshop, job, self._channel).run()
        except SeptemberError as error:
            return await self._failed(error)
        await self._end("completed")
        return ToolOutput(text or "[the agent said nothing]")

    async def _opened(self) -> str:
        """Make its task and turn, or find them: "new", or the status of the turn that is there."""
        found = await self._workshop.database.read(
            partial(nested_records.status, turn_id=self._job.turn_id)
        )
        if found is None:
            keep = partial(nested_records.open_run, job=self._job, caller=self._caller)
            await self._channel.commit(also=keep)
        return found or "new"

    async def _failed(self, error: SeptemberError) -> ToolOutput:
        text = await self._last_words()
        await self._end("errored")
        said = f"\n\nIt had said:\n{text}" if text else ""
        return ToolOutput(f"the agent failed: {error.message}{said}", error.code.lower())

    async def _end(self, status: str) -> None:
        end = partial(nested_records.end_run, job=self._job, status=status)
        await self._channel.commit(also=end)

    async def _said_before(self, status: str) -> ToolOutput:
        """It had ended before the Engine stopped: only its answer was not yet handed over."""
        text = await self._last_words()
        return ToolOutput(text, None if status == "completed" else "interrupted")

    async def _last_words(self) -> str:
        messages = await self._workshop.database.read(
            partial(transcript.load, task_id=self._job.task_id)
        )
        for entry in reversed(messages):
            texts = [b.text for b in entry.message.blocks if isinstance(b, TextBlock)]
            if entry.message.role == "assistant" and texts:
                return "\n\n".join(texts)
        return ""
