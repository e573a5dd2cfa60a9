"""Tools as the agent loop runs them: checked input, a real store, a real sandbox."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest
from msgspec.structs import replace

from september.actors import ActorRef
from september.actors.testing import running
from september.brain.agent.platform.tools import platform_tools
from september.brain.agent.tools import ToolContext, ToolOutput
from september.brain.agent.validation import problems
from september.brain.channels.events import Event
from september.brain.hitl import Answer, Kind
from september.brain.sandbox.sandbox import Sandbox, SandboxMessage
from september.brain.store.database import Database


class HasDatabase(Protocol):
    """The part of the `brain` fixture that is used here."""

    @property
    def database(self) -> Database: ...


@dataclass
class Desk:
    """Runs tools by name and keeps what they tell."""

    context: ToolContext
    events: list[Event] = field(default_factory=list[Event])

    @property
    def workspace(self) -> Path:
        return self.context.workspace

    async def __call__(self, tool: str, **arguments: object) -> ToolOutput:
        chosen = platform_tools()[tool]
        assert problems(chosen.definition, arguments) == ""
        return await chosen.run(arguments, self.context)

    def of_task(self, task_id: str) -> "Desk":
        """The same desk in another task."""
        return Desk(replace(self.context, task_id=task_id), self.events)

    def with_root(self, root: Path) -> "Desk":
        """The same desk with one more root, as after a permission."""
        return Desk(replace(self.context, roots=(*self.context.roots, root)), self.events)


@pytest.fixture
async def sandbox() -> AsyncGenerator[ActorRef[SandboxMessage]]:
    async with running(Sandbox()) as ref:
        yield ref


@pytest.fixture
def desk(tmp_path: Path, brain: HasDatabase, sandbox: ActorRef[SandboxMessage]) -> Desk:
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    async def ask(
        tool_call_id: str, kind: Kind, question: str, *, options: tuple[str, ...] = ()
    ) -> Answer:
        raise AssertionError(f"no platform tool asks: {tool_call_id} {kind} {question} {options}")

    workspace = tmp_path / "workspace"
    workspace.mkdir()
    context = ToolContext(
        task_id="task-1",
        turn_id="turn-1",
        tool_call_id="call-1",
        workspace=workspace,
        roots=(workspace,),
        database=brain.database,
        sandbox=sandbox,
        emit=emit,
        ask=ask,
        scrub=str,
    )
    return Desk(context, events)
