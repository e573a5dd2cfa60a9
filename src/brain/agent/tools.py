"""The contract of a tool: a definition the model sees and a function that runs."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

from msgspec import Struct

from ...actors import ActorRef
from ..channels.events import Event, JsonObject
from ..herald.conversation import MediaBlock, ToolDef
from ..hitl import Answer, Kind
from ..sandbox.sandbox import SandboxMessage
from ..store.database import Database


class ToolOutput(Struct, frozen=True):
    """What a tool answers the model. `error` is a short reason when it failed.

    `media`, named by id, are shown to the model behind the answers of all calls.
    """

    text: str
    error: str | None = None
    truncated: bool = False
    media: tuple[MediaBlock, ...] = ()


class AskPerson(Protocol):
    """Waits for a person's answer to a question of this tool call; safe to repeat."""

    async def __call__(
        self,
        tool_call_id: str,
        kind: Kind,
        question: str,
        *,
        options: tuple[str, ...] = (),
    ) -> Answer: ...


class ToolContext(Struct, frozen=True):
    """What a tool may use: its place, its stores, and the turn's event stream.

    `workspace` is the task's folder, `roots` the folders file tools may touch (workspace included).
    `scrub` takes the secrets out of a text; what is emitted must have gone through it.
    """

    task_id: str
    turn_id: str
    tool_call_id: str
    workspace: Path
    roots: tuple[Path, ...]
    database: Database
    sandbox: ActorRef[SandboxMessage]
    emit: Callable[[Event], Awaitable[None]]
    ask: AskPerson
    scrub: Callable[[str], str]


class ToolFunction(Protocol):
    """Runs one call. Input is valid against the schema. A refusal is a ToolOutput with `error`."""

    async def __call__(self, arguments: JsonObject, context: ToolContext) -> ToolOutput: ...


JudgedAs: TypeAlias = Callable[[JsonObject], tuple[str, JsonObject]]


class Tool(Struct, frozen=True):
    """A tool of the Engine: `definition` for the model, `run` for the loop.

    `repeatable` says that a call which a stop of the Engine interrupted may simply run again: all
    it does is wait for something that is kept elsewhere.

    A person is asked at every call of a tool with `requires_permission` or `high_cost`.
    `judged_as` tells as which platform tool, with which input, the rules of permission see a call;
    None: as itself.
    """

    definition: ToolDef
    run: ToolFunction
    requires_permission: bool = False
    repeatable: bool = False
    high_cost: bool = False
    judged_as: JudgedAs | None = None


Toolbox = Mapping[str, Tool]
"""Tools by name."""
