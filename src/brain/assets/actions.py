"""What a connection offers and answers: actions, resources, prompts, and pieces of content."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from msgspec import Struct

from ..channels.events import JsonObject
from ..hitl import Answer
from .definitions import OUTPUT_LIMIT


class Action(Struct, frozen=True, kw_only=True):
    """One tool of a connected server. The model knows it as `<server>.<name>`."""

    server: str
    name: str
    description: str
    input_schema: JsonObject
    requires_permission: bool = False

    @property
    def full_name(self) -> str:
        """The name the model sees (contract, section 11)."""
        return f"{self.server}.{self.name}"


class Attachment(Struct, frozen=True):
    """Content that is no text: `data` with its media type."""

    media_type: str
    data: bytes


class Content(Struct, frozen=True):
    """What a server answered. `failed` means that the server itself says so.

    The model sees `limit` characters of the text.
    """

    text: str
    attachments: tuple[Attachment, ...] = ()
    failed: bool = False
    limit: int = OUTPUT_LIMIT


class Listed(Struct, frozen=True):
    """A resource (`name` is its URI) or a prompt."""

    name: str
    description: str


class Progress(Struct, frozen=True):
    """How far a call is; `total` None when the server does not say."""

    done: float
    total: float | None
    message: str


OnProgress: TypeAlias = Callable[[Progress], Awaitable[None]]


class AskOnBehalf(Protocol):
    """Puts a server's question to the person whose turn made the call."""

    async def __call__(self, question: str, options: tuple[str, ...]) -> Answer: ...


class Caller(Struct, frozen=True):
    """On whose behalf a call is made: where its progress and its questions go."""

    ask: AskOnBehalf | None = None
    on_progress: OnProgress | None = None


NOBODY = Caller()
"""A call that no turn makes: its questions are declined."""
