"""One MCP connection as an actor: calls in, answers out, and its standing told upwards."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, assert_never

import trio
from msgspec import Struct

from ...actors import Actor, Later, Message, Reply
from ...errors import SeptemberError
from ..channels.events import JsonObject
from .actions import NOBODY, Caller, Content, Listed
from .definitions import ServerDefinition
from .line import Line, Standing
from .requests import ServerRequests
from .session import Host, Session


@dataclass(frozen=True, slots=True)
class CallAction(Message["Content | SeptemberError"]):
    """Run an action of the server. Cancelling the call cancels it there, too."""

    action: str
    arguments: JsonObject
    caller: Caller = field(default=NOBODY, repr=False)


class ListReadable(
    Message["tuple[tuple[Listed, ...], tuple[Listed, ...]] | SeptemberError"], Struct, frozen=True
):
    """The server's resources and its prompts."""


class ReadResource(Message["Content | SeptemberError"], Struct, frozen=True):
    """Read a resource by its URI."""

    uri: str


class GetPrompt(Message["Content | SeptemberError"], Struct, frozen=True):
    """A prompt, filled in."""

    prompt: str
    arguments: dict[str, str]


class AwaitSettled(Message[Standing], Struct, frozen=True):
    """How the line stands, once it is connected or has failed to."""


class Redial(Message[None], Struct, frozen=True):
    """Something has been done about the last failure: try again now."""


ConnectionMessage: TypeAlias = (
    CallAction | ListReadable | ReadResource | GetPrompt | AwaitSettled | Redial
)

Dial: TypeAlias = Callable[[], AbstractAsyncContextManager[tuple[Any, Any]]]


class Wiring(Struct, frozen=True):
    """What one connection is made of."""

    definition: ServerDefinition
    dial: Dial
    requests: Callable[[], ServerRequests]
    report: Callable[[Standing], None]
    scrub: Callable[[str], str]


class _Host:
    """Passes a session's wishes on: changes to the line, questions to whoever answers them."""

    def __init__(self, requests: ServerRequests, changed: Callable[[], None]) -> None:
        self.actions_changed = changed
        self.sample = requests.sample
        self.elicit = requests.elicit


class Connection(Actor[ConnectionMessage]):
    """Owns one line for as long as it lives."""

    def __init__(self, wiring: Wiring) -> None:
        def host(changed: Callable[[], None]) -> Host:
            return _Host(wiring.requests(), changed)

        self._line = Line(wiring.definition, wiring.dial, host, wiring.report, wiring.scrub)

    async def started(self) -> None:
        self.beside(self._line.run)
        await trio.lowlevel.checkpoint()

    async def handle(self, msg: ConnectionMessage) -> Reply | Later:
        match msg:
            case CallAction(action, arguments, caller):
                work = partial(_call, action, arguments, caller)
                return msg.reply_after(partial(_answered, self._line, work))
            case ListReadable():
                return msg.reply_after(partial(_answered, self._line, _readable))
            case ReadResource(uri):
                return msg.reply_after(partial(_answered, self._line, partial(_read, uri)))
            case GetPrompt(prompt, arguments):
                work = partial(_prompt, prompt, arguments)
                return msg.reply_after(partial(_answered, self._line, work))
            case AwaitSettled():
                return msg.reply_after(self._line.settled)
            case Redial():
                self._line.redial()
                return msg.done()
            case _:
                assert_never(msg)


async def _answered(line: Line, work: Callable[[Session], Any]) -> Any:
    """The work's answer, or why there is none, as a value."""
    try:
        return await line.during(work)
    except SeptemberError as error:
        return error


async def _call(action: str, arguments: JsonObject, caller: Caller, session: Session) -> Content:
    return await session.call(action, arguments, caller)


async def _readable(session: Session) -> tuple[tuple[Listed, ...], tuple[Listed, ...]]:
    return await session.resources(), await session.prompts()


async def _read(uri: str, session: Session) -> Content:
    return await session.read(uri)


async def _prompt(prompt: str, arguments: dict[str, str], session: Session) -> Content:
    return await session.prompt(prompt, arguments)
