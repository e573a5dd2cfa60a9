"""Assembling what the model sees, in the contract's order (section 19.6).

System prompt, soul, history, working memory, retrieved memory, tool definitions. What is the
same from turn to turn comes first, so that the provider's prompt cache holds it; memories are
put in front of the newest user message and are not stored with it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from msgspec import Struct

from ..catalog import Soul
from ..channels.channel import Channel
from ..channels.events import MemoryRetrieval, RetrievedItem
from ..clock import now_ms
from ..herald.conversation import ChatMessage, DocumentBlock, SystemPart, TextBlock, ToolDef
from ..memory.recall import Recalled
from ..memory.soul import current as current_soul
from ..memory.working import entries
from ..store.connection import Connection
from .compaction.compactor import loaded
from .compaction.condensed import ratio_of, shown
from .files import place_files
from .job import Job
from .offer import offered
from .platform.attachments import NAME as READ_ATTACHMENT
from .together import together
from .tools import Tool
from .workshop import Workshop

RECALLED = 8
"""Long-term memories shown per turn."""

PATTERNS = 30
"""Learned patterns that a model is shown: the newest ones."""


@dataclass(slots=True)
class Context:
    """What is sent with every model call of a turn; `messages` grows as the turn goes on.

    `ratio` is what its provider has counted so far, of what we estimate (`Scale`).
    `aside` (memories) is shown before the message at `at` and never stored.
    """

    system: tuple[SystemPart, ...]
    messages: list[ChatMessage]
    tools: dict[str, Tool]
    ratio: float
    aside: str = ""
    at: int = 0
    definitions: tuple[ToolDef, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.definitions = tuple(tool.definition for tool in self.tools.values())

    def shown(self) -> tuple[ChatMessage, ...]:
        """The messages as the model sees them."""
        if not self.aside:
            return tuple(self.messages)
        asked = self.messages[self.at]
        told = ChatMessage(asked.role, (TextBlock(self.aside), *asked.blocks))
        return (*self.messages[: self.at], told, *self.messages[self.at + 1 :])


class _Known(Struct, frozen=True):
    """What the brain holds for a turn, read in one go."""

    messages: list[ChatMessage]
    notes: tuple[tuple[str, str], ...]
    soul: Soul
    ratio: float


async def nothing() -> None:
    """What is done first where nothing is to be done."""


async def assemble(
    workshop: Workshop,
    job: Job,
    channel: Channel,
    first: Callable[[], Awaitable[None]] = nothing,
) -> Context:
    """Gather the context of a turn, and tell the client which memories came back.

    `first` brings the transcript up to date; memories and tools are looked up meanwhile.
    """

    async def transcript() -> _Known:
        await first()
        await place_files(workshop.workspaces / job.folder, job.request.files)
        return await workshop.database.read(partial(_known, job=job))

    memories = partial(workshop.memory.recall, job.request.message, RECALLED)
    offer = partial(offered, workshop, job.agent, job.catalog)
    known, (recalled, tools) = await together(transcript, partial(together, memories, offer))
    if recalled:
        items = [RetrievedItem(item.store, item.id, item.score) for item in recalled]
        await channel.emit(MemoryRetrieval(items=items))
    return Context(
        system=_system(job, known.soul),
        messages=known.messages,
        tools={**tools, **_others(workshop, job, channel, known.messages)},
        ratio=known.ratio,
        aside=_aside(known.notes, recalled),
        at=asked_at(known.messages),
    )


def _known(connection: Connection, job: Job) -> _Known:
    return _Known(
        shown(*loaded(connection, job.task_id)),
        entries(connection, job.task_id, now_ms()),
        current_soul(connection, job.catalog.soul),
        ratio_of(connection, job.task_id),
    )


def _system(job: Job, soul: Soul) -> tuple[SystemPart, ...]:
    parts = [soul.identity]
    if soul.values:
        parts.append("What I value:\n" + "\n".join(f"- {value}" for value in soul.values))
    if soul.patterns:
        learned = "\n".join(f"- {one}" for one in soul.patterns[-PATTERNS:])
        parts.append(f"What I have learned:\n{learned}")
    return (
        SystemPart(job.agent.system_prompt, cache=True),
        SystemPart("\n\n".join(parts), cache=True),
    )


def _others(
    workshop: Workshop, job: Job, channel: Channel, messages: Sequence[ChatMessage]
) -> Mapping[str, Tool]:
    """The agents it may call; with a document that is too long to show, what reads it, too."""
    delegates = workshop.delegates(workshop, job, channel)
    reader = workshop.toolbox.get(READ_ATTACHMENT)
    documents = any(isinstance(b, DocumentBlock) for message in messages for b in message.blocks)
    return {**delegates, READ_ATTACHMENT: reader} if reader and documents else delegates


def _aside(notes: tuple[tuple[str, str], ...], recalled: tuple[Recalled, ...]) -> str:
    sections: list[str] = []
    if notes:
        lines = "\n".join(f"- {key}: {value}" for key, value in notes)
        sections.append(f"<working_memory>\n{lines}\n</working_memory>")
    if recalled:
        lines = "\n".join(f"- {item.text}" for item in recalled)
        sections.append(f"<memory>\n{lines}\n</memory>")
    return "\n".join(sections)


def asked_at(messages: list[ChatMessage]) -> int:
    """Where the user's newest message stands: the last one that is no tool result."""
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if message.role == "user" and any(isinstance(b, TextBlock) for b in message.blocks):
            return place
    return 0
